"""The view: the part of the picture that a window shows the reasoner."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import WHOLE, Box
from reasoner.change import REGION_LEVEL, change_maps

MARGIN = 0.25
"""Share added around the changed region, half on either side."""
WHOLE_FROM = 0.85
"""A view that would be this wide is the whole picture."""


def choose_view(maps: NDArray[np.uint8], min_share: float) -> Box:
    """Change maps uint8 (T, H, W) → the region that changed, with margin, in the camera's aspect.

    `min_share`: smallest width of a view as a share of the picture's (the model's input over the source width).
    The whole picture when nothing or nearly everything changed.
    """
    height, width = maps.shape[1:]
    mask = (maps >= REGION_LEVEL).any(axis=0).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= max(6.0, 0.0003 * width * height)]
    if len(large) == 0:
        return WHOLE
    x1, y1 = large[:, 0].min() / width, large[:, 1].min() / height
    x2 = (large[:, 0] + large[:, 2]).max() / width
    y2 = (large[:, 1] + large[:, 3]).max() / height
    share = max(min_share, max(x2 - x1, y2 - y1) * (1 + MARGIN))
    if share >= WHOLE_FROM:
        return WHOLE
    left = min(max((x1 + x2 - share) / 2, 0.0), 1 - share)
    top = min(max((y1 + y2 - share) / 2, 0.0), 1 - share)
    return Box(float(left), float(top), float(left + share), float(top + share))


def view_of(frames: NDArray[np.uint8], background: NDArray[np.uint8] | None, min_share: float) -> Box:
    """The view of a window: fine frames uint8 (T, H, W, 3), background (any size) or None; see `choose_view`.

    Looks at pictures 320 px wide and, in long windows, at every second frame: the region is coarse anyway.
    """
    step = 2 if len(frames) > 8 else 1
    size = (320, max(16, round(320 * frames.shape[1] / frames.shape[2])))
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames[::step]])
    still = None if background is None else cv2.resize(background, size, interpolation=cv2.INTER_AREA)
    return choose_view(change_maps(small, still), min_share)


def crop(frame: NDArray[np.uint8], view: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) → the view at `size` (width, height) px; area averaging when shrinking, bilinear when growing."""
    x1, y1, x2, y2 = view.pixels((frame.shape[1], frame.shape[0]))
    part = frame[y1:y2, x1:x2]
    shrinks = part.shape[1] > size[0]
    resized = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
