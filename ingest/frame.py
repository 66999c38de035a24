"""Pictures that leave a camera's process: coarse frames for the ViT, fine frames and the clip of a cut."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from ingest.clock import Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CoarseFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded key frame, reduced, on its way to the ViT."""

    camera_id: str
    epoch: int
    """Counts the camera's connections and clock jumps; no window spans two epochs."""
    stamp: Stamp
    source_size: tuple[int, int]
    """Width and height of the displayed source frame, px."""
    size: tuple[int, int]
    """Width and height of `rgb`, px."""
    rgb: bytes
    """uint8, size[1] x size[0] x 3, row-major RGB."""

    def __post_init__(self) -> None:
        if len(self.rgb) != self.size[0] * self.size[1] * 3:
            raise ValueError(f"{len(self.rgb)} bytes are no {self.size[0]}x{self.size[1]} RGB picture")

    def image(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) RGB, read-only."""
        import numpy as np

        return np.frombuffer(self.rgb, np.uint8).reshape(self.size[1], self.size[0], 3)


class FineFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of a cut, as the JPEG that is reasoned over, stored and hashed: the same bytes everywhere."""

    stamp: Stamp
    jpeg: bytes
    size: tuple[int, int]
    """Width and height of the picture in `jpeg`, px (the source frame, reduced when its longest side exceeds 1280)."""

    def sha256(self) -> str:
        return hashlib.sha256(self.jpeg).hexdigest()


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """The packets of a cut as an MP4 that any player opens; never re-encoded (MJPEG: copied as well)."""

    mp4: bytes
    start_utc_ns: int
    end_utc_ns: int
    codec: str

    def sha256(self) -> str:
        return hashlib.sha256(self.mp4).hexdigest()


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What `cut(t0, t1)` found in the ring: fine frames each `step_s`, the clip, and what was missing."""

    camera_id: str
    epoch: int
    source_size: tuple[int, int]
    frames: tuple[FineFrame, ...]
    clip: Clip | None
    expected: int
    """Fine frames that the span should have given."""
    corrupt: int = 0
    """Frames among those decoded that the decoder marked corrupt."""
