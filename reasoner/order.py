"""Whether the pictures of a window follow each other: a check of the evidence itself, made of pixels alone.

What happens at one moment is closer to the next moment than to any other. Where neighbours differ as much as pictures
that lie far apart, somebody or something has put them in another order, and the times of all claims mean nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.change import REGION_LEVEL

GRID = (32, 18)
"""Columns and rows to which a map is reduced: what moves is wider than its step from one picture to the next."""
BLUR_CELLS = 4.0
UNKNOWN = 0.5
_LEAST = 1e-4
_FULL = 0.5
"""Share of the usual difference that neighbours have where order is plain: the median of 132 windows with an event."""


def order_score(maps: NDArray[np.uint8]) -> float:
    """Change maps uint8 (T, h, w) in order of time → 0 (neighbours differ as much as any two) to 1; 0.5 where nothing
    differs or fewer than four pictures are there."""
    count = len(maps)
    if count < 4:
        return UNKNOWN
    seen = np.stack([_reduced(each) for each in maps]).reshape(count, -1)
    apart = np.sqrt(((seen[:, None] - seen[None]) ** 2).mean(axis=2))
    usual = float(apart[np.triu_indices(count, 1)].mean())
    if usual < _LEAST:
        return UNKNOWN
    neighbours = float(apart[np.arange(count - 1), np.arange(1, count)].mean())
    return min(1.0, max(0.0, (1 - neighbours / usual) / _FULL))


def _reduced(change_map: NDArray[np.uint8]) -> NDArray[np.float32]:
    changed = (change_map >= REGION_LEVEL).astype(np.float32)
    small = cv2.resize(changed, GRID, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), BLUR_CELLS), np.float32)
