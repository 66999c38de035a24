"""Memory predicted from a folder alone: by hand for the released shapes, and against what the real classes hold."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reasoner.backends import graphs, slots
from reasoner.backends.local import LocalBackend
from reasoner.config import ReasonerConfig
from reasoner.device import Device, device_of
from reasoner.fit import (
    GRAPH_KEY_STEP,
    KEY_STEP,
    TOKENS_PER_FRAME,
    kv_bytes_per_token,
    language_linears,
    predict,
    shape_of,
)
from reasoner.folder import ModelFolder, open_folder
from reasoner.forecast import GIB, forecast
from reasoner.prompt import messages
from reasoner.quantised import quantisation
from reasoner.speed import SpeedConfig
from reasoner.weights import loaded_bytes, tensors
from tests.reasoner.conftest import TEMPLATE, _ids, tokenizer

EYES = {
    "8B": (27, 1152, 4304, 16, [8, 16, 24]),
    "4B": (24, 1024, 4096, 16, [5, 11, 17]),
    "2B": (24, 1024, 4096, 16, [5, 11, 17]),
}
WORDS = {"8B": (36, 4096, 12288, 32, False), "4B": (36, 2560, 9728, 32, True), "2B": (28, 2048, 6144, 16, True)}


def config_of(size: str) -> dict[str, Any]:
    """The released config.json, as far as memory goes."""
    depth, width, inner, heads, deep = EYES[size]
    layers, hidden, mlp, text_heads, tied = WORDS[size]
    return {
        "model_type": "qwen3_vl", "tie_word_embeddings": tied,
        "text_config": {
            "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers,
            "num_attention_heads": text_heads, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
            "tie_word_embeddings": tied,
        },
        "vision_config": {
            "depth": depth, "hidden_size": width, "intermediate_size": inner, "num_heads": heads, "patch_size": 16,
            "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": hidden,
            "num_position_embeddings": 2304, "deepstack_visual_indexes": deep, "hidden_act": "gelu_pytorch_tanh",
        },
    }  # fmt: skip


def parameters(config: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of a released checkpoint's tensors."""
    text, vision = config["text_config"], config["vision_config"]
    d, f, q, k = text["hidden_size"], text["intermediate_size"], text["num_attention_heads"] * 128, 8 * 128
    h, inner = vision["hidden_size"], vision["intermediate_size"]
    for i in range(text["num_hidden_layers"]):
        at = f"model.language_model.layers.{i}"
        for name, shape in (("q", [q, d]), ("k", [k, d]), ("v", [k, d]), ("o", [d, q])):
            yield f"{at}.self_attn.{name}_proj.weight", shape
        for name, shape in (("gate", [f, d]), ("up", [f, d]), ("down", [d, f])):
            yield f"{at}.mlp.{name}_proj.weight", shape
        yield from ((f"{at}.{name}.weight", [d]) for name in ("input_layernorm", "post_attention_layernorm"))
        yield from ((f"{at}.self_attn.{name}_norm.weight", [128]) for name in "qk")
    yield "model.language_model.embed_tokens.weight", [text["vocab_size"], d]
    yield "model.language_model.norm.weight", [d]
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", [text["vocab_size"], d]
    yield "model.visual.patch_embed.proj.weight", [h, 3, 2, 16, 16]
    yield "model.visual.patch_embed.proj.bias", [h]
    yield "model.visual.pos_embed.weight", [2304, h]
    for i in range(vision["depth"]):
        for name, out, into in (("qkv", 3 * h, h), ("proj", h, h), ("fc1", inner, h), ("fc2", h, inner)):
            yield f"model.visual.blocks.{i}.{name}.weight", [out, into]
            yield f"model.visual.blocks.{i}.{name}.bias", [out]
        yield from ((f"model.visual.blocks.{i}.norm{n}", [2 * h]) for n in (1, 2))
    for i in range(1 + len(vision["deepstack_visual_indexes"])):
        norm = h if i == 0 else 4 * h
        for name, shape in (("fc1.weight", [4 * h, 4 * h]), ("fc1.bias", [4 * h]), ("fc2.weight", [d, 4 * h]),
                            ("fc2.bias", [d]), ("norm", [2 * norm])):  # fmt: skip
            yield f"model.visual.merger{i}.{name}", shape


def packed_as(form: str, name: str, shape: list[int]) -> Iterator[tuple[str, str, list[int]]]:
    """Name, dtype and shape of what a form stores of a tensor."""
    linear = "language_model.layers" in name and "proj" in name
    if form == "FP8" and linear:
        yield name, "F8_E4M3", shape
        yield f"{name}_scale_inv", "BF16", [-(-side // 128) for side in shape]
    elif form == "AWQ" and linear:
        out, into = shape
        base = name.removesuffix(".weight")
        yield f"{base}.qweight", "I32", [into, out // 8]
        yield f"{base}.qzeros", "I32", [into // 128, out // 8]
        yield f"{base}.scales", "F16", [into // 128, out]
    else:
        yield name, "BF16", shape


QUANTISED = {"bf16": None, "FP8": {"quant_method": "fp8"}, "AWQ": {"quant_method": "awq", "bits": 4}}


def released(folder: Path, size: str, form: str) -> ModelFolder:
    """A folder in the released layout whose weights are a hole: headers and lengths are true, bytes are not there."""
    config = config_of(size)
    if QUANTISED[form]:
        config["quantization_config"] = QUANTISED[form]
    header: dict[str, Any] = {}
    end = 0
    for plain, sides in parameters(config):
        for name, dtype, shape in packed_as(form, plain, sides):
            length = int(np.prod(shape)) * {"BF16": 2, "F16": 2, "F8_E4M3": 1, "I32": 4}[dtype]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + length]}
            end += length
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        stream.truncate(8 + len(encoded) + end)
    for name, content in (("config", config), ("tokenizer", {}), ("chat_template", {"chat_template": "x"})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return open_folder(folder)


@pytest.mark.parametrize(
    ("size", "form", "gib", "widened_gib"),
    [
        ("8B", "bf16", 16.33, 16.33), ("8B", "FP8", 9.86, 16.33), ("8B", "AWQ", 6.75, 16.33),
        ("4B", "bf16", 8.27, 8.27), ("2B", "bf16", 3.96, 3.96),
        # Linears 3.633e9 and 1.409e9, the rest stays bfloat16: 8.27 - 3.633e9 / 2**30 and so on.
        ("4B", "FP8", 4.88, 8.27), ("2B", "FP8", 2.65, 3.96), ("4B", "AWQ", 3.26, 8.27), ("2B", "AWQ", 2.02, 3.96),
    ],
)  # fmt: skip
def test_bytes_of_weights(tmp_path: Path, size: str, form: str, gib: float, widened_gib: float) -> None:
    folder = released(tmp_path, size, form)
    packed = quantisation(folder.config)
    stored = list(tensors(folder.weights))
    assert loaded_bytes(folder.config, stored, "bfloat16", packed, True) / GIB == pytest.approx(gib, abs=0.01)
    widened = loaded_bytes(folder.config, stored, "bfloat16", packed, False)
    assert widened / GIB == pytest.approx(widened_gib, abs=0.01)
    if packed is None:
        assert loaded_bytes(folder.config, stored, "float32", None, False) == 2 * widened


def test_parts_by_hand() -> None:
    """The 8B in bfloat16, one window of 20 frames of 448 x 448 px."""
    shape = shape_of(config_of("8B"))
    assert language_linears(shape) == 36 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 12288)
    assert [kv_bytes_per_token(shape_of(config_of(size)), "bfloat16") >> 10 for size in WORDS] == [144, 144, 112]
    found = predict(config_of("8B"), 0, windows=1, frames=20, frame_pixels=200_704, new_tokens=512, dtype="bfloat16")
    # 20 x 784 patches, 3920 visual tokens; prompt 3920 + 20 x 16 + 384 = 4624; with 512 more, in steps of 256: 5376.
    assert found.kv_cache == 5376 * 147_456
    assert found.vision_features == 3920 * 4 * 4096 * 2
    # Per patch: 1536 values in uint8, float32 and bfloat16; rotary 34 x 1152, positions 4 x 1152, cosines 8 x 72.
    tower = 15_680 * (1536 * 7 + 38 * 1152 + 8 * 72)
    # Per token 5 x 4096 + 3 x 12288 + 2 x 128 values; deepstack again; pixels and the tower's last hidden layer.
    reading = 4624 * 2 * (20_480 + 36_864 + 256) + 3920 * 3 * 4096 * 2 + 15_680 * (1536 * 5 + 1152 * 2)
    assert found.activations == max(tower, reading) + 151_936 * 8 + (40 << 20)
    assert found.total == found.kv_cache + found.vision_features + found.activations + (600 << 20)
    two = predict(config_of("8B"), 7, windows=4, frames=20, frame_pixels=200_704, new_tokens=512, dtype="bfloat16")
    assert two.kv_cache == 4 * found.kv_cache
    assert two.weights == 7


GPU = Device("cuda", "a card", 24 * GIB - (1 << 29), 24 * GIB - (1 << 29), (8, 9))


@pytest.mark.parametrize(
    ("size", "form", "more", "fits", "said"),
    [
        ("8B", "bf16", {}, False, "set speed.together = "),
        ("8B", "bf16", {}, False, "take its FP8 form (9.9 GiB of weights)"),
        ("8B", "bf16", {}, False, "take its AWQ form (6.8 GiB of weights)"),
        ("8B", "bf16", {"speed": SpeedConfig(together=2, prefix_mib=512)}, True, "weights 16.3"),
        ("8B", "FP8", {}, True, "weights 9.9"),
        ("8B", "AWQ", {}, True, "weights 6.8"),
        ("4B", "bf16", {}, True, "weights 8.3"),
        ("2B", "bf16", {"max_frames": 32}, True, "GiB of 23.5 on a card"),
        ("8B", "bf16", {"dtype": "float32"}, False, "take a smaller model"),
    ],
)  # fmt: skip
def test_what_fits_a_card_and_what_to_change(
    tmp_path: Path, size: str, form: str, more: dict[str, Any], fits: bool, said: str
) -> None:
    config = ReasonerConfig(model=str(tmp_path), **more)
    found = forecast(released(tmp_path, size, form), config, GPU)
    assert (found.fits, "\n" in found.text) == (fits, False)
    assert said in found.text, found.text


@pytest.mark.parametrize("graphs", [None, False])
@pytest.mark.parametrize(("together", "kept"), [(1, 1), (2, 2), (5, 8), (6, 8), (8, 8), (9, 16)])
def test_room_is_made_in_powers_of_two_and_whole_steps(
    tmp_path: Path, together: int, kept: int, graphs: bool | None
) -> None:
    """20 frames of 196 visual and 16 other tokens, 384 of text, 512 written: 5136 positions, in steps of 512 or 256."""
    config = ReasonerConfig(speed=SpeedConfig(together=together, graphs=graphs), max_frames=20)
    found = forecast(released(tmp_path, "2B", "bf16"), config, GPU)
    assert found.memory.kv_cache == kept * (5376 if graphs is False else 5632) * 112 * 1024


def test_the_steps_are_those_of_the_real_buffers() -> None:
    assert (KEY_STEP, GRAPH_KEY_STEP) == (slots.STEP, graphs.POSITIONS)


@pytest.mark.parametrize("speed", [SpeedConfig(), SpeedConfig(together=7, graphs=False)])
def test_the_way_out_is_one(tmp_path: Path, speed: SpeedConfig) -> None:
    """What is told to be set makes it fit, and one more would not."""
    folder = released(tmp_path, "8B", "bf16")
    config = ReasonerConfig(model=str(tmp_path), speed=speed)
    text = forecast(folder, config, GPU).text
    together = int(text.split("speed.together = ")[1].split(";")[0])
    assert together in (1, 2, 4)

    def fits(count: int) -> bool:
        speed = msgspec.structs.replace(config.speed, together=count)
        return forecast(folder, msgspec.structs.replace(config, speed=speed), GPU).fits

    assert fits(together) and not fits(together + 1)


def test_packed_weights_are_no_saving_on_an_older_card_or_a_cpu(tmp_path: Path) -> None:
    folder = released(tmp_path, "8B", "FP8")
    ampere = forecast(folder, ReasonerConfig(), GPU._replace(capability=(8, 6)))
    assert ampere.memory.weights == forecast(released(tmp_path, "8B", "bf16"), ReasonerConfig(), GPU).memory.weights
    assert "8.9" in ampere.text and "8.6" in ampere.text
    released(tmp_path, "8B", "FP8")
    cpu = forecast(folder, ReasonerConfig(), Device("cpu", "this machine's RAM", 64 * GIB, 20 * GIB, None))
    assert (cpu.fits, cpu.crowded) == (True, True)
    assert "this machine's RAM" in cpu.text and cpu.memory.context == 0
    here = device_of("cpu")
    assert 0 < here.free <= here.total


weakly: Any = StorageWeakRef


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that are alive, and the most there ever were; those of `own` are left out."""

    def __init__(self, own: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own, self.peak = own, 0
        self.live: dict[int, tuple[Any, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != "meta":
                storage = leaf.untyped_storage()
                if storage._cdata not in self.own:
                    self.live[storage._cdata] = (weakly(storage), storage.nbytes())
        self.live = {key: value for key, value in self.live.items() if not value[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return out


def proportioned(folder: Path, *, hidden: int, eyes: int) -> Path:
    """A random model with the 8B's proportions, few layers, so that activations outweigh all else."""
    import transformers

    made: Any = transformers
    words = tokenizer()
    text = {
        "vocab_size": len(words), "hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": 2,
        "num_attention_heads": hidden // 64, "num_key_value_heads": 1, "head_dim": 64,
        "max_position_embeddings": 8192,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 5e6, "mrope_section": [12, 10, 10], "mrope_interleaved": True
        },
    }  # fmt: skip
    vision = {
        "depth": 3, "hidden_size": eyes, "intermediate_size": int(eyes * 3.74), "num_heads": 2, "patch_size": 16,
        "out_hidden_size": hidden, "num_position_embeddings": 2304, "deepstack_visual_indexes": [0, 1, 2],
    }  # fmt: skip
    torch.manual_seed(0)
    model = made.Qwen3VLForConditionalGeneration(
        made.Qwen3VLConfig(text_config=text, vision_config=vision, **_ids(words))
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return folder


@pytest.mark.parametrize("plain", [True, False], ids=["generate", "own loop"])
@pytest.mark.parametrize(
    ("hidden", "eyes", "dtype"), [(128, 192, "float32"), (128, 192, "bfloat16"), (512, 32, "float32")]
)
def test_the_real_classes_hold_what_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: int, eyes: int, dtype: str, plain: bool
) -> None:
    """Every tensor the real classes make is counted; the weights, which are known exactly, are left out."""
    folder = proportioned(tmp_path, hidden=hidden, eyes=eyes)
    speed = SpeedConfig(plain=plain, together=1, features_mib=0, prefix_mib=0, draft_tokens=0)
    config = ReasonerConfig(
        model=str(folder), device="cpu", threads=1, dtype=dtype, max_new_tokens=8, speed=speed,  # type: ignore[arg-type]
        min_frame_pixels=200_704,
    )  # fmt: skip
    backend = LocalBackend.load(config)
    own = {p.untyped_storage()._cdata for p in [*backend.model.parameters(), *backend.model.buffers()]}
    pictures = [np.full((448, 448, 3), 20 * k, np.uint8) for k in range(4)]
    with Live(own) as live:
        output = backend.answer(messages("Does somebody fall?", [0.5 * k for k in range(4)]), pictures)
    read = json.loads((folder / "config.json").read_text())
    # The byte-level tokenizer of the test needs more tokens for the same words.
    monkeypatch.setattr("reasoner.fit.TOKENS_OF_TEXT", output.tokens_in - 4 * (196 + TOKENS_PER_FRAME))
    found = predict(
        read, 0, windows=1, frames=4, frame_pixels=200_704, new_tokens=8, dtype=dtype,
        images_at_once=0 if plain else 4, gpu=False,
    )  # fmt: skip
    assert found.tensors / live.peak == pytest.approx(1, abs=0.1), (found, live.peak)
