"""Many people in one place, and few of them."""

from __future__ import annotations

import math

from ingest.simulator.actor import Director, Spot
from ingest.simulator.stage import EventTruth, Group, Stage

CROWD_FROM = 6
"""People who stand together are a crowd from this number."""


def _ring(stage: Stage, centre: Spot, count: int, gap_m: float) -> list[Spot]:
    """Places around a centre, none closer to another than about `gap_m`."""
    places: list[Spot] = []
    reach = gap_m * math.sqrt(count) * 0.62
    for number in range(count):
        angle = 2.4 * number + float(stage.rng.uniform(-0.2, 0.2))
        radius = reach * math.sqrt((number + 0.5) / count)
        z = max(stage.nearest_z(), min(stage.farthest_z(), centre[1] + radius * math.sin(angle) * 0.8))
        places.append((centre[0] + radius * math.cos(angle), z))
    return places


def _gather(stage: Stage, count: int, gap_m: float, within_s: float) -> tuple[list[Director], list[float]]:
    """People come from both sides and stand; directors and the moments at which they arrive, in order."""
    rng = stage.rng
    centre = stage.spot(0.4)
    arrivals: list[tuple[float, Director]] = []
    comers = []
    for place in _ring(stage, centre, count, gap_m):
        director = stage.enter(0.0, place)
        speed = stage.stroll()
        walk_s = math.hypot(place[0] - director.spot[0], place[1] - director.spot[1]) / speed
        comers.append((director, place, speed, walk_s, float(rng.uniform(0, within_s))))
    together = stage.now_s + max(walk_s - late for _, _, _, walk_s, late in comers)
    for director, place, speed, walk_s, late in comers:
        director.now_s = together + late - walk_s
        director.go(place, speed, 0.2)
        director.face(centre)
        arrivals.append((director.now_s, director))
    arrivals.sort(key=lambda pair: pair[0])
    return [director for _, director in arrivals], [moment for moment, _ in arrivals]


def _stay_and_part(stage: Stage, directors: list[Director], until_s: float) -> None:
    for director in directors:
        talks = bool(stage.rng.random() < 0.5)
        director.wait(max(0.3, until_s - director.now_s + float(stage.rng.uniform(0, 1.0))), talks)
    for director in directors:
        stage.leave(director, stage.stroll(), 0.2)


def crowd(stage: Stage) -> EventTruth:
    """Six to nine people gather in one place, stand together and part."""
    count = int(stage.rng.integers(CROWD_FROM, 10))
    directors, moments = _gather(stage, count, 0.75, 2.0)
    start = moments[CROWD_FROM - 2]
    end = moments[-1] + float(stage.rng.uniform(5.0, 8.0))
    _stay_and_part(stage, directors, end)
    group = Group(stage.next_id(), "crowd", tuple(d.person.id for d in directors), start - 0.4, end + 0.6)
    stage.groups.append(group)
    return EventTruth("crowd", start, moments[CROWD_FROM - 1] + 0.3, end, (group.id,))


def small_group(stage: Stage) -> EventTruth:
    """Three or four people stand together for a while."""
    directors, moments = _gather(stage, int(stage.rng.integers(3, 5)), 0.85, 1.5)
    start = moments[-1]
    end = start + float(stage.rng.uniform(3.5, 6.5))
    _stay_and_part(stage, directors, end)
    return EventTruth("small_group", start, start + 0.5, end, tuple(d.person.id for d in directors))


def family_walks(stage: Stage) -> EventTruth:
    """Three or four people walk through side by side."""
    rng = stage.rng
    side = int(rng.choice([-1, 1]))
    place, speed, begin = stage.spot(0.5), stage.stroll(), stage.now_s
    ids = []
    for number in range(int(rng.integers(3, 5))):
        aside = (number % 2) * 0.7 + float(rng.uniform(-0.1, 0.1))
        z = min(stage.farthest_z(), max(stage.nearest_z(), place[1] + aside))
        director = stage.enter(begin + 0.5 * number, (place[0], z), side)
        director.spot = (director.spot[0], z)
        director.go((stage.lens.edge_x(z, -side), z), speed, 0.2)
        ids.append(director.person.id)
        stage.now_s = max(stage.now_s, director.now_s)
    return EventTruth("family_walks", begin + 1.0, begin + 2.0, stage.now_s - 1.0, tuple(ids))
