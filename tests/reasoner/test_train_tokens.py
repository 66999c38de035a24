"""The bundled tokenizer: numbers, times and tags are single tokens, and every text survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.train.tokens import COORDINATES, SPECIAL, TAGS, TIMES, new_tokenizer
from reasoner.train.vocabulary import corpus

TEXT = "<think>The <obj>person</obj><box>[200,110,305,1000]</box>at<t>12.5</t>s falls.</think>\n<answer>No.</answer>"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return new_tokenizer([*corpus()] * 2, merges=400)


@pytest.mark.parametrize("words", [TAGS, COORDINATES, TIMES, SPECIAL])
def test_single_tokens(tokenizer: Any, words: tuple[str, ...]) -> None:
    for word in words:
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1, word


def test_the_size_of_the_lists() -> None:
    assert (len(COORDINATES), COORDINATES[0], COORDINATES[-1]) == (201, "0", "1000")
    assert (len(TIMES), TIMES[0], TIMES[-1]) == (200, "0.0", "19.9")


def test_numbers_in_a_sentence(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    assert [token for token in tokens if token in COORDINATES] == ["200", "110", "305", "1000"]
    assert [token for token in tokens if token in TIMES] == ["12.5"]
    assert [token for token in tokens if token in TAGS] == [
        "<think>", "<obj>", "</obj>", "<box>", "</box>", "<t>", "</t>", "</think>", "<answer>", "</answer>",
    ]  # fmt: skip


def test_decoding_drops_control_tokens_only(tokenizer: Any) -> None:
    ids = tokenizer(f"<|im_start|>assistant\n{TEXT}<|im_end|>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == f"assistant\n{TEXT}"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_every_text_survives(text: str) -> None:
    made = _shared()
    assert made.decode(made(text, add_special_tokens=False)["input_ids"]) == text


def test_every_byte_has_a_token(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    vocabulary = tokenizer.get_vocab()
    assert all(letter in vocabulary for letter in pre_tokenizers.ByteLevel.alphabet())


def test_saved_and_loaded_it_reads_the_same(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again: Any = AutoTokenizer.from_pretrained(tmp_path)
    text = f"Frame 3 at 2.0s: 有人摔倒吗? 312 {TEXT}"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.eos_token == "<|im_end|>"


def _shared(made: list[Any] = []) -> Any:  # noqa: B006
    """One tokenizer for all examples of a property."""
    if not made:
        made.append(new_tokenizer([*corpus()] * 2, merges=400))
    return made[0]
