"""Two simulated cameras and a data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.simulator.rtsp import SimulatedServer
from ingest.simulator.stream import Stream, encode
from tests.deploy.scripted import Site


@pytest.fixture(scope="session")
def stream() -> Stream:
    """Ten seconds of a square that wanders over a plain floor."""

    def picture(number: int) -> NDArray[np.uint8]:
        frame = np.full((144, 256, 3), 90, np.uint8)
        at = 10 + 4 * number % 200
        frame[40:80, at : at + 30] = (200, 60, 60)
        return frame

    return encode((picture(number) for number in range(50)), fps=5, gop_s=0.4)


@pytest.fixture
def site(tmp_path: Path, stream: Stream) -> Iterator[Site]:
    with SimulatedServer({"a": stream, "b": stream}) as server:
        yield Site(tmp_path / "data", server)
