"""What comes between the lens and the scene: a cloth, a spray of paint, somebody who passes right before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ingest.simulator.lens import Lens
from ingest.simulator.paint import Colour, Face, Part, Silhouette, Stroke

BEFORE_THE_LENS_M = 0.05


@dataclass(frozen=True, slots=True)
class Cloth:
    """Drawn over the lens from one side within `pull_s` until it covers `share` of the picture; removed at the end."""

    id: int
    side: str
    """left, right, top or bottom."""
    share: float
    start_s: float
    end_s: float
    pull_s: float
    colour: Colour
    phase: float

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        drawn = max(0.0, min(1.0, (t_s - self.start_s) / self.pull_s, (self.end_s - t_s) / self.pull_s))
        if drawn <= 0.02:
            return []
        reach = self.share * drawn * (1 + 0.012 * math.sin(1.7 * t_s + self.phase))
        width, height = lens.width_px, lens.height_px
        slant = 0.06 * math.sin(1.1 * t_s + self.phase)
        points = [(0.0, 0.0), (reach * (1 + slant), 0.0), (reach * (1 - slant), 1.0), (0.0, 1.0)]
        flat = [self._placed(depth, along, width, height) for depth, along in points]
        parts: list[Part] = [Face(tuple(flat), self.colour)]
        for fold in (0.3, 0.62, 0.85):
            a = self._placed(0.0, fold, width, height)
            b = self._placed(reach * 0.97, min(1.0, fold + 0.06 * math.sin(t_s + 9 * fold + self.phase)), width, height)
            shade: Colour = (self.colour[0] * 0.8, self.colour[1] * 0.8, self.colour[2] * 0.8)
            parts.append(Stroke(a[0], a[1], b[0], b[1], 0.03 * width, shade))
        return [Silhouette(self.id, "cover", BEFORE_THE_LENS_M, tuple(parts))]

    def _placed(self, depth: float, along: float, width: int, height: int) -> tuple[float, float]:
        if self.side == "left":
            return depth * width, along * height
        if self.side == "right":
            return (1 - depth) * width, (1 - along) * height
        if self.side == "top":
            return along * width, depth * height
        return (1 - along) * width, (1 - depth) * height


@dataclass(frozen=True, slots=True)
class Spray:
    """Paint sprayed on the lens: blots that come one after the other, and are wiped off at the end."""

    id: int
    start_s: float
    end_s: float
    spray_s: float
    blots: tuple[tuple[float, float, float], ...]
    """x, y in 0..1 of the picture and radius in 0..1 of its width."""
    colour: Colour

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        done = max(0.0, min(1.0, (t_s - self.start_s) / self.spray_s, (self.end_s - t_s) / self.spray_s))
        count = math.ceil(done * len(self.blots))
        if not self.start_s <= t_s < self.end_s or count == 0:
            return []
        width, height = lens.width_px, lens.height_px
        parts = tuple(
            Stroke(x * width, y * height, x * width, y * height, 2 * r * width, self.colour)
            for x, y, r in self.blots[:count]
        )
        return [Silhouette(self.id, "cover", BEFORE_THE_LENS_M, parts)]


@dataclass(frozen=True, slots=True)
class ClosePasser:
    """Head and shoulders of somebody who walks by an arm's length before the lens."""

    id: int
    start_s: float
    end_s: float
    direction: int
    top: float
    """Of the head, in 0..1 of the picture's height."""
    coat: Colour
    hair: Colour

    def shapes(self, t_s: float, lens: Lens) -> list[Silhouette]:
        if not self.start_s <= t_s < self.end_s:
            return []
        width, height = lens.width_px, lens.height_px
        share = (t_s - self.start_s) / (self.end_s - self.start_s)
        x = width * (-0.35 + 1.7 * (share if self.direction > 0 else 1 - share))
        head, y = 0.2 * width, self.top * height + 4 * math.sin(12 * share)
        parts: tuple[Part, ...] = (
            Stroke(x, y + 1.6 * head, x, y + 5 * head, 2.3 * head, self.coat),
            Stroke(x, y + head * 0.6, x, y + head * 0.75, head, self.hair),
        )
        return [Silhouette(self.id, "person", BEFORE_THE_LENS_M, parts)]
