"""A folder in the released layout takes the same path as the bundled model; an incomplete one is named in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detector.rule import Rule
from detector.window import Window
from reasoner.checkpoint import locate
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelIncomplete, ModelUnsupported, ReasonerError
from reasoner.folder import BUNDLED, open_folder
from reasoner.reason import Reasoner

Make = Callable[..., Window]


def config(folder: Path, **more: object) -> ReasonerConfig:
    small = {"min_frame_pixels": 16_384, "max_frame_pixels": 32_768, **more}
    return ReasonerConfig(model=str(folder), max_new_tokens=24, device="cpu", threads=1, **small)  # type: ignore[arg-type]


def test_a_released_checkpoint_reasons_over_a_real_window(tiny: Path, crossing: Make, rule: Rule) -> None:
    reasoner = Reasoner.load(config(tiny))
    assert "rel1000" in reasoner.describe()
    assert reasoner.supports(rule) is None
    first = reasoner.reason(crossing(), rule, {}, "Gate 1")
    assert first.model.weights_sha256 == open_folder(tiny).weights_sha256()
    assert first.model.tokens_in > 12 * 16
    assert first.model.tokens_out == 24
    assert first.output
    assert set(first.confidence.components) == {
        "coarse", "vlm_token", "evidence_match", "detector_agreement", "temporal_agreement", "consistency",
        "frame_order", "crop_check",
    }  # fmt: skip
    # Random weights know no answer; that must never become a confirmed alert.
    assert first.decision == "rejected"
    again = Reasoner.load(config(tiny)).reason(crossing(), rule, {}, "Gate 1")
    assert (again.output, again.confidence) == (first.output, first.confidence)


def test_generation_is_greedy_whatever_the_folder_says(tiny: Path, crossing: Make, rule: Rule) -> None:
    """The released generation_config.json samples at temperature 0.7."""
    assert json.loads((tiny / "generation_config.json").read_text())["do_sample"] is True
    reasoner = Reasoner.load(config(tiny))
    outputs = set()
    for seed in range(3):
        torch.manual_seed(seed)
        outputs.add(reasoner.reason(crossing(), rule, {}).output)
    assert len(outputs) == 1


def test_a_qwen2_5_checkpoint_speaks_pixels(tiny_pixels: Path, crossing: Make, rule: Rule) -> None:
    reasoner = Reasoner.load(config(tiny_pixels))
    assert reasoner.backend.coordinates == "pixels"
    assert reasoner.backend.fitted(320, 180)[0] % 28 == 0
    assert reasoner.reason(crossing(), rule, {}).model.tokens_out == 24


def test_token_probabilities_come_from_the_logits(tiny: Path, crossing: Make, rule: Rule) -> None:
    reasoner = Reasoner.load(config(tiny))
    from reasoner.pictures import look

    seen = look(crossing(), reasoner.target())
    prompt = reasoner.prompt(seen, "Why?", "en", "")
    output = reasoner.backend.answer(prompt, seen.pictures)
    processor, model = reasoner.backend.processor, reasoner.backend.model  # type: ignore[attr-defined]
    with torch.inference_mode():
        logits = model(**processor.encode(prompt, list(seen.pictures))).logits[0, -1]
    expected = torch.log_softmax(logits, -1).max()
    assert output.tokens[0].logprob == pytest.approx(float(expected), abs=1e-4)
    assert output.tokens[0].top[0][1] == output.tokens[0].logprob


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(folder: Path) -> None:
    shard = next(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])


def garble(folder: Path) -> None:
    next(folder.glob("*.safetensors")).write_bytes(b"\xff" * 400)


def pickled(folder: Path) -> None:
    for file in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")


def other_family(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')


def escape(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')


def broken_notes(folder: Path) -> None:
    (folder / "witness.json").write_text('{"pairing": "sideways"}')


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (lose("config.json"), ModelIncomplete, "config.json"),
        (lose("tokenizer.json"), ModelIncomplete, "tokenizer.json"),
        (lose("chat_template.json"), ModelIncomplete, "chat template"),
        (lose("model-00002-of-00007.safetensors"), ModelIncomplete, "model-00002-of-00007.safetensors"),
        (truncate, ModelIncomplete, "cut short"),
        (garble, ModelIncomplete, "safetensors"),
        (pickled, ModelIncomplete, "pickled"),
        (other_family, ModelUnsupported, "llama"),
        (escape, ModelIncomplete, "lacks"),
        (broken_notes, ModelIncomplete, "witness.json"),
    ],
    ids=["config", "tokenizer", "template", "shard", "truncated", "garbled", "pickled", "family", "escape", "notes"],
)
def test_an_incomplete_folder_is_named_in_one_line(
    tiny: Path, tmp_path: Path, damage: Callable[[Path], None], kind: type[ReasonerError], words: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    damage(folder)
    with pytest.raises(kind) as caught:
        open_folder(folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_no_random_weight(tiny: Path, tmp_path: Path) -> None:
    """transformers would fill a missing tensor with random numbers and only warn."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    index = folder / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    shards = sorted(set(document["weight_map"].values()))
    document["weight_map"] = {name: shard for name, shard in document["weight_map"].items() if shard != shards[1]}
    index.write_text(json.dumps(document))
    with pytest.raises(ModelIncomplete, match="lacks"):
        Reasoner.load(config(folder))


def test_where_a_model_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate("bundled") == BUNDLED
    assert locate(str(tmp_path)) == tmp_path
    with pytest.raises(ModelIncomplete, match="does not exist"):
        open_folder(locate("./not-there"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelIncomplete, match="somebody/not-a-model") as caught:
        locate("somebody/not-a-model")
    assert "\n" not in str(caught.value)
