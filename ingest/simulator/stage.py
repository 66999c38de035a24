"""Where episodes are written down: the place, its actors, and the clock from which the next episode starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ingest.simulator.actor import Bag, Director, Look, Person, Spot
from ingest.simulator.lens import Lens
from ingest.simulator.paint import Silhouette
from ingest.simulator.scenery import WORDS, Scenery, corners, palette


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


class Prop(Protocol):
    """Anything else than people and bags: it knows its own shapes."""

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        """What of it is in the scene at this time; the first shape is the thing itself."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """People who are one object of the truth from `start_s` to `end_s`."""

    id: int
    label: str
    members: tuple[int, ...]
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Dimming:
    """The light is `gain` times what it was from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    gain: float


@dataclass(slots=True)
class Stage:
    """The place, its actors so far, and the clock."""

    lens: Lens
    scenery: Scenery
    rng: np.random.Generator
    now_s: float = 0.0
    people: list[Person] = field(default_factory=list)
    bags: list[Bag] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    dimmings: list[Dimming] = field(default_factory=list)
    _ids: int = 0

    def counts(self) -> tuple[int, ...]:
        """How much is on the stage; for `rewind`."""
        return len(self.people), len(self.bags), len(self.props), len(self.groups), len(self.dimmings)

    def rewind(self, counts: tuple[int, ...], now_s: float) -> None:
        """Take back what came after `counts`."""
        people, bags, props, groups, dimmings = counts
        del self.people[people:], self.bags[bags:], self.props[props:], self.groups[groups:], self.dimmings[dimmings:]
        self.now_s = now_s

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def nearest_z(self) -> float:
        return self.lens.floor_at(self.lens.width_px / 2, self.lens.height_px * 0.97)[1] + 0.4

    def farthest_z(self) -> float:
        """Where the walkers' floor ends: before a marked zone or a road."""
        return self.scenery.edge_z - 0.5

    def spot(self, inner: float = 0.68) -> Spot:
        """Somewhere on the visible floor where furniture hides little of a person."""
        near = self.nearest_z()
        far = min(self.farthest_z(), max(near + 1.5, min(12.0, near * 2.6)))
        found = (0.0, near)
        for _ in range(12):
            z = float(self.rng.uniform(near, max(near + 0.3, far)))
            found = float(self.rng.uniform(-inner, inner)) * self.lens.edge_x(z, 1, 0), z
            if not self._hidden(found):
                break
        return found

    def _hidden(self, spot: Spot) -> bool:
        """Whether nearer furniture covers more than a third of somebody who stands or lies here."""
        x, z = spot
        for half, high in ((0.35, 1.75), (0.9, 0.4)):
            flat = self.lens.project(np.array([(x - half, 0.0, z), (x + half, high, z)]))
            left, right, top, bottom = flat[0, 0], flat[1, 0], flat[1, 1], flat[0, 1]
            for block in self.scenery.blocks:
                if block.z - block.depth / 2 >= z:
                    continue
                box = self.lens.project(corners(block))
                wide = min(right, box[:, 0].max()) - max(left, box[:, 0].min())
                tall = min(bottom, box[:, 1].max()) - max(top, box[:, 1].min())
                if wide > 0 and tall > 0 and wide * tall > 0.33 * (right - left) * (bottom - top):
                    return True
        return False

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
        z = min(self.farthest_z(), max(self.nearest_z(), spot[1] + float(self.rng.uniform(-1.2, 1.2))))
        chosen = side if side is not None else int(self.rng.choice([-1, 1]))
        return self.lens.edge_x(z, chosen), z

    def enter(self, start_s: float, towards: Spot, side: int | None = None) -> Director:
        rng = self.rng
        child = rng.random() < 0.1
        look = Look(
            float(rng.uniform(1.2, 1.5) if child else rng.uniform(1.52, 1.92)),
            palette(rng, 15, 235, 60),
            palette(rng, 15, 150, 35),
            palette(rng, 95, 215, 18),
            palette(rng, 10, 120, 20),
            str(rng.choice(WORDS)) if rng.random() < 0.15 else "",
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
