"""What changed in a window, measured without any model: the signal that evidence is checked against.

The change map of a frame is its difference from what the camera usually shows. The same maps are the bundled
model's motion channel, choose the view, and judge claimed boxes and times.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import Box

SLOPE = 4.0
"""Gain of a map over the difference in grey levels; a map is full (255) at about 69 levels."""
DEAD_LEVELS = 5.0
"""Differences up to this many grey levels are noise."""
REGION_LEVEL = 48
"""A map value from which a pixel counts as changed: 17 grey levels."""


def change_maps(
    frames: NDArray[np.uint8], background: NDArray[np.uint8] | None = None, sway_px: int = 0
) -> NDArray[np.uint8]:
    """uint8 (T, H, W, 3) RGB and background (H, W, 3) → uint8 (T, H, W), 0 unchanged, 255 wholly changed.

    Without a background the median of the frames stands for it. A change of exposure is divided out by the
    ratio of the medians. sway_px: how far the camera may sway: whatever the background shows within so many pixels of a
    place is no change there.
    """
    if background is None:
        background = np.median(frames, axis=0).astype(np.uint8)
    still = cv2.blur(background, (3, 3))
    level = max(1.0, float(np.median(still[::4, ::4])))
    around = np.ones((2 * sway_px + 1, 2 * sway_px + 1), np.uint8)
    low, high = (cv2.erode(still, around), cv2.dilate(still, around)) if sway_px else (still, still)
    maps = np.empty(frames.shape[:3], np.uint8)
    for index, frame in enumerate(frames):
        smooth = cv2.blur(frame, (3, 3))
        gain = _exposure(smooth[::4, ::4], still[::4, ::4], level)
        lit = cv2.convertScaleAbs(smooth, alpha=gain)
        apart = cv2.max(cv2.subtract(lit, high), cv2.subtract(low, lit)) if sway_px else cv2.absdiff(lit, still)
        red, green, blue = cv2.split(apart)
        difference = cv2.max(cv2.max(red, green), blue)
        maps[index] = cv2.convertScaleAbs(cv2.subtract(difference, DEAD_LEVELS), alpha=SLOPE)
    return maps


def _exposure(frame: NDArray[np.uint8], still: NDArray[np.uint8], level: float) -> float:
    """The gain that undoes a change of exposure: the ratio of the medians, unless the frame fits better as it is.

    Where something covers half of the picture the medians are of different things; what is still to be seen then fits
    without any gain. `level`: median of `still`.
    """
    gain = min(1.6, max(0.6, level / max(1.0, float(np.median(frame)))))
    if abs(gain - 1) < 0.04:
        return gain
    before, after = (
        float(np.percentile(cv2.absdiff(cv2.convertScaleAbs(frame, alpha=alpha), still), 30)) for alpha in (1.0, gain)
    )
    return 1.0 if before <= after else gain


def regions(change_map: NDArray[np.uint8], min_share: float = 0.0004) -> list[Box]:
    """Connected changed regions of one map, largest first; `min_share`: smallest share of the frame's area."""
    height, width = change_map.shape
    mask = (change_map >= REGION_LEVEL).astype(np.uint8)
    reach = max(3, width // 80) | 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((2 * reach + 1, reach), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = [
        Box(x / width, y / height, min(1.0, (x + w) / width), min(1.0, (y + h) / height))
        for x, y, w, h, area in stats[1:].tolist()
        if area >= min_share * width * height
    ]
    return sorted(found, key=lambda box: -box.area)


def activity(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (T, H, W, 3) → float32 (T,): share of pixels that moved since the frame before; the first as the second."""
    moved = np.zeros(len(frames), np.float32)
    smooth = [cv2.blur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (3, 3)) for frame in frames]
    for index in range(1, len(frames)):
        moved[index] = float((cv2.absdiff(smooth[index], smooth[index - 1]) > 14).mean())
    if len(frames) > 1:
        moved[0] = moved[1]
    return moved
