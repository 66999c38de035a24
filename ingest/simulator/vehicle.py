"""A car that drives along a road: boxes in perspective, wheels, lights in front and behind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingest.simulator.lens import Lens
from ingest.simulator.paint import Colour, Face, Part, Silhouette, Stroke

LENGTH_M, WIDTH_M = 4.3, 1.75
NOSE_M, WINDSCREEN_M = 2.15, 0.75
"""Where body and cabin end in front, from the middle."""
WHEELS_M = (-1.35, 1.35)
WHEEL_RADIUS_M = 0.33


def _lit(colour: Colour, light: float) -> Colour:
    red, green, blue = colour
    return min(255.0, red * light), min(255.0, green * light), min(255.0, blue * light)


@dataclass(frozen=True, slots=True)
class Leg:
    """From `start_s` at `x` with constant speed (m/s, negative to the left) until the next leg."""

    start_s: float
    x: float
    speed: float


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Drives along x at the depth of its lane; legs in order of time, gone after `end_s`."""

    id: int
    lane_z: float
    direction: int
    """1 to the right, -1 to the left: where its bonnet points."""
    legs: tuple[Leg, ...]
    end_s: float
    colour: Colour
    lit: bool

    def x(self, t_s: float) -> float:
        """Middle of the car at this time, metres."""
        leg = next((leg for leg in reversed(self.legs) if t_s >= leg.start_s), self.legs[0])
        return leg.x + leg.speed * (t_s - leg.start_s)

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        if not self.legs[0].start_s <= t_s < self.end_s:
            return []
        x = self.x(t_s)
        parts: list[Part] = []
        parts += self._box(lens, x, -2.15, NOSE_M, 0.28, 0.88, WIDTH_M, self.colour)
        parts += self._box(lens, x, -1.9, WINDSCREEN_M, 0.88, 1.42, WIDTH_M * 0.86, _lit(self.colour, 0.92))
        parts += self._windows(lens, x)
        parts += self._wheels(lens, x, t_s)
        parts += self._lights(lens, x)
        flat = lens.project(np.array([(x, 0.0, self.lane_z)]))[0]
        scale = lens.focal_px / float(flat[2])
        shadow = (float(flat[0]), float(flat[1]), 2.35 * scale, 1.1 * scale * (math.sin(lens.pitch_rad) + 0.1))
        return [Silhouette(self.id, "car", float(flat[2]), tuple(parts), shadow)]

    def _at(self, x: float, ahead: float, up: float, aside: float) -> tuple[float, float, float]:
        return x + self.direction * ahead, up, self.lane_z + aside

    def _box(
        self, lens: Lens, x: float, rear: float, front: float, low: float, high: float, wide: float, colour: Colour
    ) -> list[Part]:
        half = wide / 2
        ends = sorted((x + self.direction * rear, x + self.direction * front))
        taper = 0.28 if low > 0.5 else 0.04
        near, far = self.lane_z - half, self.lane_z + half
        bottom = [(ends[0], low, near), (ends[1], low, near), (ends[1], low, far), (ends[0], low, far)]
        lid = [
            (ends[0] + taper, high, near),
            (ends[1] - taper, high, near),
            (ends[1] - taper, high, far),
            (ends[0] + taper, high, far),
        ]
        flat = lens.project(np.array(bottom + lid))[:, :2]
        sides = [((4, 5, 6, 7), 1.06)]
        sides.append(((0, 3, 7, 4), 0.68) if ends[0] > 0 else ((1, 2, 6, 5), 0.68))
        sides.append(((0, 1, 5, 4), 0.84))
        return [
            Face(
                tuple((float(flat[i, 0]), float(flat[i, 1])) for i in corners),
                _lit(colour, light),
            )
            for corners, light in sides
        ]

    def _windows(self, lens: Lens, x: float) -> list[Part]:
        near = self.lane_z - WIDTH_M * 0.43 - 0.01
        out: list[Part] = []
        for rear, front in ((-1.5, -0.55), (-0.45, 0.42)):
            points = [(rear, 0.95), (front + 0.12, 0.95), (front, 1.34), (rear + 0.1, 1.34)]
            flat = lens.project(np.array([(x + self.direction * a, up, near) for a, up in points]))
            out.append(Face(tuple((float(p[0]), float(p[1])) for p in flat), (38.0, 44.0, 52.0)))
        return out

    def _wheels(self, lens: Lens, x: float, t_s: float) -> list[Part]:
        out: list[Part] = []
        for ahead in WHEELS_M:
            hub = self._at(x, ahead, WHEEL_RADIUS_M, -WIDTH_M / 2 - 0.02)
            turns = np.linspace(0, 2 * math.pi, 11)
            rim = lens.project(
                np.array(
                    [
                        (hub[0] + WHEEL_RADIUS_M * math.cos(a), hub[1] + WHEEL_RADIUS_M * math.sin(a), hub[2])
                        for a in turns
                    ]
                )
            )
            out.append(Face(tuple((float(p[0]), float(p[1])) for p in rim[:-1]), (24.0, 24.0, 26.0)))
            spin = self.x(t_s) / WHEEL_RADIUS_M
            spoke = [(hub[0] + s * 0.2 * math.cos(spin), hub[1] + s * 0.2 * math.sin(spin), hub[2]) for s in (-1, 1)]
            first, second = lens.project(np.array(spoke))
            width = max(1.0, 0.09 * lens.focal_px / float(first[2]))
            ends = (float(first[0]), float(first[1]), float(second[0]), float(second[1]))
            out.append(Stroke(*ends, width, (150.0, 150.0, 150.0)))
        return out

    def _lights(self, lens: Lens, x: float) -> list[Part]:
        out: list[Part] = []
        for ahead, colour in ((NOSE_M - 0.06, (255.0, 250.0, 215.0)), (-2.1, (205.0, 25.0, 25.0))):
            points = lens.project(np.array([self._at(x, ahead, up, -WIDTH_M / 2) for up in (0.6, 0.74)]))
            width = max(1.5, (0.26 if self.lit and ahead > 0 else 0.16) * lens.focal_px / float(points[0, 2]))
            for first, second in pairwise(points):
                out.append(Stroke(float(first[0]), float(first[1]), float(second[0]), float(second[1]), width, colour))
        return out
