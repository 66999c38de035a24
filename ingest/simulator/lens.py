"""A pinhole camera over a floor: metres of the scene to pixels of the picture, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point3 = tuple[float, float, float]
"""Metres: x right, y up from the floor, z away from the camera's foot."""


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera `height_m` above the origin, looking along z and down by `pitch_rad`."""

    width_px: int
    height_px: int
    focal_px: float
    height_m: float
    pitch_rad: float

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (N, 3) metres → (N, 3): x px, y px, depth in metres; depth is kept above 0.3 m."""
        sin, cos = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        up = points[:, 1] - self.height_m
        depth = np.maximum(0.3, points[:, 2] * cos - up * sin)
        rise = points[:, 2] * sin + up * cos
        x = self.width_px / 2 + self.focal_px * points[:, 0] / depth
        y = self.height_px / 2 - self.focal_px * rise / depth
        return np.stack([x, y, depth], axis=1)

    def floor_at(self, x_px: float, y_px: float) -> tuple[float, float]:
        """The point (x, z) in metres of the floor that a pixel below the horizon shows."""
        sin, cos = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        v = (self.height_px / 2 - y_px) / self.focal_px
        down = cos * v - sin
        if down >= -1e-6:
            raise ValueError(f"pixel row {y_px} is not below the horizon")
        along = -self.height_m / down
        z = along * (cos + sin * v)
        return (x_px - self.width_px / 2) / self.focal_px * along, z

    def edge_x(self, z: float, side: int, beyond_m: float = 0.8) -> float:
        """The x in metres just outside the picture on `side` (-1 left, 1 right) at floor depth z."""
        depth = z * math.cos(self.pitch_rad) + self.height_m * math.sin(self.pitch_rad)
        return side * (self.width_px / 2 / self.focal_px * depth + beyond_m)
