"""A lens that is covered or sprayed, and what only darkens the picture for a moment."""

from __future__ import annotations

from ingest.simulator.lens_cover import ClosePasser, Cloth, Spray
from ingest.simulator.scenery import palette
from ingest.simulator.stage import Dimming, EventTruth, Stage


def _blots(stage: Stage) -> tuple[tuple[float, float, float], ...]:
    rng = stage.rng
    x, y = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.35, 0.65))
    return tuple(
        (x + float(rng.normal(0, 0.11)), y + float(rng.normal(0, 0.11)), float(rng.uniform(0.06, 0.13)))
        for _ in range(int(rng.integers(14, 22)))
    )


def tamper(stage: Stage) -> EventTruth:
    """Somebody draws a cloth over the lens, or sprays it; after a while it is taken off."""
    rng = stage.rng
    start = stage.now_s + float(rng.uniform(0.5, 2.0))
    length, colour = float(rng.uniform(7.0, 10.0)), palette(rng, 10, 235, 45)
    thing: Cloth | Spray
    if rng.random() < 0.6:
        side = str(rng.choice(["left", "right", "top", "bottom"]))
        pull_s = float(rng.uniform(0.4, 1.2))
        share, phase = float(rng.uniform(0.42, 0.74)), float(rng.uniform(0, 6))
        thing = Cloth(stage.next_id(), side, share, start, start + length, pull_s, colour, phase)
    else:
        pull_s = float(rng.uniform(0.8, 1.6))
        thing = Spray(stage.next_id(), start, start + length, pull_s, _blots(stage), colour)
    stage.props.append(thing)
    stage.now_s = start + length
    return EventTruth("tamper", start, start + pull_s + 0.5, start + length - 0.5, (thing.id,))


def close_passer(stage: Stage) -> EventTruth:
    """Somebody walks by right before the lens."""
    rng = stage.rng
    start = stage.now_s + 0.5
    end = start + float(rng.uniform(1.2, 2.2))
    coat, hair = palette(rng, 15, 200, 50), palette(rng, 10, 110, 20)
    direction, top = int(rng.choice([-1, 1])), float(rng.uniform(0.15, 0.5))
    thing = ClosePasser(stage.next_id(), start, end, direction, top, coat, hair)
    stage.props.append(thing)
    stage.now_s = end + 0.5
    return EventTruth("close_passer", start, start + 0.4, end, (thing.id,))


def lights_out(stage: Stage) -> EventTruth:
    """The lights go out for some seconds."""
    rng = stage.rng
    start = stage.now_s + 0.5
    end = start + float(rng.uniform(2.5, 6.0))
    stage.dimmings.append(Dimming(start, end, float(rng.uniform(0.3, 0.55))))
    stage.now_s = end
    return EventTruth("lights_out", start, start + 0.2, end, ())
