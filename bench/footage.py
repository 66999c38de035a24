"""The 1080p25 camera that the ingest benchmarks watch: one labelled scene, encoded once per run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.simulator.stream import Stream, StreamCodec

SIZE = (1920, 1080)
FPS = 25
LENGTH_S = 20.0


SENSOR_NOISE = 6.0
"""Standard deviation in grey levels of what a small sensor adds: some 4 Mbit/s, as many cameras are set to."""


def camera_stream(gop_s: float, seed: int = 4, *, codec: StreamCodec = "h264", length_s: float = LENGTH_S) -> Stream:
    """`length_s` of video in a loop, a key frame each `gop_s`."""
    import cv2
    import numpy as np

    from ingest.simulator.stream import encode
    from ingest.simulator.world import Scene

    scene = Scene(seed, length_s, size=SIZE)
    rng = np.random.default_rng(seed)
    noise = [np.round(rng.normal(0, SENSOR_NOISE, (SIZE[1], SIZE[0], 3))).astype(np.int16) for _ in range(4)]

    def frames() -> Iterator[Any]:
        for index in range(int(length_s * FPS)):
            moved = np.roll(noise[index % 4], index * 37, axis=1)
            yield cv2.add(scene.frame(index / FPS), moved, dtype=cv2.CV_8U)

    return encode(frames(), FPS, gop_s, codec=codec)
