"""What can happen in a scene: each event, what looks like it, and ordinary life, as acts of actors with exact truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ingest.simulator import figure
from ingest.simulator.actor import Bag, Director, Look, Person, Spot
from ingest.simulator.lens import Lens
from ingest.simulator.scenery import Scenery, palette


@dataclass(frozen=True, slots=True)
class EventTruth:
    """Something that truly happened. Seconds of the scene."""

    label: str
    """An alert category, or the name of a look-alike."""
    start_s: float
    evident_s: float
    """First instant at which a picture can tell."""
    end_s: float
    actors: tuple[int, ...]


@dataclass(slots=True)
class Stage:
    """Where episodes are written down: the place, its actors, and the clock from which the next one starts."""

    lens: Lens
    scenery: Scenery
    rng: np.random.Generator
    now_s: float = 0.0
    people: list[Person] = field(default_factory=list)
    bags: list[Bag] = field(default_factory=list)
    _ids: int = 0

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def nearest_z(self) -> float:
        return self.lens.floor_at(self.lens.width_px / 2, self.lens.height_px * 0.97)[1] + 0.4

    def spot(self, inner: float = 0.68) -> Spot:
        """Somewhere on the visible floor."""
        near = self.nearest_z()
        z = float(self.rng.uniform(near, max(near + 1.5, min(12.0, near * 2.6))))
        return float(self.rng.uniform(-inner, inner)) * self.lens.edge_x(z, 1, 0), z

    def away(self, spot: Spot, distance_m: float) -> Spot:
        """A visible spot about this far from another one."""
        best, off = spot, -1.0
        for _ in range(24):
            candidate = self.spot(0.8)
            gap = math.hypot(candidate[0] - spot[0], candidate[1] - spot[1])
            if gap >= distance_m:
                return candidate
            if gap > off:
                best, off = candidate, gap
        return best

    def exit_from(self, spot: Spot, side: int | None = None) -> Spot:
        z = max(self.nearest_z(), spot[1] + float(self.rng.uniform(-1.2, 1.2)))
        chosen = side if side is not None else int(self.rng.choice([-1, 1]))
        return self.lens.edge_x(z, chosen), z

    def enter(self, start_s: float, towards: Spot, side: int | None = None) -> Director:
        rng = self.rng
        look = Look(
            float(rng.uniform(1.55, 1.88)),
            palette(rng, 15, 235, 60),
            palette(rng, 15, 150, 35),
            palette(rng, 95, 215, 18),
            palette(rng, 10, 120, 20),
        )
        person = Person(self.next_id(), look)
        self.people.append(person)
        return Director(person, start_s, self.exit_from(towards, side), rng)

    def bag(self, carrier: Person) -> Bag:
        """A bag that somebody carries for good; replace it when it is put down."""
        size = (float(self.rng.uniform(0.32, 0.55)), float(self.rng.uniform(0.26, 0.5)))
        return Bag(self.next_id(), carrier, math.inf, (0.0, 0.0), math.inf, None, size, palette(self.rng, 10, 230, 60))

    def stroll(self) -> float:
        return float(self.rng.uniform(1.1, 1.6))

    def leave(self, director: Director, speed: float, vigour: float, side: int | None = None) -> None:
        """Walk out of the picture; the next episode may begin meanwhile."""
        self.now_s = max(self.now_s, director.now_s + 0.8)
        director.go(self.exit_from(director.spot, side), speed, vigour)


Episode = Callable[[Stage], EventTruth | None]


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


def _meet(stage: Stage, gap_m: float) -> tuple[Director, Director]:
    """Two people come from either side and stand before each other at the same moment."""
    place = stage.spot(0.5)
    first = stage.enter(stage.now_s, place, -1)
    second = stage.enter(stage.now_s, place, 1)
    first.go((place[0] - gap_m / 2, place[1]), stage.stroll(), 0.2)
    second.go((place[0] + gap_m / 2, place[1] + float(stage.rng.uniform(-0.15, 0.15))), stage.stroll(), 0.2)
    first.face(second.spot)
    second.face(first.spot)
    early, late = sorted((first, second), key=lambda director: director.now_s)
    if late.now_s - early.now_s > 0.05:
        early.wait(late.now_s - early.now_s)
    return first, second


def _part(stage: Stage, first: Director, second: Director) -> None:
    stage.leave(first, stage.stroll(), 0.2, -1)
    if stage.rng.random() < 0.5:
        second.wait(float(stage.rng.uniform(0.3, 1.2)))
    stage.leave(second, stage.stroll(), 0.2, 1)


def fight(stage: Stage) -> EventTruth:
    """Two people come to blows."""
    first, second = _meet(stage, 0.85)
    if stage.rng.random() < 0.5:
        quarrel = float(stage.rng.uniform(0.5, 1.5))
        first.wait(quarrel, True)
        second.wait(quarrel, True)
    start = first.now_s
    length = float(stage.rng.uniform(5.0, 8.0))
    first.brawl(length, second.spot, float(stage.rng.uniform(1.2, 1.9)))
    second.brawl(length, first.spot, float(stage.rng.uniform(1.2, 1.9)))
    _part(stage, first, second)
    return EventTruth("fight", start, start + 0.8, start + length, (first.person.id, second.person.id))


def hug(stage: Stage) -> EventTruth:
    """Two people embrace."""
    first, second = _meet(stage, 0.5)
    start = first.now_s
    length = float(stage.rng.uniform(1.5, 3.5))
    first.embrace(length, second.spot)
    second.embrace(length, first.spot)
    end = first.now_s
    _part(stage, first, second)
    return EventTruth("hug", start, start + 0.5, end, (first.person.id, second.person.id))


def talk(stage: Stage) -> EventTruth:
    """Two people talk with their hands."""
    first, second = _meet(stage, 0.95)
    start = first.now_s
    length = float(stage.rng.uniform(4, 7))
    first.wait(length, True)
    second.wait(length, bool(stage.rng.random() < 0.6))
    end = first.now_s
    _part(stage, first, second)
    return EventTruth("talk", start, start + 0.5, end, (first.person.id, second.person.id))


def passes_by(stage: Stage, start_s: float | None = None) -> Person:
    """One person walks through the picture, perhaps with a bag."""
    begin = stage.now_s if start_s is None else start_s
    place = stage.spot(0.8)
    side = int(stage.rng.choice([-1, 1]))
    director = stage.enter(begin, place, side)
    director.go(place, stage.stroll(), 0.2)
    if stage.rng.random() < 0.25:
        director.wait(float(stage.rng.uniform(0.8, 3)))
    director.go(stage.exit_from(place, -side if stage.rng.random() < 0.8 else side), stage.stroll(), 0.2)
    if stage.rng.random() < 0.35:
        stage.bags.append(stage.bag(director.person))
    return director.person


def walking(stage: Stage) -> EventTruth:
    """One to three people walk through."""
    start, last = stage.now_s, stage.now_s
    ids = []
    for _ in range(int(stage.rng.integers(1, 4))):
        person = passes_by(stage, start + float(stage.rng.uniform(0, 4)))
        last = max(last, person.end_s)
        ids.append(person.id)
    stage.now_s = last
    return EventTruth("walking", start, start, last, tuple(ids))


def nothing(stage: Stage) -> None:
    """A stretch of an empty place."""
    stage.now_s += float(stage.rng.uniform(6, 12))


EVENTS: dict[str, Callable[[Stage], EventTruth]] = {
    "abandoned_object": abandoned_object,
    "fall": fall,
    "fight": fight,
    "running": running,
}
LOOKALIKES: dict[str, tuple[Callable[[Stage], EventTruth], ...]] = {
    "abandoned_object": (bag_picked_up, bag_beside_owner),
    "fall": (sits_down, ties_shoe),
    "fight": (hug, talk),
    "running": (cyclist, brisk_walk),
}
