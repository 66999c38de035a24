"""What 8 bits cost the bundled scorer in events that are found."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from bench.detector.figures import Recall
from bench.detector.targets import RECALL_LOSS

if TYPE_CHECKING:
    from detector.config import Precision
    from detector.folder import ScorerFolder
    from detector.measure import Measured, Show
    from ingest.frame import CoarseFrame
    from ingest.simulator.world import Scene

SEED = 12_000_000
"""Scenes that no training, calibration, report or quantisation uses."""
SCENE_S = 40.0


def recall(folder: ScorerFolder, scenes: int) -> Recall:
    from detector import film

    rendered = cache(lambda seed, t_s: film.coarse_frame(film.make_scene(seed, SCENE_S), t_s, f"scene-{seed}", 60))

    def show(scene: Scene, t_s: float, camera_id: str) -> CoarseFrame:
        return rendered(scene.seed, t_s)

    exact, rounded = (_measured(folder, precision, scenes, show) for precision in ("fp32", "int8"))
    events, found, windowed = (
        [sum(getattr(each, name) for each in one.categories.values()) for one in (exact, rounded)]
        for name in ("events", "found", "windowed")
    )
    return Recall(
        scenes=scenes,
        events=events[0],
        found_fp32=found[0],
        found_int8=found[1],
        windowed_fp32=windowed[0],
        windowed_int8=windowed[1],
        false_per_quiet_minute_fp32=exact.false_per_quiet_minute,
        false_per_quiet_minute_int8=rounded.false_per_quiet_minute,
        loss=exact.recall - rounded.recall,
        loss_target=RECALL_LOSS,
    )


def _measured(folder: ScorerFolder, precision: Precision, scenes: int, show: Show) -> Measured:
    from detector.captions import watch
    from detector.config import DetectorConfig, GateConfig
    from detector.measure import measure
    from detector.rule import Rule
    from detector.scorer import Scorer

    rules = [
        msgspec.convert({"id": name, "category": name, "watch": watch(name), "question": "?"}, Rule)
        for name in sorted(folder.record.categories)
    ]
    scorer = Scorer.load(DetectorConfig(model=str(folder.path), engine="onnx", precision=precision), rules)
    try:
        return measure(scorer, rules, GateConfig(), range(SEED, SEED + scenes), SCENE_S, show=show)
    finally:
        scorer.close()
