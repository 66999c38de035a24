"""What is true of a window and what was said of it, in the same coordinates: the two sides of every comparison."""

from __future__ import annotations

from typing import Literal

import msgspec

from reasoner.boxes import Box

Task = Literal[
    "event",
    "visual QA",
    "temporal-spatial free-form QA",
    "temporal QA",
    "temporal QA (MCQ)",
    "General video QA MCQ",
    "General video QA Free-form",
]
"""`event`: a site's yes-or-no question. The others are the six of Open-o3 Video's data, under their own names."""


class TrueObject(msgspec.Struct, frozen=True, kw_only=True):
    """Where one object is at one moment."""

    label: str
    time_s: float
    box: Box


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one window, seconds from its first frame."""

    yes: bool | None = None
    """None: the question is not answered by yes or no."""
    span: tuple[float, float] | None = None
    objects: tuple[TrueObject, ...] = ()
    """Known places of what the answer rests on; empty: nothing is known about places."""
    moments_s: tuple[float, ...] = ()
    """Known times of what the answer rests on where no place is known; beside `objects` they say nothing new."""
    answer: str = ""
    """The right answer in words, or the letter of the right option."""
    answer_box: Box | None = None
    """Where the answer itself has to point (visual QA)."""
    duration_s: float | None = None
    """Length of the video; None: not known."""
    task: Task = "event"


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What was said: boxes already in the coordinates of the truth."""

    yes: bool | None
    span: tuple[float, float] | None = None
    objects: tuple[TrueObject, ...] = ()
    unbound: int = 0
    """Claims without a usable time or box: they count as wrong wherever claims are counted."""
    times_s: tuple[float, ...] = ()
    """Every time that the thinking states, of a claim or by itself."""
    answer: str | None = None
    answer_box: Box | None = None
    """The first box inside the answer."""
    well_formed: bool = True
    """One thinking and one answer, and every tag opened and closed equally often."""
