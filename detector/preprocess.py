"""From a coarse frame to the scorer's input: one implementation for serving, export and training.

A scorer's picture is uint8 (H, W, 7): red, green, blue, change against what the camera usually shows, change against
the coarse frame before, the trail of the former over the last seconds and how long it has dwelt where it is. One still
picture shows neither who is running nor which bag is new, and no two of them show who loiters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS = 7
TRAIL_HALF_S = 3.0
"""A trail is half as strong after so many seconds (a motion history image: Bobick and Davis, PAMI 2001)."""
DWELL_HALF_S = 4.0
"""Half-life of the running mean that says how long something has been there."""
NOISE_LEVEL = 5
"""Differences up to this many grey levels are sensor and codec noise."""
CONTRAST = 4
"""Grey levels of the change picture per grey level of difference above the noise."""


def reduce(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) of any size to uint8 (H, W, 3); `size` is (W, H). Aspect is not kept, 0..1 boxes stay valid."""
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    smaller = rgb.shape[0] >= size[1] and rgb.shape[1] >= size[0]
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8)


def smooth(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """3x3 box blur, uint8 (H, W, 3): takes the edge off noise and half-pixel shake before differences are taken."""
    return np.asarray(cv2.blur(picture, (3, 3)), np.uint8)


def change(now: NDArray[np.uint8], reference: NDArray[np.uint8], weight: float = 1.0) -> NDArray[np.uint8]:
    """How much each pixel differs, uint8 (H, W), from two smoothed pictures uint8 (H, W, 3).

    The median difference of each channel is taken off first, so that a camera's automatic gain, or a cloud, is no
    change. `weight` scales the result before it is clipped to 0..255.
    """
    difference = cv2.subtract(now, reference, dtype=cv2.CV_16S)
    shift = np.median(difference[::8, ::8].reshape(-1, 3), axis=0)
    red, green, blue = cv2.split(np.abs(difference - shift.astype(np.int16)))
    largest = cv2.max(cv2.max(red, green), blue)
    gain = CONTRAST * weight
    # convertScaleAbs would fold what lies below the noise level back up: subtract with saturation at 0 first.
    return np.asarray(cv2.convertScaleAbs(np.maximum(largest - NOISE_LEVEL, 0), alpha=gain), np.uint8)


def per_second(age_s: float) -> float:
    """Weight of a change that took `age_s`: key frames far apart must not make a stroll look like a sprint."""
    return 1.0 / min(max(age_s, 1.0), 4.0)


def fade(plane: NDArray[np.uint8], age_s: float, half_s: float) -> NDArray[np.uint8]:
    """A remembered plane, uint8 (H, W), after `age_s`."""
    return np.asarray(cv2.convertScaleAbs(plane, alpha=0.5 ** (age_s / half_s)), np.uint8)


def stack(picture: NDArray[np.uint8], *planes: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The scorer's input, uint8 (H, W, 7), C order: RGB and four planes, zeros for one that is not yet known."""
    height, width = picture.shape[:2]
    out = np.zeros((height, width, CHANNELS), np.uint8)
    out[..., :3] = picture
    for index, plane in enumerate(planes, 3):
        if plane is not None:
            out[..., index] = plane
    return out
