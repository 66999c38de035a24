"""The reasoner's benchmark: its formulas against hand-made counts, its output against its schema."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest

from bench.reasoner import ways
from bench.reasoner.figures import SCHEMA_FILE, Figures, Overlap, Passes, Peak, Way, lines, schema
from bench.roofline import Ceiling, ceiling, decode_bytes, prefill_flops, text_parameters, vision_flops
from bench.windows import at_once, subject
from reasoner.backends.decode import is_served


def config_8b() -> Any:
    """Qwen3-VL-8B, as research/mission.md's table has it."""
    text = SimpleNamespace(
        num_hidden_layers=36, hidden_size=4096, intermediate_size=12288, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, vocab_size=151936,
    )  # fmt: skip
    vision = SimpleNamespace(
        depth=27, hidden_size=1152, intermediate_size=4304, patch_size=16, temporal_patch_size=2,
        spatial_merge_size=2, out_hidden_size=4096, deepstack_visual_indexes=[8, 16, 24],
    )  # fmt: skip
    return SimpleNamespace(vision_config=vision, get_text_config=lambda: text)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (lambda c: text_parameters(c), 6.946e9),
        # A pair of 448 x 448: 784 patches, 0.79 TFLOP; a prompt of 2 250 tokens: 32.8 TFLOP.
        (lambda c: vision_flops(c, 784), 0.79e12),
        (lambda c: prefill_flops(c, 2250), 32.8e12),
        # 15.1 GB of weights, and 144 KiB of keys and values per token.
        (lambda c: decode_bytes(c, 0, 0, 2), 15.1e9),
        (lambda c: decode_bytes(c, 8, 1000, 2) - decode_bytes(c, 0, 0, 2), 8000 * 144 * 1024),
    ],
)
def test_costs_are_those_of_the_published_shape(counted: Any, expected: float) -> None:
    assert counted(config_8b()) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("name", "billions"), [("qwen3-vl-2b", 2.128), ("qwen3-vl-4b", 4.438), ("qwen3-vl-8b", 8.767)])
def test_shapes_have_the_size_of_the_released_models(name: str, billions: float) -> None:
    """On the meta device, which holds no numbers."""
    made = subject(name, "meta", "bfloat16", 8).random
    assert made.num_parameters() / 1e9 == pytest.approx(billions, abs=0.0006)
    assert made.dtype.itemsize == 2 and is_served(made)


def test_a_ceiling_is_measured() -> None:
    import torch

    found = ceiling("cpu", torch.float32)
    assert isinstance(found, Ceiling) and found.flops > 1e9 and found.bytes_per_s > 1e8
    assert found.peak_flops is None and found.peak_bytes_per_s is None


def figures(gpu: bool) -> Figures:
    passes = Passes(callers=1, tokens=2, ms=3.0, share_of_measured=0.5, share_of_peak=0.4 if gpu else None)
    way = Way(
        name="generate", callers=1, windows_per_s=2.0, ratio=1.0, same_answers=3,
        max_logprob_difference=0.0 if gpu else None,
    )  # fmt: skip
    return Figures(
        model="bundled", weights="as trained", device="cpu", dtype="float32", windows=3, tokens_in=220.0,
        tokens_out=40.5, ways=(way,), reading=passes, writing=(passes,),
        overlap=Overlap(anew_ms=10, reused_ms=1, ratio=10, max_logprob_difference=1e-6, other_question_ms=1),
        preprocessing_ratio=12.0 if gpu else None,
        memory=Peak(callers=8, measured_bytes=10, predicted_bytes=11, ratio=1.1) if gpu else None,
        measured_tflops=0.1, measured_gb_per_s=9.0, vllm="not run: not installed",
    )  # fmt: skip


@pytest.mark.parametrize("gpu", [True, False])
def test_what_is_printed_holds_to_the_schema(gpu: bool) -> None:
    printed = {"bench": "reasoner", **msgspec.to_builtins(figures(gpu)), "machine": {}}
    jsonschema.validate(json.loads(json.dumps(printed)), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(printed | {"more": 1}, schema() | {"additionalProperties": False})
    assert any("generate" in line for line in lines(printed))


def test_the_schema_file_is_up_to_date() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.reasoner.figures"


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_as_many_are_answered_at_once_before_they_are_timed(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is captured for each number of windows: none may be left to the timed run."""

    class Counting:
        """An answer waits until as many are asked together as are to be timed, or gives up."""

        def __init__(self) -> None:
            self.changed, self.now, self.most, self.wanted = threading.Condition(), 0, 0, 1

        def answer(self, ask: int, more: int) -> Any:
            with self.changed:
                self.now += 1
                self.most = max(self.most, self.now)
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.most >= self.wanted, 2.0)
                self.now -= 1
            return ask

    backend: Any = Counting()
    before: list[int] = []

    def timed(work: Any, device: str) -> float:
        before.append(backend.most)
        work()
        return 1.0

    monkeypatch.setattr(ways, "timed", timed)
    asks: Any = [(number, 0) for number in range(16)]
    for callers in (1, 4, 8, 16):
        backend.most, backend.wanted = 0, callers
        outputs, _ = ways.answered(backend, asks, asks[:2], callers, device)
        assert before[-1] == callers
        assert list(map(str, outputs)) == list(map(str, range(16)))


def test_numbers_at_once_fall_from_the_largest_by_powers_of_two() -> None:
    table = {1: [1], 2: [2, 1], 5: [5, 4, 2, 1], 8: [8, 4, 2, 1], 16: [16, 8, 4, 2, 1]}
    assert {callers: at_once(callers) for callers in table} == table
