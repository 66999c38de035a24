"""Zones as masks over the image tower's tokens: a rule that names zones is scored on the cells that they touch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detector.folder import Shape
from detector.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

Point = tuple[float, float]
Zones = Mapping[str, Sequence[Point]]
"""A camera's polygons, in 0..1 of the displayed frame."""

LEAST_AREA = 1e-9


def token_mask(shape: Shape, polygons: Iterable[Sequence[Point]] | None) -> NDArray[np.bool_]:
    """bool (T,), the tokens that may count.

    Without polygons (None): the picture's own vector where the tower gives one, else every cell. With polygons: the
    cells whose rectangle shares some area with one of them. A tower that gives nothing but the picture's own vector
    cannot tell where something is: then that vector counts, and the zone is left to the reasoner's check of the boxes.
    """
    mask = np.zeros(shape.length, bool)
    summary = "summary" in shape.tokens
    if "grid" not in shape.tokens or (polygons is None and summary):
        mask[0] = True
    elif polygons is None:
        mask[:] = True
    else:
        mask[summary:] = touched(shape.grid, polygons)
    return mask


def touched(grid: tuple[int, int], polygons: Iterable[Sequence[Point]]) -> NDArray[np.bool_]:
    """bool (rows * columns,), row by row: the cells that share some area with a polygon.

    Polygons outside the frame touch nothing; then all cells are true, for a rule must be scored on something.
    """
    columns, rows = grid
    mask = np.zeros((rows, columns), bool)
    for polygon in polygons:
        for row in range(rows):
            band = _between(polygon, 1, row / rows, (row + 1) / rows)
            for column in range(columns):
                cell = _between(band, 0, column / columns, (column + 1) / columns)
                mask[row, column] |= _area(cell) > LEAST_AREA
    return mask.reshape(-1) if mask.any() else ~mask.reshape(-1)


class ZoneMasks:
    """The mask of each rule on each camera."""

    def __init__(self, shape: Shape, rules: Sequence[Rule], zones: Mapping[str, Zones]) -> None:
        """zones: camera id to its polygons by name; names that a camera lacks do not count there."""
        self._needed = shape.tokens != "grid" or any(rule.zones for rule in rules)
        self._whole = np.stack([token_mask(shape, None) for _ in rules]) if rules else np.zeros((0, shape.length), bool)
        self._masks = {
            camera: np.stack([token_mask(shape, polygons(rule, named)) for rule in rules])
            for camera, named in zones.items()
            if any(name in named for rule in rules for name in rule.zones)
        }

    def of(self, cameras: Sequence[str]) -> NDArray[np.bool_] | None:
        """bool (pictures, rules, T) for a picture of each camera; None where every token counts for every rule."""
        if not self._needed:
            return None
        return np.stack([self._masks.get(camera, self._whole) for camera in cameras])


def polygons(rule: Rule, named: Zones) -> list[Sequence[Point]] | None:
    """Those of a camera that a rule names; None: the rule watches the whole frame there."""
    return [named[name] for name in rule.zones if name in named] or None


def _between(polygon: Sequence[Point], axis: int, low: float, high: float) -> list[Point]:
    """The part of a polygon between two lines across an axis (Sutherland and Hodgman, CACM 1974)."""
    return _beyond(_beyond(polygon, axis, low, 1.0), axis, high, -1.0)


def _beyond(polygon: Sequence[Point], axis: int, line: float, side: float) -> list[Point]:
    kept: list[Point] = []
    for start, end in zip([*polygon[-1:], *polygon[:-1]], polygon, strict=True):
        before, after = side * (start[axis] - line), side * (end[axis] - line)
        if (before < 0) != (after < 0):
            share = before / (before - after)
            kept.append((start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])))
        if after >= 0:
            kept.append(end)
    return kept


def _area(polygon: Sequence[Point]) -> float:
    """Shoelace formula."""
    pairs = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2
