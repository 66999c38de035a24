"""Which clips a seed asks for, and the scene of each: pure, the same seed gives the same clips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from ingest.simulator.world import EVENTS, LOOKALIKES, Scene

FIRST_SEED = 1 << 52
"""Scenes have seeds from here up to twice that. Trainings, calibrations and tests count theirs from 0, in millions."""
SHORTEST_S, LONGEST_S = 30.0, 45.0
AFTERMATH_S = 8.0
"""A clip goes on for so long after its event can be told."""
QUIET_S = 120.0
SIZE = (640, 360)
FPS = 10.0
"""As the simulated cameras have by default."""
ORDINARY = ("walking", "nothing")
"""Kinds that are neither an event nor look like one."""
ORDINARY_EACH = 5
"""One of so many event-free clips shows only people who walk, or nobody."""
_ATTEMPTS = 200


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """What a clip is to show."""

    run: int
    """The seed of the whole run."""
    number: int
    label: str | None
    """Category of its event; None: it has none."""
    kinds: tuple[str, ...] = ()
    """Of an event-free clip: what happens instead."""

    @property
    def name(self) -> str:
        return f"clip-{self.number:03d}"


def plan(seed: int, clips: int, labels: Sequence[str] = ()) -> list[Clip]:
    """`clips` clips, every second one (the first, the third, ...) with one event.

    Categories come in turn, in an order that the seed shuffles; so do the look-alikes of the other clips. labels: the
    categories to take; none named: all that the world has.
    """
    rng = np.random.default_rng([_hash(f"{seed}"), 1])
    known = [label for label in EVENTS if not labels or label in labels]
    order = [str(label) for label in rng.permutation(known)]
    alike = _in_turn([_alike(label) for label in order])
    out = []
    for number in range(clips):
        if number % 2 == 0:
            out.append(Clip(run=seed, number=number, label=order[number // 2 % len(order)]))
        else:
            out.append(Clip(run=seed, number=number, label=None, kinds=_without_event(number // 2, alike, rng)))
    return out


def _alike(label: str) -> list[tuple[str, ...]]:
    """Each look-alike of a category, with the next one: all of a category can happen at one place."""
    names = [str(play.__name__) for play in LOOKALIKES.get(label, ())]
    return [(name, names[(index + 1) % len(names)]) for index, name in enumerate(names)]


def _in_turn(rows: Sequence[Sequence[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """The first of each row, then the second of each, and so on."""
    return [row[column] for column in range(max(map(len, rows), default=0)) for row in rows if column < len(row)]


def _without_event(turn: int, alike: Sequence[tuple[str, ...]], rng: np.random.Generator) -> tuple[str, ...]:
    prelude = ("nothing",) if rng.random() < 0.5 else ()
    both = rng.random() < 0.5
    if not alike or turn % ORDINARY_EACH == ORDINARY_EACH - 1:
        return (*prelude, "walking", "nothing", "walking")
    first, second = alike[(turn - turn // ORDINARY_EACH) % len(alike)]
    return (*prelude, first, second if both else "walking")


def scene_of(clip: Clip) -> tuple[Scene, float]:
    """The scene of a clip, and the seconds of it that are shown.

    Raises ValueError for a category of which no scene is told within the longest clip.
    """
    if clip.label is None:
        seed = scene_seed(clip.run, f"{clip.number}")
        seconds = float(np.random.default_rng([seed, 2]).uniform(SHORTEST_S, LONGEST_S))
        return Scene(seed, round(seconds, 1), SIZE, list(clip.kinds)), round(seconds, 1)
    for attempt in range(_ATTEMPTS):
        seed = scene_seed(clip.run, f"{clip.number}.{attempt}")
        draw = np.random.default_rng([seed, 3]).random()
        prelude = ["nothing"] if draw < 0.5 else ["walking"] if draw < 0.8 else []
        scene = Scene(seed, LONGEST_S, SIZE, [*prelude, clip.label, "walking"])
        if len(scene.events) == 1 and scene.events[0].evident_s + AFTERMATH_S <= LONGEST_S:
            event = scene.events[0]
            return scene, round(min(LONGEST_S, max(SHORTEST_S, event.evident_s + AFTERMATH_S, event.end_s + 2)), 1)
    raise ValueError(f"no scene of {clip.label!r} is told within {LONGEST_S:g} s")


def quiet_scene(run: int, number: int) -> tuple[Scene, float]:
    """A long scene in which at most people walk by."""
    seed = scene_seed(run, f"quiet {number}")
    kinds = [str(kind) for kind in np.random.default_rng([seed, 4]).choice(ORDINARY, 40)]
    return Scene(seed, QUIET_S, SIZE, kinds), QUIET_S


def scene_seed(run: int, what: str) -> int:
    """A seed that no other clip has, in FIRST_SEED .. 2 * FIRST_SEED, whatever the run's own seed is."""
    return FIRST_SEED + _hash(f"{run} {what}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % FIRST_SEED
