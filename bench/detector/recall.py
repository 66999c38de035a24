"""What 8 bits cost the bundled scorer in events that are found."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bench.detector.figures import Recall
from bench.detector.targets import RECALL_LOSS

if TYPE_CHECKING:
    from detector.folder import ScorerFolder
    from ingest.frame import CoarseFrame
    from ingest.simulator.world import Scene

SEED = 12_000_000
"""Scenes that no training, calibration, report or quantisation uses."""
SCENE_S = 40.0


def recall(folder: ScorerFolder, scenes: int) -> Recall:
    from detector import film
    from detector.recall import compare

    rendered = cache(lambda seed, t_s: film.coarse_frame(film.make_scene(seed, SCENE_S), t_s, f"scene-{seed}", 60))

    def show(scene: Scene, t_s: float, camera_id: str) -> CoarseFrame:
        return rendered(scene.seed, t_s)

    exact, rounded = compare(folder, range(SEED, SEED + scenes), SCENE_S, show)
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
