"""The 1080p25 camera that the ingest benchmarks watch: one labelled scene, encoded once per run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.simulator.stream import Stream

SIZE = (1920, 1080)
FPS = 25
LENGTH_S = 20.0


def camera_stream(gop_s: float, seed: int = 4) -> Stream:
    """20 s of H.264 in a loop, a key frame each `gop_s`."""
    from ingest.simulator.stream import encode
    from ingest.simulator.world import Scene

    scene = Scene(seed, LENGTH_S, size=SIZE)

    def frames() -> Iterator[Any]:
        for index in range(int(LENGTH_S * FPS)):
            yield scene.frame(index / FPS)

    return encode(frames(), FPS, gop_s)
