"""Claims bound to exact frames: the nearest fine frame to each claimed time, boxes in the source frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reasoner.boxes import Box, Coordinates, from_model
from reasoner.scanner import RawClaim
from reasoner.verdict import Claim

MAX_BOX_SHARE = 0.8
"""A box over more of the frame than this points at nothing (Open-o3 Video's own data rule)."""


class Frame(NamedTuple):
    """The coordinate frame a model's boxes are in."""

    coordinates: Coordinates
    view: Box
    size: tuple[int, int]
    """Width and height, px, of the picture as the model saw it."""


class Bound(NamedTuple):
    """One box of one claim at its frame."""

    claim: int
    """Index into the claims."""
    frame: int
    """Index into the fine frames."""
    label: str
    box: Box


class Binding(NamedTuple):
    """All claims that can be used, their boxes at frames, and how many could not be bound."""

    claims: tuple[Claim, ...]
    bound: tuple[Bound, ...]
    failures: int
    """Boxes whose time is missing or outside the window, or of which nothing is left inside the frame."""


def bind(raw: Sequence[RawClaim], times_s: Sequence[float], frame: Frame) -> Binding:
    """times_s: seconds of every fine frame from the first, ascending; spacing may vary."""
    claims: list[Claim] = []
    bound: list[Bound] = []
    failures = 0
    for item in raw:
        boxes = [_source_box(numbers, hint, frame) for numbers, hint, _ in item.boxes]
        usable = [box for box in boxes if box is not None and box.area <= MAX_BOX_SHARE]
        index = None if item.time_s is None else nearest(times_s, item.time_s)
        if index is None:
            failures += max(1, len(boxes))
            continue
        failures += len(boxes) - len(usable)
        if not usable:
            continue
        claims.append(_claim(item, usable))
        bound += [Bound(len(claims) - 1, index, item.object or "object", box) for box in usable]
    return Binding(tuple(claims), tuple(bound), failures)


def nearest(times_s: Sequence[float], claimed_s: float) -> int | None:
    """Index of the frame nearest to a claimed time; None when the time lies outside the window.

    Half a frame step is allowed at either end: a model rounds times to a decimal.
    """
    if not times_s:
        return None
    step = (times_s[-1] - times_s[0]) / max(1, len(times_s) - 1)
    slack = max(0.06, step / 2)
    if not times_s[0] - slack <= claimed_s <= times_s[-1] + slack:
        return None
    return min(range(len(times_s)), key=lambda index: (abs(times_s[index] - claimed_s), index))


def _source_box(numbers: tuple[float, float, float, float], hint: Coordinates | None, frame: Frame) -> Box | None:
    return from_model(numbers, hint or frame.coordinates, frame.view, frame.size)


def _claim(item: RawClaim, boxes: list[Box]) -> Claim:
    return Claim(
        text=item.text,
        object=item.object or "object",
        boxes=tuple(boxes),
        time_s=item.time_s or 0.0,
        time_bound="inferred" if "time_inferred" in item.flags else "explicit",
    )
