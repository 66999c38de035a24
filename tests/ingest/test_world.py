"""The labelled world: the same seed gives the same pixels, and the truth agrees with the picture."""

import math
from itertools import pairwise

import numpy as np
import pytest

from ingest.simulator.episode import EVENTS
from ingest.simulator.lens import Lens
from ingest.simulator.world import MARGIN_S, Scene, episode_names


def test_the_same_seed_gives_the_same_pixels_and_truth() -> None:
    first, second = Scene(5, 30), Scene(5, 30)
    assert np.array_equal(first.frame(12.3), second.frame(12.3))
    assert first.events == second.events
    assert first.truth(12.3) == second.truth(12.3)


def test_time_is_random_access() -> None:
    scene = Scene(6, 30)
    later = scene.frame(20.0)
    scene.frame(3.0)
    assert np.array_equal(scene.frame(20.0), later)


def test_another_seed_gives_another_scene() -> None:
    assert not np.array_equal(Scene(7, 30).frame(5), Scene(8, 30).frame(5))


@pytest.mark.parametrize("kind", episode_names())
def test_every_episode_plays_and_is_labelled(kind: str) -> None:
    scene = Scene(11, 90, kinds=[kind])
    told = {truth.label for truth in scene.events} | {truth.label for truth in scene.lookalikes}
    assert told == (set() if kind == "nothing" else {kind})
    assert ({truth.label for truth in scene.events} == {kind}) == (kind in EVENTS)


WITH_ACTORS = [kind for kind in episode_names() if kind not in ("walking", "nothing", "lights_out")]


@pytest.mark.parametrize("kind", WITH_ACTORS)
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_actors_are_where_the_truth_says(kind: str, seed: int) -> None:
    """Inside an actor's box the picture differs from the empty place, and it hardly does elsewhere."""
    scene = Scene(seed, 90, kinds=[kind])
    truth = (scene.events + scene.lookalikes)[0]
    assert truth.start_s <= truth.evident_s <= truth.end_s
    t = truth.evident_s
    objects = [thing for thing in scene.truth(t) if thing.id in truth.actors]
    assert objects, "no actor in the picture when the event is evident"
    changed = np.abs(scene.frame(t).astype(int) - scene.frame(0.0).astype(int)).max(axis=2) > 40
    inside = np.zeros_like(changed)
    for thing in scene.truth(t):
        x1, y1, x2, y2 = (round(v * s) for v, s in zip(thing.box, (640, 360, 640, 360), strict=True))
        inside[max(0, y1 - 12) : y2 + 12, max(0, x1 - 16) : x2 + 16] = True
    assert (changed & ~inside).sum() <= 0.02 * changed.size


@pytest.mark.parametrize("seed", range(30, 42))
def test_a_mixed_scene_is_whole(seed: int) -> None:
    scene = Scene(seed, 60)
    assert scene.events, "a scene of a minute without an event"
    for event in scene.events:
        assert 0 < event.start_s < event.end_s <= scene.duration_s
        assert event.start_s <= scene.duration_s - MARGIN_S
    spans = sorted((event.start_s, event.end_s) for event in scene.events)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
    for t in (0.5, 17.0, 41.0):
        for thing in scene.truth(t):
            assert 0 <= thing.box[0] < thing.box[2] <= 1
            assert 0 <= thing.box[1] < thing.box[3] <= 1
            assert 0 <= thing.visible <= 1


def test_a_lens_gives_back_the_floor_point_it_projects() -> None:
    lens = Lens(640, 360, 500, 3.0, 0.3)
    for x, z in ((0.0, 6.0), (-2.0, 5.0), (3.5, 11.0)):
        px, py, depth = lens.project(np.array([(x, 0.0, z)]))[0]
        assert lens.floor_at(px, py) == pytest.approx((x, z), abs=1e-6)
        assert depth > 0


def test_a_figure_that_falls_becomes_flat() -> None:
    scene = Scene(51, 90, kinds=["fall"])
    event = scene.events[0]

    def shape(t: float) -> float:
        box = next(thing.box for thing in scene.truth(t) if thing.id in event.actors)
        return (box[3] - box[1]) * 360 / ((box[2] - box[0]) * 640)

    assert shape(event.start_s - 0.2) > 1.3 * shape(event.evident_s + 0.5)


def test_an_unknown_episode_is_named() -> None:
    with pytest.raises(ValueError, match="no episode is called 'earthquake'"):
        Scene(1, 30, kinds=["earthquake"])


def test_light_never_leaves_the_range() -> None:
    picture = Scene(61, 30).frame(4.2)
    assert picture.dtype == np.uint8 and picture.shape == (360, 640, 3)
    assert 5 < picture.mean() < 250 and not math.isnan(float(picture.std()))
