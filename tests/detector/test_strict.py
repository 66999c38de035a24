"""Thresholds for a scorer that stands by itself: the pure parts, on scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from detector import strict
from detector.film import key_times
from detector.seen import Seen, interval_s
from detector.strict import Option, choose, options, peaks, quiet_frames, quiet_scene
from ingest.simulator.world import Scene

EMPTY = Scene(11, 60.0, kinds=["nothing"] * 20)
FALLING = Scene(12, 60.0, kinds=["nothing", "fall", "nothing", "nothing", "nothing"])


def seen_of(*scenes: Scene) -> Seen:
    times = [np.array(list(key_times(scene.seed, scene.duration_s, 1.0))) for scene in scenes]
    return Seen(
        scene=np.concatenate([np.full(len(t), index) for index, t in enumerate(times)]),
        t_s=np.concatenate(times),
        tokens=np.zeros((0, 1, 1), np.float32),
        novelty=np.zeros(0, np.float32),
        scenes=tuple(scenes),
    )


def test_quiet_is_away_from_whatever_happens() -> None:
    seen = seen_of(EMPTY, FALLING)
    quiet = quiet_frames(seen)
    assert quiet[seen.scene == 0].all()
    (fall,) = FALLING.events
    near = (seen.scene == 1) & (seen.t_s >= fall.start_s - 2) & (seen.t_s <= fall.end_s + 2)
    assert near.any() and not quiet[near].any()
    assert quiet[(seen.scene == 1) & (seen.t_s < fall.start_s - 2.1)].all()


def test_a_quiet_scene_has_no_event_and_nothing_like_one() -> None:
    scene = quiet_scene(strict.QUIET_SEED)
    assert not scene.events and {each.label for each in scene.lookalikes} <= set(strict.QUIET_KINDS)


def test_an_event_counts_by_its_best_frame_and_a_flicker_by_one_window() -> None:
    seen = seen_of(EMPTY, FALLING)
    (fall,) = FALLING.events
    scores = np.full((len(seen.t_s), 2), 0.01, np.float32)
    during = np.flatnonzero((seen.scene == 1) & (seen.t_s >= fall.evident_s) & (seen.t_s <= fall.end_s))
    scores[during[-1]] = (0.8, 0.4)
    scores[20, 0] = 0.3
    best = peaks(scores, seen, "fall")
    assert best.tolist() == pytest.approx([0.8, 0.4]) and peaks(scores, seen, "fight").size == 0
    rows = options([(scores, seen)], best)
    minutes = float(quiet_frames(seen).sum()) * interval_s(seen) / 60
    low = next(row for row in rows if 0.05 < row.threshold < 0.29)
    # One of two wordings flags the flicker, once.
    assert low.recall == 1.0 and low.false == pytest.approx(0.5 / minutes)
    assert all(row.false == 0.0 for row in rows if row.threshold > 0.31)
    assert {row.recall for row in rows if row.threshold > 0.81} == {0.0}


def row(*cells: tuple[float, float, float]) -> list[Option]:
    return [Option(*cell) for cell in cells]


def test_what_is_kept_apart_gets_the_middle_of_the_gap() -> None:
    table = {"fall": row((0.1, 1.0, 0.5), (0.2, 1.0, 0.0), (0.3, 1.0, 0.0), (0.4, 1.0, 0.0), (0.5, 0.5, 0.0))}
    assert choose(table) == {"fall": 0.3}


def test_windows_are_spent_where_they_find_most() -> None:
    dear = row((0.2, 1.0, 0.4), (0.6, 0.9, 0.0))
    cheap = row((0.2, 1.0, 0.08), (0.6, 0.2, 0.0))
    assert choose({"fall": dear, "fight": cheap}) == {"fall": 0.6, "fight": 0.2}
    assert choose({"fall": dear, "fight": cheap}, rate=1.0) == {"fall": 0.2, "fight": 0.2}
