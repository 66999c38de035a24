"""The reasoner's benchmark: its formulas against hand-made counts, its output against its schema."""

from __future__ import annotations

import argparse
import gc
import json
import threading
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
import torch

import bench.reasoner
from bench import processor
from bench.reasoner import overlap, peak, ways
from bench.reasoner.figures import SCHEMA_FILE, Figures, Overlap, Parts, Passes, Peak, Way, lines, schema
from bench.reasoner.trial import NotHere, Trials
from bench.roofline import Ceiling, ceiling, decode_bytes, prefill_flops, text_parameters, timed, vision_flops
from bench.windows import at_once, drawn, subject
from reasoner.backends.decode import is_served
from reasoner.backends.embed import PatchProduct
from reasoner.backends.slots import Slots
from reasoner.fit import GRAPH_KEY_STEP
from reasoner.speed import SpeedConfig


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
    made = subject(name, "meta", "bfloat16", 8).model
    assert made.num_parameters() / 1e9 == pytest.approx(billions, abs=0.0006)
    assert made.dtype.itemsize == 2 and is_served(made)


def test_a_ceiling_is_measured() -> None:
    found = ceiling("cpu", torch.float32)
    assert isinstance(found, Ceiling) and found.flops > 1e9 and found.bytes_per_s > 1e8
    assert found.peak_flops is None and found.peak_bytes_per_s is None


def figures(gpu: bool) -> Figures:
    """gpu: else of a CPU, on which much could not be run."""
    passes = Passes(callers=1, tokens=2, ms=3.0, share_of_measured=0.5, share_of_peak=0.4 if gpu else None)
    way = Way(
        name="generate", callers=1, windows_per_s=2.0, generate_per_s=2.0 if gpu else None, ratio=1.0 if gpu else None,
        same_answers=3 if gpu else None, same_verdicts=3 if gpu else None, tokens_out=4.0,
        max_logprob_difference=0.0 if gpu else None,
    )  # fmt: skip
    overlap = Overlap(
        name="slid", pictures=12, seen_before=8, anew_ms=10, reused_ms=1, ratio=10, max_logprob_difference=1e-6,
        other_question_ms=1,
    )  # fmt: skip
    parts = Parts(
        tokens=4000, part_tokens=2048, whole_ms=9, parts_ms=10, ratio=0.9, whole_bytes=3, parts_bytes=2,
        max_logprob_difference=0,
    )  # fmt: skip
    memory = Peak(callers=8, measured_bytes=10, predicted_bytes=11, ratio=1.1, within_target=True)
    return Figures(
        model="bundled", weights="as trained", device="cpu", dtype="float32", windows=3, rounds=1, tokens_in=220.0,
        tokens_out=40.5, ways=(way,), reading=passes if gpu else None, writing=(passes,) if gpu else (),
        parts=parts if gpu else None, overlap=(overlap,) if gpu else (), preprocessing_ratio=12.0 if gpu else None,
        memory=memory if gpu else None, measured_tflops=0.1, measured_gb_per_s=9.0,
        vllm_windows_per_s=3.0 if gpu else None, not_run={} if gpu else {"vLLM": "not installed"},
    )  # fmt: skip


@pytest.mark.parametrize("gpu", [True, False])
def test_what_is_printed_holds_to_the_schema(gpu: bool) -> None:
    printed = {"bench": "reasoner", **msgspec.to_builtins(figures(gpu)), "machine": {}}
    jsonschema.validate(json.loads(json.dumps(printed)), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(printed | {"more": 1}, schema() | {"additionalProperties": False})
    text = "\n".join(lines(printed))
    assert "generate" in text and ("not run: vLLM: not installed" in text) is not gpu


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


def test_a_row_that_fails_is_named_and_leaves_nothing_behind() -> None:
    trials, left = Trials("cpu"), []

    def too_large() -> None:
        held = torch.zeros(1000)
        left.append(weakref.ref(held))
        raise torch.OutOfMemoryError("CUDA out of memory.\n  Tried to allocate 20 GiB. " + "x" * 900)

    def not_here() -> float:
        raise NotHere("not installed")

    gc.disable()
    try:
        found = [
            trials.run("a", lambda: 1.5),
            trials.run("b", too_large),
            trials.run("c", not_here),
            trials.run("d", int),
        ]
    finally:
        gc.enable()
    assert found == [1.5, None, None, 0]
    assert trials.not_run["b"].startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB.")
    assert len(trials.not_run["b"]) < 300 and trials.not_run["c"] == "not installed" and len(trials.not_run) == 2
    assert left[0]() is None


@pytest.mark.parametrize("gpu", [False, True])
def test_each_row_switches_one_thing_on(gpu: bool) -> None:
    rows = list(ways.steps(gpu))
    before = {**ways.OFF, "early_exit": False}
    changes = []
    for row in rows:
        now = {name: getattr(row.speed, name) for name in ways.OFF} | {"early_exit": row.early_exit}
        changes.append({name for name, value in now.items() if value != before[name]})
        # Early exit is measured in one row only.
        before = now | {"early_exit": False}
    assert changes[0] == set() and all(len(change) == 1 for change in changes[1:])
    only_gpu = {"device_patches", "prefill_tokens", "graphs"} if gpu else {"draft_tokens"}
    wanted = {"patch_product", "features_mib", "prefix_mib", "early_exit", "together"} | only_gpu
    assert set.union(*changes) == wanted
    assert len({row.label for row in rows}) == len(rows)


def test_two_ways_share_weights_and_nothing_else() -> None:
    """Else a switch of one would speed up the `generate` that is timed in turns with it."""
    model = subject("bundled", "cpu", "float32", 8)
    plain, fast = model.load(SpeedConfig(plain=True)), model.load(SpeedConfig())
    assert isinstance(fast.model.model.visual.patch_embed, PatchProduct)
    assert not isinstance(plain.model.model.visual.patch_embed, PatchProduct)
    for (name, one), (other_name, other) in zip(
        plain.model.named_parameters(), fast.model.named_parameters(), strict=True
    ):
        assert name == other_name and one.data_ptr() == other.data_ptr()
    ask = drawn(plain, 2, 3)
    assert plain.answer(*ask).text == fast.answer(*ask).text


def test_a_window_slides_as_the_gate_that_ships_moves_it() -> None:
    """5.5 s with a frame each 0.5 s, two seconds further on."""
    slid = overlap.slid()
    assert (slid.before, slid.after, slid.again) == ((0, 12), (4, 12), 8)
    assert (slid.of(2).before, slid.of(2).after, slid.of(2).again) == ((0, 6), (2, 6), 4)
    assert overlap.grown(20).again == 19
    backend = subject("bundled", "cpu", "float32", 8).load(SpeedConfig(plain=True))
    (_, before), (_, after) = drawn(backend, 6, 1), drawn(backend, 6, 1, first=2)
    assert [np.array_equal(a, b) for a, b in zip(before[2:], after, strict=False)] == [True] * 4


def test_memory_is_predicted_as_the_check_does() -> None:
    """The 8B's shape in bfloat16 at its largest window: eight rows of keys, whose room grows by 512 positions where
    steps are graphs."""
    model = subject("qwen3-vl-8b", "meta", "bfloat16", 96)
    config, frames = peak.settings(model)
    assert frames == config.max_frames == 24
    weights = 2 * model.model.num_parameters()
    on_card = SimpleNamespace(kind="cuda", total=0, free=0, capability=(9, 0), name="card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reasoner.device.device_of", lambda wanted: on_card)
        found = peak.predicted(model, config)
    positions = -(-(24 * (196 + 16) + 384 + 96) // GRAPH_KEY_STEP) * GRAPH_KEY_STEP
    keys = 8 * positions * 144 * 1024
    assert found > weights + keys and found - weights - keys < 2e9


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_the_clock_waits_for_the_card_that_is_measured(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda card=None: waited.append(card))
    assert timed(lambda: waited.append("work"), device) >= 0
    assert waited == [device, "work", device]


@pytest.fixture(scope="module")
def ran() -> Iterator[dict[str, Any]]:
    """The benchmark itself on the bundled model, where there is no room for more than four rows of keys."""
    grow = Slots._grow

    def grow_to_four(slots: Slots, rows: int, positions: int) -> None:
        if rows > 4:
            raise torch.OutOfMemoryError("out of memory")
        grow(slots, rows, positions)

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slots, "_grow", grow_to_four)
        patch.setattr(processor, "_transformers", _no_torchvision)
        options = argparse.Namespace(
            model="bundled", device="cpu", dtype="auto", windows=2, rounds=2, new_tokens=24
        )  # fmt: skip
        yield bench.reasoner.run(options)
    torch.set_num_threads(threads)


def _no_torchvision(frames: Any) -> Any:
    raise ImportError("torchvision is not installed")


def test_what_it_prints_holds_to_the_schema_and_to_itself(ran: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(json.dumps({"bench": "reasoner", **ran, "machine": {}})), schema())
    assert (ran["dtype"], ran["device"], ran["memory"], ran["vllm_windows_per_s"]) == ("float32", "cpu", None, None)
    rows = {(row["name"], row["callers"]): row for row in ran["ways"]}
    early = rows.pop(("+ early exit, here only", 1))
    assert list(rows) == [
        ("generate", 1), ("own loop", 1), ("+ patch product", 1), ("+ features kept", 1), ("+ prefixes kept", 1),
        ("+ drafts", 1), ("+ together", 4),
    ]  # fmt: skip
    assert early["tokens_out"] <= rows["+ drafts", 1]["tokens_out"] and early["windows_per_s"] > 0
    for row in rows.values():
        assert row["ratio"] == pytest.approx(row["windows_per_s"] / row["generate_per_s"])
        # A crowded machine slows a row, but no switch makes it a hundred times as fast.
        assert row["windows_per_s"] > 0 and 0.01 < row["ratio"] < 100
        assert (row["same_answers"], row["same_verdicts"]) == (2, 2)
        assert row["max_logprob_difference"] < 1e-4
        assert 1 <= row["tokens_out"] <= 24
    assert [row["callers"] for row in ran["writing"]] == [1, 4]
    assert all(row["share_of_measured"] > 0 and row["ms"] > 0 for row in (ran["reading"], *ran["writing"]))
    parts = ran["parts"]
    assert parts["tokens"] / 4 <= parts["part_tokens"] < parts["tokens"] / 3
    assert parts["ratio"] == pytest.approx(parts["whole_ms"] / parts["parts_ms"])
    assert (parts["whole_bytes"], parts["parts_bytes"]) == (None, None)
    assert [(row["name"], row["pictures"], row["seen_before"]) for row in ran["overlap"]] == [
        ("grown", 20, 19), ("slid", 6, 4),
    ]  # fmt: skip
    for row in ran["overlap"]:
        assert row["ratio"] == pytest.approx(row["anew_ms"] / row["reused_ms"])
        assert row["max_logprob_difference"] < 1e-4 and row["other_question_ms"] > 0
    assert ran["overlap"][0]["ratio"] > 1.5


def test_rows_without_room_are_named_and_cost_no_other(ran: dict[str, Any]) -> None:
    full = {"+ together 8 at once", "+ together 16 at once", "writing, 8 at once", "writing, 16 at once"}
    assert set(ran["not_run"]) == full | {"vLLM", "transformers' video processor"}
    assert all(ran["not_run"][name].startswith("ModelFailed: keys of ") for name in full)
    assert ran["not_run"]["transformers' video processor"] == "torchvision is not installed"
    text = "\n".join(lines(ran))
    assert all(f"not run: {name}: " in text for name in ran["not_run"])
