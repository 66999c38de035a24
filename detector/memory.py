"""What the scorer remembers of one camera: its background, the coarse frame before, and where things have been."""

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
        self._trail: NDArray[np.uint8] | None = None
        self._dwell: NDArray[np.uint8] | None = None

    def look(self, epoch: int, utc_ns: int, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) of any size to uint8 (H, W, 7); remembers the frame afterwards.

        A new epoch forgets the frame before (the camera may have been away for long) but keeps the background. A frame
        that comes late is looked at without a neighbour and not remembered.
        """
        picture = preprocess.reduce(rgb, self._size)
        smoothed = preprocess.smooth(picture)
        if epoch != self._epoch:
            self._epoch, self._previous, self._trail, self._dwell = epoch, None, None, None
        late = self._previous is not None and utc_ns <= self._previous[0]
        from_previous = None
        if self._previous is not None and not late:
            age_s = (utc_ns - self._previous[0]) / 1e9
            if age_s <= MAX_AGE_S:
                from_previous = preprocess.change(smoothed, self._previous[1], preprocess.per_second(age_s))
        changed = self.background.change(smoothed)
        trail, dwell = self._trail, self._dwell
        if trail is not None and dwell is not None and self._previous is not None and not late:
            age_s = (utc_ns - self._previous[0]) / 1e9
            trail = preprocess.fade(trail, age_s, preprocess.TRAIL_HALF_S)
            dwell = preprocess.fade(dwell, age_s, preprocess.DWELL_HALF_S)
        out = preprocess.stack(picture, changed, from_previous, trail, dwell)
        if not late:
            if changed is not None:
                self._remember(
                    changed, trail, dwell, 1.0 if self._previous is None else (utc_ns - self._previous[0]) / 1e9
                )
            self._previous = (utc_ns, smoothed)
            self.background.add(utc_ns, rgb)
        return out

    def _remember(
        self, changed: NDArray[np.uint8], trail: NDArray[np.uint8] | None, dwell: NDArray[np.uint8] | None, age_s: float
    ) -> None:
        """Adds what differs now to the trail (its maximum) and to the dwell (its running mean)."""
        import numpy as np

        share = 1 - 0.5 ** (min(age_s, MAX_AGE_S) / preprocess.DWELL_HALF_S)
        added = (changed * share).astype(np.uint8)
        self._trail = changed if trail is None else np.maximum(trail, changed)
        self._dwell = added if dwell is None else np.minimum(dwell.astype(np.uint16) + added, 255).astype(np.uint8)
