"""What the scorer remembers of one camera: its background and the coarse frame before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector import preprocess
from detector.background import Background

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_AGE_S = 12.0
"""A frame older than this is no neighbour of the next one."""


class CameraMemory:
    """Turns a camera's coarse frames, in order, into the scorer's pictures. `size` is (width, height) of those, px."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.background = Background()
        self._size = size
        self._epoch: int | None = None
        self._previous: tuple[int, NDArray[np.uint8]] | None = None

    def look(self, epoch: int, utc_ns: int, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) of any size to uint8 (H, W, 5); remembers the frame afterwards.

        A new epoch forgets the frame before (the camera may have been away for long) but keeps the background. A frame
        that comes late is looked at without a neighbour and not remembered.
        """
        picture = preprocess.reduce(rgb, self._size)
        smoothed = preprocess.smooth(picture)
        if epoch != self._epoch:
            self._epoch, self._previous = epoch, None
        late = self._previous is not None and utc_ns <= self._previous[0]
        from_previous = None
        if self._previous is not None and not late:
            age_s = (utc_ns - self._previous[0]) / 1e9
            if age_s <= MAX_AGE_S:
                from_previous = preprocess.change(smoothed, self._previous[1], preprocess.per_second(age_s))
        out = preprocess.stack(picture, self.background.change(smoothed), from_previous)
        if not late:
            self._previous = (utc_ns, smoothed)
            self.background.add(utc_ns, rgb)
        return out
