"""An engine that is lost in the midst of a run: what follows it, when, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import detector.engines as engines
from detector.config import DetectorConfig, EngineKind
from detector.engines import RUNGS, Engine, PassedOver
from detector.engines.lasting import FAILURES, LastingEngine
from detector.engines.ort import OnnxEngine
from detector.errors import EngineMismatch, EngineUnavailable
from detector.folder import ScorerFolder
from detector.scorer import Scorer
from tests.detector.breaking import BreakingEngine
from tests.detector.material import rule
from tests.detector.test_scorer import noise

GPU = "tensorrt (NVIDIA L4, fp16)"


@pytest.fixture
def broken(small_folder: ScorerFolder, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], BreakingEngine]:
    """Puts on the rung of TensorRT, and behind its name, an engine that is lost after so many calls."""

    def make(calls: int) -> BreakingEngine:
        engine = BreakingEngine(OnnxEngine(small_folder), calls, GPU)
        monkeypatch.setattr(engines, "_tensorrt", lambda *given, **named: engine)
        return engine

    return make


def scores_of(scorer: Scorer, frames: int) -> list[NDArray[np.float32] | None]:
    """Of single frames, in turn; None where none came."""
    out: list[NDArray[np.float32] | None] = []
    for frame in noise(frames):
        try:
            out.append(scorer.score([frame]))
        except EngineUnavailable:
            out.append(None)
    return out


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_auto_goes_on_below_what_was_lost(
    calls: int, small: DetectorConfig, broken: Callable[[int], BreakingEngine], caplog: pytest.LogCaptureFixture
) -> None:
    """FAILURES - 1 frames are lost, then the same scores come from the next rung that runs here."""
    wanted = scores_of(Scorer.load(small, [rule()]), 8)
    lost = broken(calls)
    scorer = Scorer.load(DetectorConfig(model=small.model), [rule()])
    assert (scorer.engine, scorer.provenance[2], scorer.passed_over) == (GPU, "fp32", ())
    with caplog.at_level(logging.WARNING):
        found = scores_of(scorer, 8)
    gone = range(calls, calls + FAILURES - 1)
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert (one is None) == (place in gone)
        # What came after a lost frame has another frame before it than in the run without a loss.
        if one is not None and other is not None and place < calls:
            np.testing.assert_array_equal(one, other)
    assert scorer.engine == "onnx (CPU)" and scorer.trouble == ""
    assert scorer.passed_over[0] == PassedOver("tensorrt", "lost", f"{GPU} failed (the device is lost); see nvidia-smi")
    assert [one.engine for one in scorer.passed_over] == list(RUNGS[:2])
    line = f"{GPU} failed (the device is lost); see nvidia-smi ({FAILURES} times in a row)"
    assert scorer.left == (line,)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"{line}; going on with onnx (CPU)"]
    assert lost.closed and lost.failed == FAILURES and "passed over: tensorrt" in scorer.describe()


@pytest.mark.parametrize("kind", ["tensorrt", "auto"])
def test_with_nothing_to_follow_the_trouble_is_one_line_until_it_is_over(
    kind: EngineKind,
    small: DetectorConfig,
    broken: Callable[[int], BreakingEngine],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost = broken(1)
    scorer = Scorer.load(DetectorConfig(model=small.model, engine=kind), [rule()])

    def none(*given: object, **named: object) -> Engine:
        raise EngineUnavailable("not here")

    for step in ("_onnx_cuda", "_onnx", "_torch"):
        monkeypatch.setattr(engines, step, none)
    with caplog.at_level(logging.ERROR):
        assert [one is None for one in scores_of(scorer, 9)] == [False] + [True] * 8
    assert scorer.engine == GPU and scorer.left == () and "\n" not in scorer.trouble
    assert scorer.trouble.startswith(f"{GPU} failed (the device is lost); see nvidia-smi ({FAILURES} times in a row); ")
    way_out = 'set detector.engine to "auto"' if kind == "tensorrt" else "no other engine starts (not here)"
    assert way_out in scorer.trouble
    assert [record.getMessage() for record in caplog.records] == [f"no picture is scored: {scorer.trouble}"]
    assert lost.closed == (kind == "auto")
    if kind == "tensorrt":
        lost.mended()
        assert scores_of(scorer, 1)[0] is not None and scorer.trouble == ""


def test_failures_that_are_not_in_a_row_change_nothing(small_folder: ScorerFolder) -> None:
    given = np.zeros((1, 144, 256, 7), np.uint8)
    engine = BreakingEngine(OnnxEngine(small_folder))
    lasting = LastingEngine(engine, lambda failed, reason: pytest.fail("nothing was lost"))
    for _ in range(3):
        engine._left = 0
        for _ in range(FAILURES - 1):
            with pytest.raises(EngineUnavailable):
                lasting.image(given)
        engine.mended()
        lasting.image(given)
    with pytest.raises(EngineMismatch):
        lasting.image(given[0])
    assert lasting.name == "onnx (CPU)" and lasting.trouble == ""


def test_nothing_stands_below_the_last_rung(small_folder: ScorerFolder) -> None:
    engine = OnnxEngine(small_folder)
    engine.passed_over = tuple(PassedOver(name, "unavailable", "no") for name in RUNGS[:-1])
    with pytest.raises(EngineUnavailable, match="nothing stands below torch"):
        engines.follow_engine(engine, "lost", small_folder)
    engine.passed_over = engine.passed_over[:-1]
    following = engines.follow_engine(engine, "lost", small_folder)
    assert following.name.startswith("torch") and following.passed_over[-1] == PassedOver(RUNGS[2], "lost", "lost")
