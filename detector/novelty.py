"""How unusual a picture is for its camera, from the embeddings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMORY_FRAMES = 60
SETTLE_FRAMES = 5
CEILING = 4.0


class Novelty:
    """Distance of a picture's mean embedding to the camera's running mean, in units of the distance that is usual."""

    def __init__(self) -> None:
        self._frames = 0
        self._mean: NDArray[np.float32] | None = None
        self._usual = 0.0

    def update(self, tokens: NDArray[np.float32]) -> float:
        """float32 (tokens, dim) of one picture to 0..1: 0 is as usual, 1 is five times the usual distance or more.

        0 for the first five pictures: nothing is unusual where nothing is known.
        """
        vector = tokens.mean(axis=0)
        vector = vector / max(float(np.linalg.norm(vector)), 1e-6)
        if self._mean is None:
            self._mean = vector
        distance = max(0.0, 1.0 - float(vector @ self._mean) / max(float(np.linalg.norm(self._mean)), 1e-6))
        excess = distance / max(self._usual, 1e-4) - 1.0
        novelty = 0.0 if self._frames < SETTLE_FRAMES else min(max(excess, 0.0), CEILING) / CEILING
        self._frames += 1
        rate = 1.0 / min(self._frames, MEMORY_FRAMES)
        self._mean = self._mean + rate * (vector - self._mean)
        self._usual += rate * (distance - self._usual)
        return novelty
