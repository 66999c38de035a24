"""What every model that stands in for one shares: it has a name and shows pictures as they are; it is never sampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasoner.backends import Output
from reasoner.boxes import Coordinates
from reasoner.folder import Notes
from reasoner.prompt import Message


class Double:
    """A `Backend` but for `answer`, which each subclass brings."""

    name = "double"
    weights_sha256 = "0" * 64
    coordinates: Coordinates = "rel1000"
    notes: Notes | None = None

    def sample(
        self,
        messages: Sequence[Message],
        pictures: Sequence[NDArray[np.uint8]],
        count: int,
        temperature: float,
        seed: int,
    ) -> list[Output]:
        raise AssertionError("nobody asked for this")

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def close(self) -> None:
        """Holds nothing."""
