"""Every family and form of checkpoint through the real classes: plain, FP8, AWQ, Thinking, and with planted code."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoner import checkpoint
from reasoner.backends.local import LocalBackend
from reasoner.boxes import Box, from_model
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelUnsupported, ReasonerError
from reasoner.family import FAMILIES
from reasoner.folder import open_folder
from reasoner.parse import parse
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.quantised import quantisation
from tests.reasoner.conftest import TEMPLATE, save_tiny


def load(folder: Path, **more: Any) -> LocalBackend:
    small = {"min_frame_pixels": 16_384, "max_frame_pixels": 32_768, "max_new_tokens": 12, "threads": 1}
    return LocalBackend.load(ReasonerConfig(model=str(folder), device="cpu", **{**small, **more}))


def answer(backend: LocalBackend) -> Any:
    pictures = [np.random.default_rng(k).integers(0, 256, (96, 160, 3), dtype=np.uint8) for k in range(3)]
    prompt = messages("Does somebody fall?", [0.0, 0.5, 1.0], coordinates=backend.coordinates)
    return backend.answer(prompt, pictures)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save_tiny(tmp_path_factory.mktemp(family), family) for family in FAMILIES}


@pytest.mark.parametrize(
    ("family", "units", "written", "box"),
    [
        ("qwen3_vl", "integers from 0 to 1000", (100, 200, 300, 400), Box(0.1, 0.2, 0.3, 0.4)),
        ("qwen3_5", "integers from 0 to 1000", (100, 200, 300, 400), Box(0.1, 0.2, 0.3, 0.4)),
        ("qwen2_5_vl", "pixels of the frame", (28, 14, 56, 70), Box(0.125, 0.125, 0.25, 0.625)),
    ],
)
def test_a_family_decides_classes_prompt_and_coordinates(
    folders: dict[str, Path], family: str, units: str, written: tuple[float, ...], box: Box
) -> None:
    folder = open_folder(folders[family])
    assert len(folder.weights) > 1, "in shards, as released"
    backend = load(folders[family])
    assert type(backend.model).__name__ == FAMILIES[family].architecture
    assert units in json.dumps(messages("?", [0.0], coordinates=backend.coordinates))
    assert from_model(written, backend.coordinates, picture_size=(224, 112)) == box  # type: ignore[arg-type]
    output = answer(backend)
    assert output.tokens_out == 12 and len(output.tokens) > 0
    assert parse(output.text, 1.0).answer is None or isinstance(parse(output.text).answer, str)
    assert answer(backend).text == output.text, "one window's state does not leak into the next"


def fp8(source: Path, target: Path) -> dict[str, torch.Tensor]:
    """The released FP8 layout: blocks of 128 x 128, `weight_scale_inv` beside each packed linear of the language model.

    → what the weights are worth."""
    shutil.copytree(source, target)
    for shard in [*target.glob("*.safetensors"), target / "model.safetensors.index.json"]:
        shard.unlink()
    stored: dict[str, torch.Tensor] = {}
    for shard in source.glob("*.safetensors"):
        stored |= load_file(shard)
    packed: dict[str, torch.Tensor] = {}
    worth: dict[str, torch.Tensor] = {}
    for name, weight in stored.items():
        if "language_model.layers" in name and "_proj.weight" in name:
            scale = weight.abs().max() / 448
            packed[name] = (weight / scale).to(torch.float8_e4m3fn)
            packed[f"{name}_scale_inv"] = scale.float().reshape(1, 1)
            worth[name] = packed[name].float() * scale
        else:
            packed[name] = worth[name] = weight
    save_file(packed, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((target / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["lm_head", "model.visual"],
    }  # fmt: skip
    (target / "config.json").write_text(json.dumps(config))
    return worth


def test_fp8_without_its_gpu_is_widened_and_says_so(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("accelerate", reason="transformers' FP8 loader needs it")
    worth = fp8(folders["qwen3_vl"], tmp_path / "fp8")
    with caplog.at_level(logging.WARNING, "reasoner"):
        backend = load(tmp_path / "fp8")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("reasoner")]
    assert len(said) == 1 and "8.9" in said[0] and "no GPU" in said[0] and "\n" not in said[0]
    held = dict(backend.model.named_parameters())
    for name in ("model.language_model.layers.1.mlp.up_proj.weight", "model.language_model.embed_tokens.weight"):
        assert held[name].dtype == torch.float32
        assert float((held[name] - worth[name]).abs().max()) < 1e-3 * float(worth[name].abs().max()), name
    assert answer(backend).tokens_out == 12


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ModelUnsupported, "pip install gptqmodel"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
            ModelUnsupported, "pip install compressed-tensors",
        ),
        ({"quant_method": "bitsandbytes"}, ModelUnsupported, "bitsandbytes"),
        ({"quant_method": ""}, ModelUnsupported, "not served"),
    ],
    ids=["awq", "compressed", "bnb", "unnamed"],
)  # fmt: skip
def test_a_form_whose_library_is_missing_names_it(
    folders: dict[str, Path], tmp_path: Path, said: dict[str, Any], kind: type[ReasonerError], words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import importlib.util

    there = importlib.util.find_spec
    absent = ("gptqmodel", "compressed_tensors")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else there(name))
    shutil.copytree(folders["qwen3_vl"], tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"quantization_config": said}))
    with pytest.raises(kind) as caught:
        load(tmp_path / "m")
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "capability", "stays"),
    [
        ("fp8", (8, 9), True), ("fp8", (9, 0), True), ("fp8", (8, 6), False), ("fp8", None, False),
        ("awq", (8, 6), True), ("awq", None, True), ("compressed-tensors", (9, 0), False),
    ],
)  # fmt: skip
def test_where_packed_weights_stay_packed(method: str, capability: tuple[int, int] | None, stays: bool) -> None:
    packed = quantisation({"quantization_config": {"quant_method": method}})
    assert packed is not None and packed.stays_packed(capability) is stays


def test_fp8_that_stays_packed_needs_its_kernel(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is told before loading, and a kernel that cannot be had while loading: not at the first answer."""
    import importlib.util

    from transformers.integrations import finegrained_fp8

    def unreachable() -> None:
        raise ImportError("no build of it\nfor this torch")

    packed = quantisation({"quantization_config": {"quant_method": "fp8"}})
    folder = open_folder(folders["qwen3_vl"])
    assert packed is not None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kernels" else object())
    checkpoint.require(packed, folder, (8, 6))
    with pytest.raises(ModelUnsupported, match="FP8 weights, which need kernels: pip install kernels"):
        checkpoint.require(packed, folder, (8, 9))
    monkeypatch.setattr(finegrained_fp8, "load_finegrained_fp8_kernel", unreachable)
    with pytest.raises(ModelUnsupported, match=r"cannot be loaded \(no build of it for this torch\); let"):
        checkpoint._fetch_kernel(folder)


SNAPSHOT = "kernels--kernels-community--finegrained-fp8/snapshots/"


@pytest.mark.parametrize(
    ("files", "given", "state", "words"),
    [
        ((), None, "warn", "is fetched from the hub at the first load"),
        ((SNAPSHOT + "a/build/torch-cuda/metadata.json",), None, "warn", "is fetched from the hub"),
        ((SNAPSHOT + "a/build/torch-cuda/__init__.py",), None, "warn", f"={{}}/{SNAPSHOT}a"),
        ((SNAPSHOT + "a/build/torch-cuda/__init__.py",), SNAPSHOT + "a", "ok", f"from {{}}/{SNAPSHOT}a"),
        (("brought/torch-cuda/finegrained_fp8/x",), "brought", "warn", "{}/brought for kernels-community"),
    ],
)  # fmt: skip
def test_check_says_where_the_fp8_kernel_comes_from(
    files: tuple[str, ...], given: str | None, state: str, words: str,
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From files alone; a snapshot in the cache is not enough to load without the hub, a folder that is named is."""
    import importlib.util

    import deploy.check
    from deploy.config import Config
    from reasoner.device import Device

    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.setenv("KERNELS_CACHE", str(tmp_path))
    monkeypatch.delenv("LOCAL_KERNELS", raising=False)
    if given is not None:
        monkeypatch.setenv("LOCAL_KERNELS", f"a/b=/c:kernels-community/finegrained-fp8={tmp_path / given}")
    fp8(folders["qwen3_vl"], tmp_path / "fp8")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(deploy.check, "SMALL_WEIGHTS", 0)
    config = Config(reasoner=ReasonerConfig(model=str(tmp_path / "fp8"), device="cpu"))
    for capability, expected in (((9, 0), [state]), ((8, 6), [])):
        card = Device("cuda", "a card", 80 << 30, 80 << 30, capability)
        monkeypatch.setattr("reasoner.device.device_of", lambda _, card=card: card)
        rows = [row for row in deploy.check._memory(config) if row.part == "FP8 kernel"]
        assert [row.state for row in rows] == expected
        assert all(words.format(tmp_path) in row.detail and "\n" not in row.detail for row in rows)


def test_planted_code_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(folders["qwen3_vl"], folder)
    for name in ("modeling_evil", "tokenization_evil", "processing_evil"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    for file, kinds in (
        ("config.json", {"AutoModelForImageTextToText": "modeling_evil.M", "AutoConfig": "modeling_evil.C"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["tokenization_evil.T", None]}),
        ("preprocessor_config.json", {"AutoProcessor": "processing_evil.P"}),
    ):
        document = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(document | {"auto_map": kinds}))
    try:
        load(folder)
    except ReasonerError as error:
        assert "\n" not in str(error)
    assert not (tmp_path / "ran").exists()


THINKING = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


def test_thinking_checkpoints_begin_inside_their_thoughts(folders: dict[str, Path], tmp_path: Path) -> None:
    """Their template opens `<think>`, so the output does not; cut short it must not read as an answer."""
    folder = tmp_path / "m"
    shutil.copytree(folders["qwen3_vl"], folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": THINKING}))
    backend = load(folder)
    output = answer(backend)
    assert output.text.startswith("<think>\n") and not output.finished
    assert not any("<think>" in token.text for token in output.tokens)
    found = parse(output.text)
    assert found.truncated and found.answer is None
    plain, thinking = Processor.load(folders["qwen3_vl"]), Processor.load(folder)
    ids = plain.tokenizer("<think>x</think><answer>No</answer>")["input_ids"]
    assert plain.written(ids) == thinking.written(ids) == "<think>x</think><answer>No</answer>"


CLAIM = "<obj>man in a red coat</obj><box>[412,310,501,644]</box>at<t>2.5</t>s"
LONG = (
    "<think>\nGot it, let's go through the frames. The question asks whether somebody falls.\n\nFrame 5 at 2.0s: the "
    "man is upright. Frame 6 at 2.5s: {claim} is on the floor. Wait, could he be sitting? In the next frame "
    "<obj>man</obj><box>[409,330,520,660]</box>at<t>3.0</t>s he has not moved. Hmm, the format should be "
    "<answer>Yes...</answer>, so I'll write that.\n</think>\n\n"
)


@pytest.mark.parametrize(
    ("output", "yes", "claims", "spans", "errors", "truncated"),
    [
        (LONG + "<answer>Yes, from 2.5s to 3.0s.</answer>", True, 2, [(2.5, 3.0)], 0, False),
        (LONG + "Yes, a man falls from 2.5s to 3.0s.", True, 2, [(2.5, 3.0)], 1, False),
        (LONG + "<answer>No. He only sits down.</answer>", False, 2, [], 0, False),
        (LONG + "**Yes**, at 2.5s the man falls.", True, 2, None, 1, False),
        ("<think>\n" + LONG + "<answer>Yes.</answer>", True, 2, [], 0, False),
        (LONG.split("Wait")[0], None, 1, [], 0, True),
        (LONG.split("so I'll")[0], None, 2, [], 1, True),
        (LONG, None, 2, [], 1, True),
        (LONG + "<answer>Yes, from 2.5s", None, 2, [], 0, True),
        ("<think>\n\n</think>\n\n<answer>No.</answer>", False, 0, [], 0, False),
        (
            "<think>\n首先,第6帧(2.5秒)里<obj>男人</obj><box>[412,310,501,644]</box>at<t>2.5</t>s倒在地上。\n</think>\n\n"
            "<answer>是的,2.5秒到3.0秒有人摔倒。</answer>",
            True, 1, [(2.5, 3.0)], 0, False,
        ),
    ],
    ids=[
        "marked", "unmarked", "no", "bold", "opened twice", "cut in a thought", "cut after an example", "only thoughts",
        "cut in the answer", "empty thoughts", "chinese",
    ],
)  # fmt: skip
def test_what_thinking_checkpoints_write(
    output: str, yes: bool | None, claims: int, spans: list[tuple[float, float]] | None, errors: int, truncated: bool
) -> None:
    found = parse(output.format(claim=CLAIM), 5.0)
    assert (found.yes, len(found.claims), found.truncated) == (yes, claims, truncated)
    if spans is not None:
        assert [(span.start_s, span.end_s) for span in found.spans] == spans
    assert len(found.errors) == errors, found.errors
    if claims == 2:
        assert found.claims[0].time_s == 2.5
