"""Being where one should not be, or for longer than one should: a marked zone, loitering, and what resembles them."""

from __future__ import annotations

import math

from ingest.simulator.actor import Director, Spot
from ingest.simulator.scenery import Zone
from ingest.simulator.stage import EventTruth, Stage


def _marked(stage: Stage) -> Zone:
    zone = stage.scenery.zone
    if zone is None:
        raise ValueError("this place has no marked zone")
    return zone


def _before(stage: Stage, zone: Zone, inner: float = 0.9) -> Spot:
    """A place just before the zone's near edge."""
    half = (zone.x2 - zone.x1) / 2 * inner
    x = (zone.x1 + zone.x2) / 2 + float(stage.rng.uniform(-half, half))
    return x, zone.z1 - float(stage.rng.uniform(0.45, 0.7))


def _inside(stage: Stage, zone: Zone) -> Spot:
    rng = stage.rng
    return float(rng.uniform(zone.x1 + 0.4, zone.x2 - 0.4)), float(rng.uniform(zone.z1 + 0.7, zone.z2 - 0.4))


def intrusion(stage: Stage) -> EventTruth:
    """Somebody steps into the marked zone, moves about in it, and leaves it again."""
    rng, zone = stage.rng, _marked(stage)
    gate = _before(stage, zone)
    director = stage.enter(stage.now_s, gate)
    director.go(gate, stage.stroll(), 0.2)
    if rng.random() < 0.4:
        director.face((gate[0], zone.z2))
        director.wait(float(rng.uniform(0.3, 1.2)))
    speed = stage.stroll()
    first = _inside(stage, zone)
    distance = math.hypot(first[0] - gate[0], first[1] - gate[1])
    start = director.now_s + (zone.z1 - gate[1]) / (first[1] - gate[1]) * distance / speed
    director.go(first, speed, 0.2)
    for _ in range(int(rng.integers(1, 4))):
        director.wait(float(rng.uniform(0.3, 1.6)))
        director.go(_inside(stage, zone), stage.stroll(), 0.15)
    if director.now_s - start < 5.0:
        director.wait(start + 5.0 - director.now_s)
    out = _before(stage, zone)
    director.go(out, stage.stroll(), 0.2)
    end = director.now_s - 0.4
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("intrusion", start, start + 0.6, end, (director.person.id,))


def _to_the_zone(stage: Stage) -> tuple[Director, Spot]:
    gate = _before(stage, _marked(stage))
    director = stage.enter(stage.now_s, gate)
    director.go(gate, stage.stroll(), 0.2)
    return director, gate


def stands_at_zone(stage: Stage) -> EventTruth:
    """Somebody comes up to the edge of the marked zone, looks at it, and goes away."""
    director, gate = _to_the_zone(stage)
    start = director.now_s
    director.face((gate[0], gate[1] + 1))
    director.wait(float(stage.rng.uniform(2.5, 5.0)), bool(stage.rng.random() < 0.3))
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("stands_at_zone", start, start + 0.5, end, (director.person.id,))


def skirts_zone(stage: Stage) -> EventTruth:
    """Somebody walks along the edge of the marked zone without stepping into it."""
    zone = _marked(stage)
    side = int(stage.rng.choice([-1, 1]))
    ends = [(zone.x1 - 0.6, zone.z1 - 0.5), (zone.x2 + 0.6, zone.z1 - 0.6)][::side]
    director = stage.enter(stage.now_s, ends[0], -side)
    director.go(ends[0], stage.stroll(), 0.2)
    start = director.now_s
    director.go(ends[1], stage.stroll(), 0.2)
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2, side)
    return EventTruth("skirts_zone", start, start + 0.5, end, (director.person.id,))


def loitering(stage: Stage) -> EventTruth:
    """Somebody hangs about: to and fro in one place, with a look around at each turn."""
    rng = stage.rng
    place = stage.spot(0.55)
    director = stage.enter(stage.now_s, place)
    director.go(place, stage.stroll(), 0.15)
    start = director.now_s
    moments = director.pace(float(rng.uniform(1.1, 1.7)), float(rng.uniform(0.85, 1.15)), int(rng.integers(6, 9)))
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("loitering", start, min(moments[1] + 0.5, end), end, (director.person.id,))


def waits(stage: Stage) -> EventTruth:
    """Somebody stands and waits, and goes on."""
    place = stage.spot(0.6)
    director = stage.enter(stage.now_s, place)
    director.go(place, stage.stroll(), 0.2)
    start = director.now_s
    director.wait(float(stage.rng.uniform(4.0, 8.0)))
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("waits", start, start + 0.5, end, (director.person.id,))


def turns_back(stage: Stage) -> EventTruth:
    """Somebody walks in, thinks better of it, and walks back out the same way."""
    side = int(stage.rng.choice([-1, 1]))
    place = stage.spot(0.5)
    director = stage.enter(stage.now_s, place, side)
    director.go(place, stage.stroll(), 0.2)
    start = director.now_s
    director.wait(float(stage.rng.uniform(0.5, 1.5)))
    end = director.now_s + 2.0
    stage.leave(director, stage.stroll(), 0.2, side)
    return EventTruth("turns_back", start - 1.0, start, end, (director.person.id,))
