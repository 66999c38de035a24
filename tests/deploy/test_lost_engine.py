"""A scorer's engine that is lost in the midst of a run, as the line, the page and the numbers show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from alerts.console.status import ScorerLine
from alerts.store import Store
from deploy import health
from deploy.pipeline import Pipeline
from deploy.telemetry import Telemetry, watch
from detector.engines import follow_engine
from detector.engines.lasting import FAILURES
from detector.engines.ort import OnnxEngine
from detector.folder import IMAGE_GRAPH, ScorerFolder, read_folder
from detector.scorer import Scorer
from tests.deploy.scripted import RULE, ScriptedReasoner, Site
from tests.detector.breaking import BreakingEngine
from tests.detector.material import coarse

GPU = "tensorrt (NVIDIA L4, fp16)"
LOST = f"{GPU} failed (the device is lost); see nvidia-smi ({FAILURES} times in a row)"
FRAMES = 10
GOOD = 4
"""Frames that are scored before the device is lost."""


@pytest.fixture
def bundled() -> ScorerFolder:
    return read_folder("bundled")


def numbers(line: Pipeline) -> dict[str, list[tuple[float, dict[str, object]]]]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    watch(Telemetry(meter=MeterProvider([reader]).get_meter("test")), line)
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: [(point.value, dict(point.attributes or {})) for point in metric.data.data_points]  # type: ignore[union-attr]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }


def fed(line: Pipeline, count: int) -> None:
    """Puts frames in one by one, as a camera sends them, and waits until each is done with."""
    stats = line.runner.links[0].stats
    for number in range(count):
        before = stats.done + stats.poisoned
        line.runner.put(coarse(np.full((90, 160, 3), 60 + number, np.uint8), float(number), "a"))
        deadline = time.monotonic() + 20
        while stats.done + stats.poisoned == before:
            assert time.monotonic() < deadline, "a frame was not done with in time"
            time.sleep(0.005)


@pytest.mark.parametrize(
    ("follows", "unscored", "state", "engine", "reason"),
    [
        (True, FAILURES - 1, "fallen", "onnx (CPU)", LOST),
        (
            False, FRAMES - GOOD, "failing", GPU,
            f"{LOST}; mend it and start again, or set detector.engine to \"auto\", which goes on with another engine",
        ),
    ],
    ids=["auto", "named"],
)  # fmt: skip
def test_a_lost_engine_is_seen_everywhere(
    follows: bool, unscored: int, state: str, engine: str, reason: str, site: Site, bundled: ScorerFolder
) -> None:
    follow: Callable[..., OnnxEngine] | None = partial(follow_engine, folder=bundled) if follows else None  # type: ignore[assignment]
    compiled = BreakingEngine(OnnxEngine(bundled), GOOD, GPU)
    compiled.sha256, compiled.precision = "7e" * 32, "fp16"
    scorer = Scorer(bundled, compiled, (RULE,), 16, follow=follow)
    with Store.open(site.data) as store:
        line = site.line(store, scorer, ScriptedReasoner())
        config = line._config
        assert health.status(config, 1, None, None).scorer == ScorerLine(state="starting")
        assert health.status(config, 1, line, None).scorer == ScorerLine(state="ok", engine=GPU)
        line.start()
        fed(line, FRAMES)
        shown, told = health.status(config, 1, line, None).scorer, numbers(line)
        coarse_model = line._origin_now().coarse
        line.stop()
    assert shown == ScorerLine(state=state, engine=engine, unscored=unscored, reason=reason)  # type: ignore[arg-type]
    assert told["witness.frames.unscored"] == [(unscored, {})]
    assert told["witness.engine.failing"] == [(float(not follows), {"stage": "score", "engine": engine})]
    assert [attributes["engine"] for _, attributes in told["witness.engine"]] == [engine]
    lost = [
        attributes["engine"]
        for _, attributes in told.get("witness.engine.passed_over", [])
        if attributes["reason"] == "lost"
    ]
    assert lost == (["tensorrt"] if follows else [])
    # What an alert says it was scored with is what scores now.
    scores = (bundled.record.sha256[IMAGE_GRAPH], "fp32") if follows else (compiled.sha256, "fp16")
    assert (coarse_model.engine_sha256, coarse_model.precision) == scores and coarse_model.name == bundled.record.name
