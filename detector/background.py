"""What a camera usually shows: the per-pixel median of coarse frames spread over the last half minute."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector import preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = 11
SPACING_S = 3.0
KNOWN_FROM = 3
"""A median of fewer frames still shows whoever happened to pass."""
JPEG_QUALITY = 95


class Background:
    """Bounded: at most `FRAMES` pictures, the oldest leaves first. The median is computed when it is asked for."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=FRAMES)
        self._median: NDArray[np.uint8] | None = None
        self._smoothed: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, utc_ns: int, rgb: NDArray[np.uint8]) -> bool:
        """Takes uint8 (H, W, 3) if it is far enough from the last one taken; says whether it did.

        A picture of another size, or from before the last one, starts afresh: the camera was changed.
        """
        if self._frames:
            last_ns, last = self._frames[-1]
            if rgb.shape != last.shape or utc_ns < last_ns:
                self.clear()
            elif utc_ns - last_ns < SPACING_S * 1e9:
                return False
        self._frames.append((utc_ns, rgb.copy()))
        self._median = self._smoothed = None
        return True

    def clear(self) -> None:
        self._frames.clear()
        self._median = self._smoothed = None

    def median(self) -> NDArray[np.uint8] | None:
        """uint8 (H, W, 3), the lower middle value of an even count; None before the first frame. Do not write to it."""
        if self._median is None and self._frames:
            self._median = _middle([picture for _, picture in self._frames])
        return self._median

    def change(self, smoothed: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Change picture, uint8 (H, W), of a smoothed picture of any size against the median; None without one."""
        median = self.median()
        if median is None:
            return None
        size = (smoothed.shape[1], smoothed.shape[0])
        if self._smoothed is None or self._smoothed.shape != smoothed.shape:
            self._smoothed = preprocess.smooth(preprocess.reduce(median, size))
        return preprocess.change(smoothed, self._smoothed)

    def jpeg(self, before_utc_ns: int | None = None) -> bytes:
        """The median of what was seen before an instant, as a JPEG of quality 95; empty while that is under 3 frames.

        What happens in a window must not be part of what the window is compared with.
        """
        pictures = [rgb for utc_ns, rgb in self._frames if before_utc_ns is None or utc_ns < before_utc_ns]
        if len(pictures) < KNOWN_FROM:
            return b""
        middle = _middle(pictures)
        done, data = cv2.imencode(
            ".jpg", cv2.cvtColor(middle, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        if not done:
            raise RuntimeError(f"OpenCV could not write a JPEG of {middle.shape[1]}x{middle.shape[0]} px")
        return bytes(data)


def _middle(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Per-pixel median; the lower middle value of an even count."""
    middle = (len(pictures) - 1) // 2
    return np.asarray(np.partition(np.stack(pictures), middle, axis=0)[middle], np.uint8)
