"""What a camera sees when nobody is there: floor, back wall, furniture, light. Painted once per scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.simulator.lens import Lens

Colour = tuple[float, float, float]
WORDS = ("EXIT", "GATE 2", "SHOP", "INFO", "LIFT", "P1", "TAXI", "CAFE", "WC", "SALE", "HALL B")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of furniture standing on the floor: an upright box, metres."""

    x: float
    z: float
    width: float
    depth: float
    height: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Zone:
    """A marked rectangle of the floor that nobody may enter, metres."""

    x1: float
    x2: float
    z1: float
    z2: float


@dataclass(frozen=True, slots=True)
class Road:
    """A road across the picture with two lanes and right-hand traffic: the near lane runs to the right."""

    z1: float
    z2: float

    def lane_z(self, direction: int) -> float:
        """Middle of the lane of those who drive to the right (1) or to the left (-1)."""
        return self.z1 + (0.25 if direction > 0 else 0.75) * (self.z2 - self.z1)


@dataclass(frozen=True, slots=True)
class Scenery:
    """The empty picture and the blocks that may hide somebody."""

    empty: NDArray[np.uint8]
    """uint8 (H, W, 3) RGB, blocks included."""
    blocks: tuple[Block, ...]
    bench: Block
    """One of the blocks: low enough to sit on."""
    infrared: bool
    edge_z: float = math.inf
    """Where the floor on which people walk ends, metres: before a marked zone or a road."""
    zone: Zone | None = None
    road: Road | None = None


def palette(rng: np.random.Generator, low: float, high: float, tint: float) -> Colour:
    """A colour of brightness between low and high (0..255), each channel off by up to `tint`."""
    base = rng.uniform(low, high)
    return tuple(float(np.clip(base + rng.uniform(-tint, tint), 0, 255)) for _ in range(3))  # type: ignore[return-value]


def corners(block: Block) -> NDArray[np.float64]:
    """float64 (8, 3): four floor corners, then the four above them."""
    x1, x2 = block.x - block.width / 2, block.x + block.width / 2
    z1, z2 = block.z - block.depth / 2, block.z + block.depth / 2
    return np.array(
        [(x, y, z) for y in (0.0, block.height) for x, z in ((x1, z1), (x2, z1), (x2, z2), (x1, z2))], np.float64
    )


def paint_block(picture: NDArray[np.uint8], lens: Lens, block: Block) -> None:
    """Draw a block's visible faces into the picture."""
    flat = lens.project(corners(block))
    pixels = np.round(flat[:, :2] * 16).astype(np.int32)
    faces: list[tuple[tuple[int, ...], float]] = [((0, 1, 5, 4), 0.78)]
    if block.x > 0:
        faces.append(((0, 3, 7, 4), 0.62))
    else:
        faces.append(((1, 2, 6, 5), 0.62))
    if block.height < lens.height_m:
        faces.append(((4, 5, 6, 7), 1.0))
    for face, light in faces:
        shade = tuple(channel * light for channel in block.colour)
        cv2.fillConvexPoly(picture, pixels[list(face)], shade, cv2.LINE_AA, 4)


def _floor(picture: NDArray[np.uint8], lens: Lens, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    horizon = lens.height_px / 2 - lens.focal_px * math.tan(lens.pitch_rad)
    rows = np.arange(height, dtype=np.float64)[:, None]
    v = (lens.height_px / 2 - rows) / lens.focal_px
    down = math.cos(lens.pitch_rad) * v - math.sin(lens.pitch_rad)
    along = -lens.height_m / np.minimum(down, -1e-3)
    z = along * (math.cos(lens.pitch_rad) + math.sin(lens.pitch_rad) * v)
    x = (np.arange(width)[None, :] - width / 2) / lens.focal_px * along
    colour = np.array(palette(rng, 75, 190, 14))
    tile = rng.uniform(0.6, 2.2)
    line = (np.minimum(np.abs((x / tile) % 1 - 0.5), np.abs((z / tile + 0 * x) % 1 - 0.5)) > 0.485).astype(np.float64)
    checker = ((np.floor(x / tile) + np.floor(z / tile)) % 2) * float(rng.choice([0.0, 0.0, 6.0, 14.0]))
    grain = cv2.resize(rng.normal(0, 7, (height // 4, width // 4)), (width, height), interpolation=cv2.INTER_CUBIC)
    fade = np.clip(z / 40, 0, 0.5)
    floor = colour[None, None] * (1 - 0.25 * fade[..., None]) + (grain + checker - line * rng.uniform(0, 26))[..., None]
    mask = rows > horizon
    picture[:] = np.where(mask[..., None], np.clip(floor, 0, 255), picture).astype(np.uint8)


def _wall(picture: NDArray[np.uint8], lens: Lens, rng: np.random.Generator, wall_z: float) -> None:
    def quad(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.int32]:
        flat = lens.project(np.array([(x1, y1, wall_z), (x2, y1, wall_z), (x2, y2, wall_z), (x1, y2, wall_z)]))
        return np.round(flat[:, :2] * 16).astype(np.int32)

    cv2.fillConvexPoly(picture, quad(-40, 0, 40, 12), palette(rng, 90, 215, 16), cv2.LINE_AA, 4)
    cv2.fillConvexPoly(picture, quad(-40, 0, 40, 0.25), palette(rng, 40, 120, 10), cv2.LINE_AA, 4)
    x = -12.0
    while x < 12:
        x += rng.uniform(1.2, 4.0)
        wide, low, high = rng.uniform(0.8, 2.4), float(rng.choice([0.0, 0.9, 1.1])), rng.uniform(1.9, 3.2)
        cv2.fillConvexPoly(picture, quad(x, low, x + wide, high), palette(rng, 30, 235, 40), cv2.LINE_AA, 4)
        if rng.random() < 0.5:
            at = lens.project(np.array([(x + 0.1, (low + high) / 2, wall_z)]))[0]
            size = lens.focal_px / at[2] * 0.018
            where, ink = (int(at[0]), int(at[1])), palette(rng, 0, 255, 30)
            cv2.putText(picture, str(rng.choice(WORDS)), where, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
        x += wide


def _flat(lens: Lens, points: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
    """Floor points (x, z) → fixed-point pixels."""
    flat = lens.project(np.array([(x, 0.0, z) for x, z in points]))
    return np.round(flat[:, :2] * 16).astype(np.int32)


def _paint_road(picture: NDArray[np.uint8], lens: Lens, road: Road, rng: np.random.Generator) -> None:
    """Asphalt, kerbs, a broken line between the lanes, and arrows that say which way each of them runs."""
    reach = lens.edge_x(road.z2, 1, 2.0)

    def quad(x1: float, x2: float, z1: float, z2: float, colour: Colour) -> None:
        cv2.fillConvexPoly(picture, _flat(lens, [(x1, z1), (x2, z1), (x2, z2), (x1, z2)]), colour, cv2.LINE_AA, 4)

    dark, light = palette(rng, 55, 95, 6), palette(rng, 205, 245, 10)
    kerb = palette(rng, 130, 190, 10)
    quad(-reach, reach, road.z1 - 0.25, road.z2 + 0.25, kerb)
    quad(-reach, reach, road.z1, road.z2, dark)
    middle, offset = (road.z1 + road.z2) / 2, float(rng.uniform(0, 3))
    for dash in np.arange(-reach - offset, reach, 3.0):
        quad(float(dash), float(dash) + 1.7, middle - 0.09, middle + 0.09, light)
    for direction in (1, -1):
        z, shift = road.lane_z(direction), float(rng.uniform(0, 6))
        for x in np.arange(-reach - shift, reach, 6.0):
            tail, neck, tip = (float(x) + direction * along for along in (-1.5, 0.2, 1.6))
            quad(min(tail, neck), max(tail, neck), z - 0.14, z + 0.14, light)
            head = _flat(lens, [(neck, z - 0.6), (tip, z), (neck, z + 0.6)])
            cv2.fillConvexPoly(picture, head, light, cv2.LINE_AA, 4)


def _paint_zone(picture: NDArray[np.uint8], lens: Lens, zone: Zone, rng: np.random.Generator) -> None:
    """A tinted, hatched rectangle with a broad rim."""
    ink = ((235.0, 200.0, 30.0), (225.0, 60.0, 40.0), (240.0, 235.0, 225.0))[int(rng.integers(3))]
    floor = _flat(lens, [(zone.x1, zone.z1), (zone.x2, zone.z1), (zone.x2, zone.z2), (zone.x1, zone.z2)])
    layer = picture.copy()
    cv2.fillConvexPoly(layer, floor, ink, cv2.LINE_AA, 4)
    picture[:] = cv2.addWeighted(layer, 0.28, picture, 0.72, 0)
    stripe, step = 0.16, float(rng.uniform(0.7, 1.1))
    deep = zone.z2 - zone.z1
    x = zone.x1 - deep
    while x < zone.x2:
        low, high = max(x, zone.x1), min(x + deep, zone.x2)
        if high > low:
            ends = [(low, zone.z1 + low - x), (high, zone.z1 + high - x)]
            band = [ends[0], ends[1], (ends[1][0] + stripe, ends[1][1]), (ends[0][0] + stripe, ends[0][1])]
            cv2.fillConvexPoly(picture, _flat(lens, band), ink, cv2.LINE_AA, 4)
        x += step
    rim = 0.14
    for x1, x2, z1, z2 in (
        (zone.x1, zone.x2, zone.z1, zone.z1 + rim),
        (zone.x1, zone.x2, zone.z2 - rim, zone.z2),
        (zone.x1, zone.x1 + rim, zone.z1, zone.z2),
        (zone.x2 - rim, zone.x2, zone.z1, zone.z2),
    ):
        cv2.fillConvexPoly(picture, _flat(lens, [(x1, z1), (x2, z1), (x2, z2), (x1, z2)]), ink, cv2.LINE_AA, 4)


def build(lens: Lens, rng: np.random.Generator, place: str = "hall") -> Scenery:
    """A place: seeded floor, wall, up to four blocks at the sides and one bench.

    `place`: "hall", "zone" (a marked area at the back that nobody may enter) or "road" (a road across the back).
    """
    picture = np.zeros((lens.height_px, lens.width_px, 3), np.uint8)
    picture[:] = palette(rng, 60, 200, 20)
    wall_z = float(rng.uniform(13, 22))
    near = lens.floor_at(lens.width_px / 2, lens.height_px * 0.97)[1]
    edge_z, zone, road = math.inf, None, None
    if place != "hall":
        edge_z = float(rng.uniform(near + 3.2, max(near + 3.8, 9.5)))
        wall_z = edge_z + float(rng.uniform(6.0, 8.5))
    _wall(picture, lens, rng, wall_z)
    _floor(picture, lens, rng)
    if place == "zone":
        half = float(rng.uniform(1.6, 2.6))
        x = float(rng.uniform(-0.55, 0.55)) * lens.edge_x(edge_z, 1, 0)
        zone = Zone(x - half, x + half, edge_z, edge_z + float(rng.uniform(2.4, 3.6)))
        _paint_zone(picture, lens, zone, rng)
    if place == "road":
        road = Road(edge_z + 0.3, edge_z + 0.3 + float(rng.uniform(4.8, 5.6)))
        _paint_road(picture, lens, road, rng)
    blocks = []
    far = min(12.0, edge_z - 1.2)
    for _ in range(int(rng.integers(1, 5))):
        z = float(rng.uniform(min(5.5, far - 0.5), far))
        side = float(rng.choice([-1, 1]))
        x = side * rng.uniform(0.45, 0.85) * lens.edge_x(z, 1, 0)
        heights = [0.5, 0.9, 1.2, 2.2] if place == "hall" else [0.3, 0.5, 0.9]
        tall = float(rng.choice(heights))
        wide = float(rng.uniform(0.3, 1.6 if place == "hall" else 0.9))
        blocks.append(Block(x, z, wide, float(rng.uniform(0.3, 0.9)), tall, palette(rng, 30, 220, 40)))
    bench_z = float(rng.uniform(min(7.0, far - 0.8), min(10.5, far - 0.3)))
    bench_x = rng.uniform(-0.5, 0.5) * lens.edge_x(bench_z, 1, 0)
    bench = Block(bench_x, bench_z, float(rng.uniform(1.4, 2.2)), 0.45, 0.45, palette(rng, 40, 190, 35))
    blocks.append(bench)
    for block in sorted(blocks, key=lambda block: -block.z):
        paint_block(picture, lens, block)
    ramp = 1 + rng.uniform(-0.18, 0.18) * np.linspace(-1, 1, lens.width_px)[None, :, None]
    lit = np.clip(picture * ramp, 0, 255)
    night = rng.random() < 0.22
    infrared = bool(night and rng.random() < 0.6)
    if night:
        yy, xx = np.mgrid[-1 : 1 : lens.height_px * 1j, -1 : 1 : lens.width_px * 1j]
        lit = lit * (0.55 - 0.22 * np.clip(xx**2 + yy**2, 0, 1.2))[..., None] + 8
    empty = np.asarray(np.clip(lit, 0, 255), np.uint8)
    return Scenery(empty, tuple(blocks), bench, infrared, edge_z, zone, road)
