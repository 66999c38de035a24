"""Falling, and what takes somebody down to the floor or a bench of their own will."""

from __future__ import annotations

import math

from ingest.simulator import figure
from ingest.simulator.stage import EventTruth, Stage


def fall(stage: Stage) -> EventTruth:
    """Somebody falls and lies, then gets up and walks on."""
    place = stage.spot()
    director = stage.enter(stage.now_s, place)
    director.go(place, stage.stroll(), 0.2)
    start = director.now_s
    fall_s = float(stage.rng.uniform(0.6, 1.1))
    lie_s = float(stage.rng.uniform(4.5, 7.5))
    director.topple(fall_s, lie_s, 1.6)
    end = start + fall_s + lie_s + 0.8
    director.wait(0.8)
    stage.leave(director, stage.stroll() * 0.8, 0.1)
    return EventTruth("fall", start, start + fall_s, end, (director.person.id,))


def sits_down(stage: Stage) -> EventTruth:
    """Somebody sits on the bench for a while."""
    bench = stage.scenery.bench
    seat = (bench.x + float(stage.rng.uniform(-0.4, 0.4)), bench.z - bench.depth / 2 - 0.12)
    director = stage.enter(stage.now_s, seat)
    director.go(seat, stage.stroll(), 0.2)
    director.heading = -math.pi / 2 + float(stage.rng.uniform(-0.3, 0.3))
    start = director.now_s
    director.morph(figure.sitting, 1.0, 0.0, 1.0)
    director.hold(figure.sitting, float(stage.rng.uniform(3, 6)), 1.0, 0.02)
    director.morph(figure.sitting, 1.0, 1.0, 0.0)
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("sits_down", start, start + 0.5, end, (director.person.id,))


def ties_shoe(stage: Stage) -> EventTruth:
    """Somebody squats to tie a shoe and walks on."""
    place = stage.spot()
    director = stage.enter(stage.now_s, place)
    director.go(place, stage.stroll(), 0.2)
    start = director.now_s
    director.morph(figure.crouching, 0.7, 0.0, 1.0)
    director.hold(figure.crouching, float(stage.rng.uniform(2, 4)), 0.95)
    director.morph(figure.crouching, 0.7, 1.0, 0.0)
    end = director.now_s
    stage.leave(director, stage.stroll(), 0.2)
    return EventTruth("ties_shoe", start, start + 0.5, end, (director.person.id,))
