"""The labelled world: the same seed gives the same pixels, and the truth agrees with the picture."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from ingest.simulator.episode import EVENTS, LOOKALIKES, PLACES, place_for, playable
from ingest.simulator.lens import Lens
from ingest.simulator.sheet import PICTURES, TILE, contact_sheet
from ingest.simulator.weather import Weather
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
    assert (changed & ~inside).sum() <= 0.03 * changed.size


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


@pytest.mark.parametrize("seed", [103, 140, 161, 297])
def test_what_would_begin_after_the_end_is_no_truth(seed: int) -> None:
    """In each of these scenes the last episode that is played starts too late to be seen."""
    kinds = ["fall", "running", "sits_down", "fall", "running", "sits_down"]
    scene = Scene(seed, 30, (192, 108), kinds=kinds)
    longer = Scene(seed, 60, (192, 108), kinds=kinds)
    seen = [*scene.events, *scene.lookalikes]
    assert seen and all(truth.start_s < truth.end_s and truth.start_s < 30 for truth in seen)
    assert any(30 <= truth.start_s < 34 for truth in (*longer.events, *longer.lookalikes))


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


@pytest.mark.parametrize("seed", range(70, 78))
def test_nobody_enters_the_marked_zone_by_accident(seed: int) -> None:
    scene = Scene(seed, 90, kinds=["stands_at_zone", "walking", "skirts_zone", "walking"])
    zone = scene.scenery.zone
    assert zone is not None and scene.place == "zone"
    spots = [
        posture.spot
        for t in np.arange(0, 90, 0.25)
        for person in scene.stage.people
        if (posture := person.posture(float(t))) is not None
    ]
    assert spots and max(z for _, z in spots) < zone.z1


@pytest.mark.parametrize("seed", range(80, 86))
def test_an_intruder_is_in_the_zone_from_the_start_to_the_end(seed: int) -> None:
    scene = Scene(seed, 90, kinds=["intrusion"])
    (event,), zone = scene.events, scene.scenery.zone
    assert zone is not None
    person = next(person for person in scene.stage.people if person.id in event.actors)

    def deep(t: float) -> float:
        posture = person.posture(t)
        assert posture is not None
        return posture.spot[1] - zone.z1

    assert deep(event.start_s - 0.3) < 0 < deep(event.start_s + 0.3)
    assert all(deep(float(t)) > 0 for t in np.arange(event.start_s + 0.1, event.end_s - 0.6, 0.2))


@pytest.mark.parametrize(
    ("kind", "right"), [("vehicle_wrong_way", False), ("vehicle_right_way", True), ("vehicle_stops", True)]
)
@pytest.mark.parametrize("seed", range(90, 96))
def test_the_near_lane_runs_to_the_right(kind: str, right: bool, seed: int) -> None:
    scene = Scene(seed, 60, kinds=[kind])
    (truth,), road = scene.events + scene.lookalikes, scene.scenery.road
    assert road is not None

    def box(t: float) -> tuple[float, float, float, float]:
        return next(thing.box for thing in scene.truth(t) if thing.id in truth.actors)

    first, last = box(truth.start_s + 0.3), box(truth.end_s - 0.3)
    to_the_right = first[0] + first[2] < last[0] + last[2]
    middle = float(scene.lens.project(np.array([(0.0, 0.0, (road.z1 + road.z2) / 2)]))[0, 1]) / 360
    near = (first[3] + last[3]) / 2 > middle
    assert (to_the_right == near) == right


def test_a_crowd_is_one_object_around_its_people() -> None:
    scene = Scene(98, 60, kinds=["crowd"])
    (event,) = scene.events
    things = scene.truth(event.evident_s + 1)
    crowd = next(thing for thing in things if thing.id in event.actors)
    members = [thing for thing in things if thing.id in scene.stage.groups[0].members]
    assert crowd.label == "crowd" and len(members) >= 6
    assert crowd.box[0] == min(member.box[0] for member in members)
    assert crowd.box[3] == max(member.box[3] for member in members)
    assert not [thing for thing in scene.truth(event.start_s - 2) if thing.label == "crowd"]


def test_episodes_that_need_different_places_are_refused() -> None:
    with pytest.raises(ValueError, match="no place has road and zone"):
        Scene(1, 30, kinds=["intrusion", "vehicle_stops"])
    assert {Scene(seed, 20, kinds=["fall"]).place for seed in range(20)} == set(PLACES)


def test_every_event_has_a_look_alike_and_every_episode_a_place() -> None:
    assert set(LOOKALIKES) == set(EVENTS)
    for place in PLACES:
        assert {"walking", "nothing", "fall"} <= set(playable(episode_names(), place))
    assert {kind for kind in EVENTS if place_for([kind])} == {"intrusion", "vehicle_wrong_way"}


@pytest.mark.parametrize("name", ["rain", "shake", "flicker", "step"])
def test_weather_is_a_matter_of_the_time_alone(name: str) -> None:
    changes: dict[str, dict[str, object]] = {
        "rain": {"rain": 1.0}, "shake": {"shake": (2.0, 1.0, 0.5)}, "flicker": {"flicker": (0.2, 3.1)},
        "step": {"step": (2.0, 0.6)},
    }  # fmt: skip
    calm = Weather(
        False, (np.zeros((36, 64, 3), np.int16),), (0.0, 0.1, 0.0), (0.0, 2.0), None, 0.0, (0.0, 1.0, 0.0), 0.0
    )
    rough = replace(calm, **changes[name])  # type: ignore[arg-type]
    rng = np.random.default_rng(2)
    scene = cv2.resize(rng.integers(40, 200, (9, 16, 3), dtype=np.uint8), (64, 36))
    first, other = rough.see(scene.copy(), 2.3), rough.see(scene.copy(), 0.4)
    assert np.array_equal(rough.see(scene.copy(), 2.3), first)
    assert not np.array_equal(first, calm.see(scene.copy(), 2.3))
    assert not np.array_equal(first, other)


def test_a_contact_sheet_has_a_row_for_every_event_and_look_alike(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sheet.png"
    assert contact_sheet(path, 3) == 30
    sheet = cv2.imread(str(path))
    assert sheet is not None and sheet.shape == (30 * TILE[1], PICTURES * TILE[0], 3)


def test_an_unknown_episode_is_named() -> None:
    with pytest.raises(ValueError, match="no episode is called 'earthquake'"):
        Scene(1, 30, kinds=["earthquake"])


def test_light_never_leaves_the_range() -> None:
    picture = Scene(61, 30).frame(4.2)
    assert picture.dtype == np.uint8 and picture.shape == (360, 640, 3)
    assert 5 < picture.mean() < 250 and not math.isnan(float(picture.std()))
