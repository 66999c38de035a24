"""Who moves in a scene: actors whose motion is a chain of acts, each a pure function of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ingest.simulator import figure
from ingest.simulator.figure import Joints

Spot = tuple[float, float]
"""x and z in metres on the floor."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an actor is dressed and built."""

    height_m: float
    top: tuple[float, float, float]
    legs: tuple[float, float, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    words: str = ""
    """Printed on the chest."""


@dataclass(frozen=True, slots=True)
class Posture:
    """An actor at one instant."""

    spot: Spot
    heading_rad: float
    """0 looks along +x, a quarter turn looks along +z (away from the camera)."""
    joints: Joints
    bicycle: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """From `start_s` for `length_s` the actor's posture is `at(seconds since start_s)`."""

    start_s: float
    length_s: float
    at: Callable[[float], Posture]


@dataclass(slots=True)
class Person:
    """One actor; present from the first act's start to the last one's end."""

    id: int
    look: Look
    acts: list[Act] = field(default_factory=list)

    @property
    def start_s(self) -> float:
        return self.acts[0].start_s

    @property
    def end_s(self) -> float:
        return self.acts[-1].start_s + self.acts[-1].length_s

    def posture(self, t_s: float) -> Posture | None:
        """Where and how at this time; None when not in the scene."""
        if not self.acts or not self.start_s <= t_s < self.end_s:
            return None
        for act in reversed(self.acts):
            if t_s >= act.start_s:
                return act.at(min(t_s - act.start_s, act.length_s))
        return None


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag: carried in somebody's hand until `drop_s`, on the floor until `lift_s`, then carried by `lifter`."""

    id: int
    carrier: Person
    drop_s: float
    spot: Spot
    lift_s: float
    lifter: Person | None
    size_m: tuple[float, float]
    """Width and height."""
    colour: tuple[float, float, float]


class Director:
    """Writes one person's acts one after the other; keeps the clock, the spot and the heading between them."""

    def __init__(self, person: Person, start_s: float, spot: Spot, rng: np.random.Generator) -> None:
        self.person, self.now_s, self.spot, self.rng = person, start_s, spot, rng
        self.heading = 0.0
        self._phase = float(rng.random())
        self._sway = float(rng.uniform(0, 6))

    @property
    def height(self) -> float:
        return self.person.look.height_m

    def _add(self, length_s: float, at: Callable[[float], Posture]) -> None:
        self.person.acts.append(Act(self.now_s, length_s, at))
        self.now_s += length_s

    def go(self, to: Spot, speed: float, vigour: float, bicycle: bool = False) -> None:
        """Along a straight line; the gait's cycle length follows speed and vigour."""
        start, phase, height = self.spot, self._phase, self.height
        distance = math.hypot(to[0] - start[0], to[1] - start[1])
        if distance < 0.05:
            return
        length_s = distance / speed
        heading = math.atan2(to[1] - start[1], to[0] - start[0])
        cycle_m = (1.45 + 0.95 * vigour) * height / 1.75

        def at(t: float) -> Posture:
            share = t / length_s
            spot = (start[0] + (to[0] - start[0]) * share, start[1] + (to[1] - start[1]) * share)
            turn = phase + t * speed / cycle_m
            stance = figure.riding(turn * 0.7) if bicycle else figure.walking(turn, vigour)
            return Posture(spot, heading, figure.joints(stance, height), bicycle)

        self._add(length_s, at)
        self.spot, self.heading = to, heading
        self._phase = (phase + distance / cycle_m) % 1

    def face(self, towards: Spot) -> None:
        self.heading = math.atan2(towards[1] - self.spot[1], towards[0] - self.spot[0])

    def pace(self, reach_m: float, speed: float, turns: int) -> list[float]:
        """To and fro around one place, with a short look around at each turn; gives the moments of the turns."""
        home, along = self.spot, float(self.rng.uniform(-0.25, 0.25))
        side = float(self.rng.choice([-1.0, 1.0]))
        moments = []
        for turn in range(turns):
            reach = reach_m * float(self.rng.uniform(0.8, 1.2)) * (0.5 if turn == 0 else 1.0)
            ahead = side if turn % 2 == 0 else -side
            to = home[0] + ahead * reach_m / 2 * math.cos(along), home[1] + ahead * reach / 2 * math.sin(along)
            self.go(to, speed, 0.1)
            moments.append(self.now_s)
            self.wait(float(self.rng.uniform(0.15, 0.45)))
        return moments

    def wait(self, length_s: float, talking: bool = False) -> None:
        """Stand, or stand and talk with a hand."""
        spot, heading, height, sway = self.spot, self.heading, self.height, self._sway

        def at(t: float) -> Posture:
            stance = figure.gesturing(0.45 * t + sway) if talking else figure.standing(math.sin(0.9 * t + sway))
            return Posture(spot, heading, figure.joints(stance, height))

        self._add(length_s, at)

    def morph(self, make: Callable[[float], figure.Stance], length_s: float, first: float, last: float) -> None:
        """A stance of one parameter going from `first` to `last`, eased."""
        spot, heading, height = self.spot, self.heading, self.height

        def at(t: float) -> Posture:
            share = t / length_s
            eased = share * share * (3 - 2 * share)
            return Posture(spot, heading, figure.joints(make(first + (last - first) * eased), height))

        self._add(length_s, at)

    def hold(
        self, make: Callable[[float], figure.Stance], length_s: float, depth: float, tremble: float = 0.03
    ) -> None:
        """Stay in a stance, moving a little."""
        spot, heading, height, sway = self.spot, self.heading, self.height, self._sway

        def at(t: float) -> Posture:
            return Posture(spot, heading, figure.joints(make(depth + tremble * math.sin(2.1 * t + sway)), height))

        self._add(length_s, at)

    def topple(self, fall_s: float, lie_s: float, rise_s: float) -> None:
        """Fall, lie (moving slightly), and get up again if `rise_s` > 0."""
        spot, heading, height, sway = self.spot, self.heading, self.height, self._sway
        sideways = float(self.rng.choice([0.0, 0.3, 1.0, -1.0, 1.7, 2.0]))
        limbs = float(self.rng.uniform(0.05, 0.22))

        def tipped(share: float, wriggle: float) -> Posture:
            knees = figure.blend(figure.standing(0.0), figure.crouching(0.8), math.sin(math.pi * share) * 0.7)
            upright = figure.joints(knees, height)
            return Posture(spot, heading, figure.toppled(upright, share, sideways, limbs + wriggle))

        self._add(fall_s, lambda t: tipped(min(1.0, t / fall_s) ** 1.6, 0.0))
        self._add(lie_s, lambda t: tipped(1.0, 0.05 * math.sin(1.3 * t + sway)))
        if rise_s > 0:
            self._add(rise_s, lambda t: tipped(1 - t / rise_s, 0.0))

    def brawl(self, length_s: float, opponent: Spot, pace_hz: float) -> None:
        """Blows at an opponent, stepping to and fro."""
        spot, height, sway = self.spot, self.height, self._sway
        self.face(opponent)
        heading = self.heading
        reach = float(self.rng.uniform(0.12, 0.3))

        def at(t: float) -> Posture:
            lunge = math.sin(2 * math.pi * 0.55 * t + sway) + 0.4 * math.sin(2 * math.pi * 1.3 * t + 2 * sway)
            step = reach * lunge
            twist = heading + 0.35 * math.sin(2 * math.pi * 0.4 * t + sway)
            moved = (spot[0] + step * math.cos(heading), spot[1] + step * math.sin(heading))
            stance = figure.striking(2 * pace_hz * t + sway, max(-1.0, min(1.0, lunge)))
            return Posture(moved, twist, figure.joints(stance, height))

        self._add(length_s, at)

    def embrace(self, length_s: float, other: Spot) -> None:
        """Arms around somebody, then let go."""
        self.face(other)
        self.morph(lambda share: figure.embracing(share, 0.0), 0.6, 0.0, 1.0)
        self.hold(lambda share: figure.embracing(min(1.0, share), 0.3), length_s, 0.97)
        self.morph(lambda share: figure.embracing(share, 0.0), 0.6, 1.0, 0.0)
