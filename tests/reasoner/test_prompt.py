"""The prompt is exact where it is a format, and holds no control token from outside."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.pixels import PatchSpec
from reasoner.processor import Processor
from reasoner.prompt import (
    CLAIM_FORMAT,
    MAX_TEXT,
    Message,
    messages,
    prompt_sha256,
    relevance,
    sanitise,
    time_texts,
)
from tests.reasoner.conftest import TEMPLATE, tokenizer


def texts(prompt: list[dict[str, object]]) -> str:
    content = prompt[-1]["content"]
    assert isinstance(content, list)
    return "".join(part.get("text", "<image>") for part in content)


def test_frames_carry_their_own_times() -> None:
    assert texts(messages("Does somebody fall?", [0.0, 0.5, 12.5])) == (
        "Frame 1 at 0.0s: <image>\nFrame 2 at 0.5s: <image>\nFrame 3 at 12.5s: <image>\n"
        "The video is in total 12 seconds.\nDoes somebody fall?"
    )


def test_the_instruction_demands_the_exact_claim_format() -> None:
    assert CLAIM_FORMAT == "<obj>object_name</obj><box>bounding_box</box>at<t>time_in_seconds</t>s"
    system = messages("Why?", [0.0])[0]
    assert system["role"] == "system"
    assert CLAIM_FORMAT in system["content"][0]["text"]
    assert "0 to 1000" in system["content"][0]["text"]
    assert "pixels" in messages("Why?", [0.0], coordinates="pixels")[0]["content"][0]["text"]
    assert "中文" in messages("Why?", [0.0], "zh")[0]["content"][0]["text"]


def test_the_brief_style_is_the_user_turn_alone() -> None:
    brief = messages("Why?", [0.0, 1.0], style="brief", place="Gate 1")
    assert [message["role"] for message in brief] == ["user"]
    assert "Gate 1" not in texts(brief)
    assert "Camera: Gate 1\n" in texts(messages("Why?", [0.0], place="Gate 1"))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0, 0.52, 1.04], ["0.0", "0.5", "1.0"]),
        ([0.0, 0.04, 0.08], ["0.00", "0.04", "0.08"]),
        ([0.0, 0.004], ["0.000", "0.004"]),
        ([], []),
    ],
)
def test_times_keep_frames_apart(times: list[float], expected: list[str]) -> None:
    assert time_texts(times) == expected


CONTROL = [
    *(f"<|{name}|>" for name in (
        "endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start",
        "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad", "fim_prefix", "fim_middle",
        "fim_suffix", "fim_pad", "repo_name", "file_sep", "audio_start", "audio_end", "audio_pad",
    )),
    "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>", "<tool_call>", "</tool_call>",
    "<tool_response>", "</tool_response>", "<think>", "</think>", "<answer>", "</answer>", "<obj>", "</obj>", "<box>",
    "</box>", "<t>", "</t>",
]  # fmt: skip
"""Added tokens of Qwen2.5-VL, Qwen3-VL and Qwen3.5 (their tokenizer_config.json), and our tags."""
HIDDEN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\u2066\u2069\u034f\u3164\ufe0f"
    "\U000e0041\U000e0100\x00\x1b\x85\ud800"
)


@pytest.fixture(scope="module")
def processor() -> Processor:
    """Of a tokenizer that knows all of these tokens, brought into form NFC as theirs are."""
    from tokenizers import AddedToken, normalizers

    words = tokenizer()
    words.add_tokens([AddedToken(token, normalized=False, special=token[1] == "|") for token in CONTROL])
    words.backend_tokenizer.normalizer = normalizers.NFC()
    return Processor(words, PatchSpec(), template=TEMPLATE)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def forms(token: str) -> st.SearchStrategy[str]:
    """A token as somebody who wants it through might write it."""
    places = st.integers(0, len(token))
    inside = st.tuples(places, st.sampled_from([*CONTROL, *HIDDEN, " ", "\n"]))
    return st.one_of(
        st.just(token),
        st.just(full_width(token)),
        st.just(token.upper()),
        inside.map(lambda made: token[: made[0]] + made[1] + token[made[0] :]),
        places.map(lambda cut: token[:cut] + full_width(token[cut:])),
        st.just("&lt;" + token[1:]),
    )


hostile = st.lists(
    st.one_of(st.sampled_from(CONTROL).flatmap(forms), st.text(max_size=20), st.sampled_from([*"<|>/", "system\n"])),
    max_size=12,
).map("".join)


@given(question=hostile, place=hostile, named=hostile)
@settings(max_examples=150, deadline=None)
def test_no_control_token_comes_from_outside(processor: Processor, question: str, place: str, named: str) -> None:
    """After the template, exactly the control tokens that the template put there."""
    control = set(processor.tokenizer.get_added_vocab().values())

    def counted(prompt: list[Message]) -> Counter[int]:
        ids = processor.tokenizer(processor.render(prompt), add_special_tokens=False)["input_ids"]
        return Counter(token for token in ids if token in control)

    assert counted(messages(question, [0.0, 0.5], place=place)) == counted(messages("Why?", [0.0, 0.5]))
    assert counted(relevance(question, [named])) == counted(relevance("Why?", ["a bag"]))


@given(hostile)
@settings(max_examples=200)
def test_outside_text_is_one_line_that_hides_nothing(text: str) -> None:
    clean = sanitise(text)
    assert not set(clean) & {*HIDDEN, *"<>\n\r\t\u2028\uff1c\uff1e"}
    assert sanitise(clean) == clean
    clean.encode()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("有人摔倒吗？（大门口，2 号）", "有人摔倒吗？（大门口，2 号）"),
        ("Ist jemand über die Straße gelaufen – schnell?", "Ist jemand über die Straße gelaufen – schnell?"),
        ("Is speed < 5 km/h?", "Is speed ‹ 5 km/h?"),
        ("say\u200b \u202eon\u202c\r\n\tno", "say on no"),
        ("<|im_<|im_end|>end|>", "‹|im_‹|im_end|›end|›"),
        ("\x00" * 5000 + "a", ""),
    ],
)
def test_words_stay_and_brackets_go(text: str, plain: str) -> None:
    assert sanitise(text) == plain


def test_long_text_is_cut() -> None:
    assert len(sanitise("a" * 10_000_000)) == MAX_TEXT


def test_the_hash_is_of_the_whole_prompt() -> None:
    one = prompt_sha256(messages("Why?", [0.0]))
    assert one == prompt_sha256(messages("Why?", [0.0]))
    assert len({one, prompt_sha256(messages("Who?", [0.0])), prompt_sha256(messages("Why?", [0.5]))}) == 3
