"""What burns, smokes, steams or glows: flames of moving tongues, plumes of rising puffs, a lamp."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ingest.simulator.actor import Spot
from ingest.simulator.lens import Lens
from ingest.simulator.paint import Colour, Part, Silhouette, Stroke

TONGUES = 7
PUFFS = 12
ORANGE: tuple[Colour, ...] = ((214.0, 62.0, 14.0), (245.0, 122.0, 22.0), (255.0, 196.0, 70.0))
"""From the outside of a flame to its core."""


def _grown(t_s: float, start_s: float, end_s: float, rise_s: float, fall_s: float) -> float:
    """0..1: how far something that starts and ends gradually is there."""
    return max(0.0, min(1.0, (t_s - start_s) / rise_s, (end_s - t_s) / fall_s))


@dataclass(frozen=True, slots=True)
class Flames:
    """A fire on the floor; grows for `rise_s`, dies within the last `fall_s`."""

    id: int
    spot: Spot
    start_s: float
    end_s: float
    height_m: float
    rise_s: float
    fall_s: float
    phases: tuple[float, ...]
    """`TONGUES` of them."""

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        size = self.height_m * _grown(t_s, self.start_s, self.end_s, self.rise_s, self.fall_s)
        if size <= 0.05:
            return []
        x, z = self.spot
        parts: list[Part] = []
        scale = lens.focal_px / float(lens.project(np.array([(x, 0.0, z)]))[0, 2])
        for layer, colour in enumerate(ORANGE):
            share = 1 - 0.3 * layer
            for number, phase in enumerate(self.phases):
                aside = (number - (TONGUES - 1) / 2) / TONGUES * size * 0.95
                flicker = 0.72 + 0.28 * math.sin(9.1 * t_s + phase) * math.sin(5.3 * t_s + 2.7 * phase)
                high = size * share * flicker * (1 - 0.55 * abs(aside) / (0.5 * size))
                lean = 0.16 * size * math.sin(3.7 * t_s + 1.9 * phase)
                foot, tip = lens.project(
                    np.array([(x + aside * share, 0.03, z), (x + aside * share * 0.7 + lean, high, z)])
                )
                width = max(1.5, 0.24 * size * share * scale)
                middle = ((foot[0] + tip[0]) / 2, (foot[1] + tip[1]) / 2)
                parts.append(Stroke(float(foot[0]), float(foot[1]), float(middle[0]), float(middle[1]), width, colour))
                parts.append(
                    Stroke(float(middle[0]), float(middle[1]), float(tip[0]), float(tip[1]), width * 0.45, colour)
                )
        depth = float(lens.project(np.array([(x, 0.0, z)]))[0, 2])
        return [Silhouette(self.id, "fire", depth, tuple(parts))]


@dataclass(frozen=True, slots=True)
class Plume:
    """Rising puffs: dark ones are smoke, light ones steam."""

    id: int
    label: str
    spot: Spot
    start_s: float
    end_s: float
    height_m: float
    girth_m: float
    """Width at the top."""
    speed: float
    """Puffs per second."""
    opacity: float
    grey: float
    phase: float

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        age, left = t_s - self.start_s, self.end_s - t_s
        if age <= 0.15 or left <= 0:
            return []
        x, z = self.spot
        top = min(1.0, age / 1.8) * self.height_m
        parts: list[Part] = []
        depth = 1.0
        for number in range(PUFFS):
            share = (number / PUFFS + t_s * self.speed / PUFFS + self.phase) % 1
            up = share * self.height_m
            if up > top:
                continue
            drift = 0.22 * self.girth_m * math.sin(1.3 * t_s + 6 * share + 5 * self.phase) * share
            place = np.array([(x + drift, 0.1 + up, z)])
            px, py, depth = (float(v) for v in lens.project(place)[0])
            width = self.girth_m * (0.28 + 0.72 * share) * lens.focal_px / depth
            light = self.grey * (0.9 + 0.2 * ((number * 7) % 5) / 4)
            parts.append(Stroke(px, py, px, py, width, (light, light, light)))
        if not parts:
            return []
        fade = min(1.0, age / 0.8, left / 1.2)
        return [Silhouette(self.id, self.label, depth, tuple(parts), None, self.opacity * fade)]


@dataclass(frozen=True, slots=True)
class Lamp:
    """A lamp on a post, switched on from `on_s` to `off_s`; the post stands there from the start."""

    id: int
    spot: Spot
    height_m: float
    on_s: float
    off_s: float
    colour: Colour

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        if not self.on_s <= t_s < self.off_s:
            return []
        x, z = self.spot
        head = lens.project(np.array([(x, self.height_m, z)]))[0]
        px, py, depth = (float(v) for v in head)
        scale = lens.focal_px / depth
        breath = 1 + 0.03 * math.sin(11 * t_s)
        bulb = Stroke(px, py, px, py, 0.3 * scale * breath, (255.0, 236.0, 190.0))
        glow = Stroke(px, py, px, py, 1.1 * scale * breath, self.colour)
        return [
            Silhouette(self.id, "lamp", depth, (bulb,)),
            Silhouette(self.id, "", depth + 0.01, (glow,), None, 0.4),
        ]
