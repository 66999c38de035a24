"""Boxes and the frames they are measured in. Every conversion between coordinate frames lives here.

`Box` is always 0..1 of the displayed source frame, origin top left. A model speaks of its view (a part of that
frame) either in 0..1000 of the view (Qwen3-VL) or in pixels of the picture it was given (Qwen2.5-VL).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Coordinates = Literal["rel1000", "pixels", "norm01"]


class Box(msgspec.Struct, frozen=True):
    """0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 of the displayed source frame."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if not (0 <= self.x1 < self.x2 <= 1 and 0 <= self.y1 < self.y2 <= 1):
            raise ValueError(f"no box in 0..1: {self.x1:.4f}, {self.y1:.4f}, {self.x2:.4f}, {self.y2:.4f}")

    @property
    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def intersection(self, other: Box) -> float:
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: Box) -> float:
        inter = self.intersection(other)
        return inter / (self.area + other.area - inter)

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Integer x1, y1, x2, y2 in a picture of `size` (width, height) px; at least one pixel each way."""
        width, height = size
        x1, y1 = min(int(self.x1 * width), width - 1), min(int(self.y1 * height), height - 1)
        x2 = max(x1 + 1, min(width, round(self.x2 * width)))
        return x1, y1, x2, max(y1 + 1, min(height, round(self.y2 * height)))


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


def from_model(
    numbers: tuple[float, float, float, float],
    coordinates: Coordinates,
    view: Box = WHOLE,
    picture_size: tuple[int, int] = (1, 1),
) -> Box | None:
    """What a model wrote, as a box of the source frame; clamped to the view, None when nothing is left of it.

    `picture_size`: width and height in px of the picture the model was given (used for `pixels` only).
    """
    scale = {"rel1000": (1000.0, 1000.0), "norm01": (1.0, 1.0), "pixels": picture_size}[coordinates]
    x1, x2 = (min(1.0, max(0.0, v / scale[0])) for v in (numbers[0], numbers[2]))
    y1, y2 = (min(1.0, max(0.0, v / scale[1])) for v in (numbers[1], numbers[3]))
    if not (x1 < x2 and y1 < y2):
        return None
    width, height = view.x2 - view.x1, view.y2 - view.y1
    return Box(
        view.x1 + x1 * width,
        view.y1 + y1 * height,
        min(1.0, view.x1 + x2 * width),
        min(1.0, view.y1 + y2 * height),
    )


def to_view(box: Box, view: Box) -> Box | None:
    """The part of a source box inside a view, in 0..1 of the view; None when it lies outside."""
    width, height = view.x2 - view.x1, view.y2 - view.y1
    x1, x2 = (min(1.0, max(0.0, (v - view.x1) / width)) for v in (box.x1, box.x2))
    y1, y2 = (min(1.0, max(0.0, (v - view.y1) / height)) for v in (box.y1, box.y2))
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def to_model(
    box: Box, coordinates: Coordinates, view: Box = WHOLE, picture_size: tuple[int, int] = (1, 1)
) -> tuple[float, float, float, float] | None:
    """A source box in the numbers a model writes: the inverse of `from_model`; None when it lies outside the view.

    Whole numbers (three decimals for `norm01`), at least one step wide and high.
    """
    inside = to_view(box, view)
    if inside is None:
        return None
    step = 0.001 if coordinates == "norm01" else 1.0
    scale = {"rel1000": (1000.0, 1000.0), "norm01": (1.0, 1.0), "pixels": picture_size}[coordinates]
    x1, x2 = _stepped(inside.x1 * scale[0], inside.x2 * scale[0], step, scale[0])
    y1, y2 = _stepped(inside.y1 * scale[1], inside.y2 * scale[1], step, scale[1])
    return x1, y1, x2, y2


def _stepped(low: float, high: float, step: float, most: float) -> tuple[float, float]:
    """Both ends on whole steps, apart by at least one."""
    first = min(round(low / step), round(most / step) - 1)
    last = max(round(high / step), first + 1)
    return round(first * step, 3), round(last * step, 3)
