"""One training row: a clip, a question, and what is true of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """An object of one group; `box` is x1, y1, x2, y2 in 0..1 of the view at the group's time."""

    label: str
    box: tuple[float, float, float, float]
    actor: bool
    """Whether it belongs to the event."""
    visible: float
    """Share of it that is not hidden, 0..1."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `clips.jsonl`."""

    groups: int
    """Valid groups of the clip's pictures, the others are padding."""
    times: tuple[float, ...]
    """Seconds of each group from the first fine frame, one decimal."""
    category: str
    question: str
    answer: bool
    kind: str
    """What really happens: an event's category, the name of a look-alike, or an ordinary scene."""
    start: float | None
    end: float | None
    objects: tuple[tuple[Thing, ...], ...]
    split: Literal["train", "val"]
    ordered: bool = True
    """False: the pictures stand at each other's times, and the answer is no whatever they show."""

    def __post_init__(self) -> None:
        if not len(self.times) == len(self.objects) == self.groups:
            raise ValueError(
                f"row with {self.groups} groups, {len(self.times)} times, {len(self.objects)} object lists"
            )
