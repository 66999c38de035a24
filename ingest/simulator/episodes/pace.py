"""Running, and other ways of being fast."""

from __future__ import annotations

import math

from ingest.simulator.stage import EventTruth, Stage


def running(stage: Stage) -> EventTruth:
    """Somebody breaks into a run, turns once or twice, and runs out of the picture."""
    place = stage.spot(0.8)
    director = stage.enter(stage.now_s, place)
    director.go(place, stage.stroll() + 0.2, 0.2)
    start = director.now_s
    speed = float(stage.rng.uniform(3.1, 4.3))
    run = 0.0
    while run < 11.0:
        here = director.spot
        director.go(stage.away(here, 4.5), speed, 1.0)
        run += math.hypot(director.spot[0] - here[0], director.spot[1] - here[1])
    director.go(stage.exit_from(director.spot), speed, 1.0)
    stage.now_s = director.now_s
    return EventTruth("running", start, start + 0.8, director.now_s - 0.2, (director.person.id,))


def cyclist(stage: Stage) -> EventTruth:
    """Somebody rides through on a bicycle."""
    place = stage.spot(0.5)
    side = int(stage.rng.choice([-1, 1]))
    director = stage.enter(stage.now_s, place, side)
    speed = float(stage.rng.uniform(2.6, 4.2))
    director.go(place, speed, 0.5, bicycle=True)
    director.go(stage.exit_from(place, -side), speed, 0.5, bicycle=True)
    stage.now_s = director.now_s
    return EventTruth(
        "cyclist", director.person.start_s, director.person.start_s + 0.3, director.now_s, (director.person.id,)
    )


def brisk_walk(stage: Stage) -> EventTruth:
    """Somebody walks briskly to and fro."""
    place = stage.spot(0.7)
    director = stage.enter(stage.now_s, place)
    start = director.now_s
    speed = float(stage.rng.uniform(1.7, 2.0))
    director.go(place, speed, 0.3)
    director.go(stage.away(place, 3.0), speed, 0.3)
    director.go(stage.exit_from(director.spot), speed, 0.3)
    stage.now_s = director.now_s
    return EventTruth("brisk_walk", start, start + 0.5, director.now_s, (director.person.id,))
