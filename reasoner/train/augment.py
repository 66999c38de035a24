"""Small changes of a row that leave its truth intact: mirroring, other colours, other brightness, a later clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasoner.train.questions import questions
from reasoner.train.row import Row, Thing

GAIN = (0.75, 1.3)
OTHER_SHARE = 0.35
FIRST_SHARE = 0.3
"""How often the words are the category's first, which is how a site's rule is put to the model."""
ONE_WAY = ("car",)
"""Whoever drives on the right would drive on the left in a mirror: such rows stay as they are."""
DISORDER_SHARE = 0.15
"""Of the rows in which order can be told."""
FIRST_TOLD_S = 1.5
NEVER_TOLD = ("running", "vehicle_wrong_way")
"""Who turns while he runs, or drives the other way, does nothing that another order could not show."""
LATER_SHARE, LATER_S = 0.2, 8.0
"""Share of rows whose times begin later, as those of a part of a long window do, and by how much at most."""


def augmented(pictures: NDArray[np.uint8], row: Row, random: np.random.Generator) -> tuple[NDArray[np.uint8], Row]:
    """Pictures (G, 2, H, W, 3) and their row → a copy, mirrored half of the time, recoloured, brighter or darker."""
    pictures = pictures.copy()
    if random.random() < LATER_SHARE:
        row = later(row, round(float(random.uniform(0, LATER_S)), 1))
    order = random.permutation(3)
    gain = random.uniform(*GAIN)
    levels = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    pictures[:, 0] = levels[pictures[:, 0][..., order]]
    pictures[:, 1, ..., 0] = levels[pictures[:, 1, ..., 0]]
    if random.random() < 0.5 and not any(thing.label in ONE_WAY for group in row.objects for thing in group):
        return pictures[:, :, :, ::-1], mirrored(row)
    return pictures, row


def asked(row: Row, categories: Sequence[str], random: np.random.Generator) -> Row:
    """The row with its question put in other words, or (`OTHER_SHARE` of those that are true) as that of another of
    `categories`.

    Without the latter a model learns to see that something happens, and not to read what it is asked about.
    """
    if row.answer and len(categories) > 1 and random.random() < OTHER_SHARE:
        others = [category for category in categories if category != row.category]
        row = msgspec.structs.replace(row, category=others[int(random.integers(len(others)))], answer=False)
    words = questions(row.category)
    first = random.random() < FIRST_SHARE
    return msgspec.structs.replace(row, question=words[0 if first else int(random.integers(len(words)))])


def disordered(
    pictures: NDArray[np.uint8], row: Row, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Row] | None:
    """The clip with its pictures at each other's times, which no longer proves anything; None where nobody could tell.

    Second frames move apart from first ones. Order can be told where the onset lies within the clip: of a bag that has
    been lying there all the time any order looks like any other.
    """
    onset = row.start is not None and FIRST_TOLD_S <= row.start <= row.times[-1] - FIRST_TOLD_S
    if not row.answer or not onset or row.category in NEVER_TOLD:
        return None
    first, second = (_derangement(row.groups, random) for _ in range(2))
    moved = pictures[first].copy()
    moved[:, 1, ..., 2] = pictures[second][:, 1, ..., 2]
    objects = tuple(row.objects[index] for index in first)
    return moved, msgspec.structs.replace(row, answer=False, ordered=False, start=None, end=None, objects=objects)


def _derangement(count: int, random: np.random.Generator) -> list[int]:
    while True:
        order: list[int] = random.permutation(count).tolist()
        if count < 2 or all(place != number for place, number in enumerate(order)):
            return order


def mirrored(row: Row) -> Row:
    """The row of the mirrored clip."""
    return msgspec.structs.replace(
        row, objects=tuple(tuple(_mirror(thing) for thing in group) for group in row.objects)
    )


def later(row: Row, by_s: float) -> Row:
    """The row with every time later by some tenths of a second."""
    return msgspec.structs.replace(
        row,
        times=tuple(round(time_s + by_s, 1) for time_s in row.times),
        start=None if row.start is None else row.start + by_s,
        end=None if row.end is None else row.end + by_s,
    )


def _mirror(thing: Thing) -> Thing:
    x1, y1, x2, y2 = thing.box
    return msgspec.structs.replace(thing, box=(1 - x2, y1, 1 - x1, y2))
