"""Bags that are left behind, and bags that are not."""

from __future__ import annotations

import math

from ingest.simulator import figure
from ingest.simulator.actor import Bag, Director, Spot
from ingest.simulator.stage import EventTruth, Stage


def _put_down(director: Director) -> float:
    """Bend, let go, rise; gives the moment of letting go."""
    director.morph(figure.crouching, 0.7, 0.0, 0.9)
    dropped = director.now_s
    director.hold(figure.crouching, 0.25, 0.9)
    director.morph(figure.crouching, 0.6, 0.9, 0.0)
    return dropped


def _beside(spot: Spot, heading: float, distance_m: float = 0.42) -> Spot:
    return spot[0] + distance_m * math.cos(heading), spot[1] + distance_m * math.sin(heading)


def _carry_in(stage: Stage) -> tuple[Director, Bag, Spot, float]:
    """Somebody brings a bag and puts it down: director, bag, where it stands, when it was let go."""
    place = stage.spot(0.6)
    director = stage.enter(stage.now_s, place)
    bag = stage.bag(director.person)
    director.go(place, stage.stroll(), 0.15)
    floor = _beside(place, director.heading)
    dropped = _put_down(director)
    return director, bag, floor, dropped


def abandoned_object(stage: Stage) -> EventTruth:
    """A bag is put down, its owner leaves; later it is fetched."""
    director, bag, floor, dropped = _carry_in(stage)
    if stage.rng.random() < 0.6:
        director.wait(float(stage.rng.uniform(0.3, 1.4)))
    start = director.now_s
    speed = stage.stroll()
    director.go(stage.exit_from(director.spot), speed, 0.2)
    gone = director.now_s
    back_s = gone + float(stage.rng.uniform(0.5, 3.0))
    fetcher = stage.enter(back_s, floor)
    beside = _beside(floor, math.pi, 0.42)
    fetcher.go(beside, stage.stroll() + 0.2, 0.25)
    fetcher.face(floor)
    lifted = _put_down(fetcher)
    stage.leave(fetcher, stage.stroll(), 0.2)
    stage.bags.append(Bag(bag.id, director.person, dropped, floor, lifted, fetcher.person, bag.size_m, bag.colour))
    return EventTruth("abandoned_object", start, min(start + 2.0 / speed, gone), lifted, (director.person.id, bag.id))


def _kept(stage: Stage, label: str, stay_s: float, talking: bool) -> EventTruth:
    director, bag, floor, dropped = _carry_in(stage)
    director.wait(stay_s, talking)
    director.face(floor)
    lifted = _put_down(director)
    stage.leave(director, stage.stroll(), 0.2)
    person = director.person
    stage.bags.append(Bag(bag.id, person, dropped, floor, lifted, person, bag.size_m, bag.colour))
    return EventTruth(label, dropped, dropped, lifted, (person.id, bag.id))


def bag_picked_up(stage: Stage) -> EventTruth:
    """Put down and taken up again by the same person, who never leaves it."""
    return _kept(stage, "bag_picked_up", float(stage.rng.uniform(0.6, 2.5)), False)


def bag_beside_owner(stage: Stage) -> EventTruth:
    """The owner stands next to the bag for a while."""
    return _kept(stage, "bag_beside_owner", float(stage.rng.uniform(4, 8)), bool(stage.rng.random() < 0.5))
