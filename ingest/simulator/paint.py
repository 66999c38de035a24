"""Actors to pixels: a figure is a list of strokes, which are drawn, measured for its box, or cast as a silhouette."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.simulator import figure
from ingest.simulator.actor import Bag, Look, Posture
from ingest.simulator.lens import Lens

Colour = tuple[float, float, float]
SUBPIXEL_BITS = 4

LIMBS = (
    (figure.PELVIS, figure.L_KNEE, 0.085, "legs"),
    (figure.L_KNEE, figure.L_FOOT, 0.065, "legs"),
    (figure.PELVIS, figure.R_KNEE, 0.085, "legs"),
    (figure.R_KNEE, figure.R_FOOT, 0.065, "legs"),
    (figure.L_SHOULDER, figure.L_ELBOW, 0.052, "top"),
    (figure.L_ELBOW, figure.L_HAND, 0.043, "skin"),
    (figure.R_SHOULDER, figure.R_ELBOW, 0.052, "top"),
    (figure.R_ELBOW, figure.R_HAND, 0.043, "skin"),
    (figure.NECK, figure.PELVIS, 0.135, "top"),
    (figure.L_SHOULDER, figure.R_SHOULDER, 0.065, "top"),
)
"""Joint, joint, radius in metres, and what clothes it."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A thick line with round ends; a disc where both ends are one. Pixels."""

    x1: float
    y1: float
    x2: float
    y2: float
    width_px: float
    colour: Colour

    def bounds(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in px."""
        half = self.width_px / 2
        return (
            min(self.x1, self.x2) - half,
            min(self.y1, self.y2) - half,
            max(self.x1, self.x2) + half,
            max(self.y1, self.y2) + half,
        )

    def moved(self, dx: float, dy: float) -> Stroke:
        return Stroke(self.x1 + dx, self.y1 + dy, self.x2 + dx, self.y2 + dy, self.width_px, self.colour)


@dataclass(frozen=True, slots=True)
class Face:
    """A filled convex polygon. Pixels."""

    corners: tuple[tuple[float, float], ...]
    colour: Colour

    def bounds(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in px."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def moved(self, dx: float, dy: float) -> Face:
        return Face(tuple((x + dx, y + dy) for x, y in self.corners), self.colour)


@dataclass(frozen=True, slots=True)
class Print:
    """A word with its lower left corner at x, y and letters `height_px` high; too small to read, it is left out."""

    x: float
    y: float
    height_px: float
    word: str
    colour: Colour

    def bounds(self) -> tuple[float, float, float, float]:
        return self.x, self.y - self.height_px, self.x, self.y

    def moved(self, dx: float, dy: float) -> Print:
        return Print(self.x + dx, self.y + dy, self.height_px, self.word, self.colour)


Part = Stroke | Face | Print


@dataclass(frozen=True, slots=True)
class Silhouette:
    """One actor in the picture: parts from far to near, its depth for the painter's order, its floor shadow."""

    id: int
    label: str
    """Empty: light that is no object of the truth."""
    depth_m: float
    parts: tuple[Part, ...]
    shadow: tuple[float, float, float, float] | None = None
    """Centre x, y and half axes in px."""
    opacity: float = 1.0
    """Below 1 the parts are one veil with soft edges: smoke, steam, glow."""

    def bounds(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in px, unclamped."""
        left, top, right, bottom = zip(*(part.bounds() for part in self.parts), strict=True)
        return min(left), min(top), max(right), max(bottom)

    def moved(self, dx: float, dy: float) -> Silhouette:
        """The same shape elsewhere in the picture."""
        return Silhouette(self.id, self.label, self.depth_m, tuple(p.moved(dx, dy) for p in self.parts), self.shadow)


def in_scene(posture: Posture) -> NDArray[np.float64]:
    """The joints in scene metres, float64 (13, 3)."""
    cos, sin = math.cos(posture.heading_rad), math.sin(posture.heading_rad)
    ahead, up, right = posture.joints.T
    raised = 0.34 if posture.bicycle else 0.0
    return np.stack(
        [posture.spot[0] + ahead * cos + right * sin, up + raised, posture.spot[1] + ahead * sin - right * cos], axis=1
    )


def _shade(colour: Colour, light: float) -> Colour:
    return (colour[0] * light, colour[1] * light, colour[2] * light)


def person(identity: int, look: Look, posture: Posture, lens: Lens) -> Silhouette:
    """A figure, its limbs sorted by depth, the far side darker."""
    scene = in_scene(posture)
    flat = lens.project(scene)
    clothes = {"top": look.top, "legs": look.legs, "skin": look.skin}
    middle = float(flat[figure.PELVIS, 2])
    drawn: list[tuple[float, Stroke]] = []
    if posture.bicycle:
        drawn += [(middle + 0.01, stroke) for stroke in _bicycle(posture, lens)]
    for first, second, radius, cloth in LIMBS:
        (x1, y1, z1), (x2, y2, z2) = flat[first], flat[second]
        depth = (z1 + z2) / 2
        light = 0.72 if depth > middle + 0.03 else 1.0
        width = max(1.0, 2 * radius * look.height_m / 1.75 * lens.focal_px / depth)
        drawn.append(
            (depth - (0.02 if cloth == "top" else 0), Stroke(x1, y1, x2, y2, width, _shade(clothes[cloth], light)))
        )
    x, y, z = flat[figure.HEAD]
    head = 0.105 * look.height_m / 1.75 * lens.focal_px / z
    drawn.append((z - 0.05, Stroke(x, y, x, y, 2 * head, look.skin)))
    drawn.append((z - 0.06, Stroke(x, y - head * 0.35, x, y - head * 0.35, 1.7 * head, look.hair)))
    strokes: tuple[Part, ...] = tuple(stroke for _, stroke in sorted(drawn, key=lambda pair: -pair[0]))
    if look.words:
        strokes += _chest_print(flat, look)
    low, high = scene[:, [0, 2]].min(axis=0), scene[:, [0, 2]].max(axis=0)
    centre = lens.project(np.array([((low[0] + high[0]) / 2, 0.0, (low[1] + high[1]) / 2)]))[0]
    scale = lens.focal_px / centre[2]
    tilt = math.sin(lens.pitch_rad) + 0.15
    shadow = (
        float(centre[0]),
        float(centre[1]),
        float(max(0.25, (high[0] - low[0]) / 2 + 0.08) * scale),
        float(max(0.25, (high[1] - low[1]) / 2 + 0.08) * scale * tilt),
    )
    return Silhouette(identity, "person", float(flat[:, 2].mean()), strokes, shadow)


def _chest_print(flat: NDArray[np.float64], look: Look) -> tuple[Print, ...]:
    neck, pelvis = flat[figure.NECK], flat[figure.PELVIS]
    trunk = float(pelvis[1] - neck[1])
    if trunk < 14:
        return ()
    ink = (245.0, 245.0, 245.0) if sum(look.top) < 380 else (15.0, 15.0, 15.0)
    height = trunk * 0.16
    x = float(neck[0] + pelvis[0]) / 2 - 0.42 * height * len(look.words)
    return (Print(x, float(neck[1]) + trunk * 0.42, height, look.words, ink),)


def _stroke(start: NDArray[np.float64], end: NDArray[np.float64], width_px: float, colour: Colour) -> Stroke:
    return Stroke(float(start[0]), float(start[1]), float(end[0]), float(end[1]), width_px, colour)


def _bicycle(posture: Posture, lens: Lens) -> list[Stroke]:
    cos, sin = math.cos(posture.heading_rad), math.sin(posture.heading_rad)

    def at(ahead: float, up: float) -> tuple[float, float, float]:
        return (posture.spot[0] + ahead * cos, up, posture.spot[1] + ahead * sin)

    ink = (45.0, 45.0, 50.0)
    out: list[Stroke] = []
    for hub in (-0.52, 0.52):
        turns = np.linspace(0, 2 * math.pi, 13)
        rim = lens.project(np.array([at(hub + 0.33 * math.cos(a), 0.34 + 0.33 * math.sin(a)) for a in turns]))
        width = max(1.0, 0.04 * lens.focal_px / float(rim[0, 2]))
        out += [_stroke(rim[i], rim[i + 1], width, ink) for i in range(12)]
    bones = [
        ((-0.52, 0.34), (0.0, 0.4)),
        ((0.0, 0.4), (0.45, 0.85)),
        ((-0.1, 0.85), (0.42, 0.8)),
        ((0.45, 0.95), (0.52, 0.34)),
    ]
    for first, second in bones:
        ends = lens.project(np.array([at(*first), at(*second)]))
        out.append(_stroke(ends[0], ends[1], max(1.0, 0.05 * lens.focal_px / float(ends[0, 2])), (150.0, 40.0, 40.0)))
    return out


def bag(item: Bag, hand: tuple[float, float, float] | None, lens: Lens) -> Silhouette:
    """A bag on the floor, or hanging from a hand (metres)."""
    width, height = item.size_m
    x, z = (hand[0], hand[2]) if hand else item.spot
    low = max(0.02, hand[1] - height - 0.12) if hand else 0.02
    rows = np.linspace(low + width * 0.2, low + height - width * 0.2, 3)
    flat = lens.project(np.array([(x, row, z) for row in rows]))
    scale = lens.focal_px / float(flat[0, 2])
    half, thick = width * 0.32 * scale, width * 0.42 * scale + 1
    strokes = [
        Stroke(
            float(px - half),
            float(py),
            float(px + half),
            float(py),
            max(1.5, thick),
            _shade(item.colour, 0.8 + 0.1 * row),
        )
        for row, (px, py, _) in enumerate(flat)
    ]
    top = lens.project(np.array([(x, low + height + 0.1, z)]))[0]
    strokes.append(
        Stroke(
            float(top[0] - half * 0.5),
            float(top[1]),
            float(top[0] + half * 0.5),
            float(top[1]),
            max(1.0, 0.03 * scale),
            _shade(item.colour, 0.6),
        )
    )
    shadow = lens.project(np.array([(x, 0.0, z)]))[0]
    floor = (float(shadow[0]), float(shadow[1]), width * 0.8 * scale, width * 0.3 * scale)
    return Silhouette(item.id, "bag", float(flat[1, 2]) - 0.05, tuple(strokes), floor)


def cast_shadow(picture: NDArray[np.uint8], shape: Silhouette, strength: float) -> None:
    """Darken the floor under a silhouette that throws a shadow."""
    if shape.shadow is None:
        return
    x, y, a, b = shape.shadow
    x1, x2 = max(0, int(x - a - 1)), min(picture.shape[1], int(x + a + 2))
    y1, y2 = max(0, int(y - b - 1)), min(picture.shape[0], int(y + b + 2))
    if x1 >= x2 or y1 >= y2:
        return
    part = picture[y1:y2, x1:x2]
    mask = np.zeros(part.shape[:2], np.uint8)
    axes = (max(1, int(a)), max(1, int(b)))
    cv2.ellipse(mask, (int(x) - x1, int(y) - y1), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    dark = 1 - strength * (mask.astype(np.float32) / 255)[..., None]
    picture[y1:y2, x1:x2] = (part * dark).astype(np.uint8)


def draw(picture: NDArray[np.uint8], shape: Silhouette, ink: Colour | int | None = None, scale: float = 1.0) -> None:
    """Draw the parts into an RGB picture in their own colours, or into a mask with one ink at a scale."""
    if shape.opacity < 1 and ink is None:
        _veil(picture, shape)
        return
    for part in shape.parts:
        _DRAW[type(part)](picture, part, part.colour if ink is None else ink, scale)


UNIT = 1 << SUBPIXEL_BITS


def _fixed(x: float, y: float, scale: float) -> tuple[int, int]:
    return round(x * scale * UNIT), round(y * scale * UNIT)


def _draw_stroke(picture: NDArray[np.uint8], stroke: Stroke, colour: Colour | int, scale: float) -> None:
    first = _fixed(stroke.x1, stroke.y1, scale)
    if stroke.x1 == stroke.x2 and stroke.y1 == stroke.y2:
        radius = max(8, round(stroke.width_px * scale * UNIT / 2))
        cv2.circle(picture, first, radius, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        return
    thick = max(1, round(stroke.width_px * scale))
    cv2.line(picture, first, _fixed(stroke.x2, stroke.y2, scale), colour, thick, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_face(picture: NDArray[np.uint8], face: Face, colour: Colour | int, scale: float) -> None:
    corners = np.round(np.array(face.corners) * scale * UNIT).astype(np.int32)
    cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_print(picture: NDArray[np.uint8], text: Print, colour: Colour | int, scale: float) -> None:
    if picture.ndim == 2:
        return
    where, size = (round(text.x * scale), round(text.y * scale)), text.height_px * scale / 21
    cv2.putText(picture, text.word, where, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


_DRAW: dict[type[Part], Callable[..., None]] = {Stroke: _draw_stroke, Face: _draw_face, Print: _draw_print}


def _veil(picture: NDArray[np.uint8], shape: Silhouette) -> None:
    """All parts as one soft translucent layer; each part keeps its colour, the rim fades."""
    left, top, right, bottom = shape.bounds()
    rim = max(2.0, 0.06 * (right - left))
    x1, x2 = max(0, int(left - 2 * rim)), min(picture.shape[1], int(right + 2 * rim) + 1)
    y1, y2 = max(0, int(top - 2 * rim)), min(picture.shape[0], int(bottom + 2 * rim) + 1)
    if x1 >= x2 or y1 >= y2:
        return
    under = picture[y1:y2, x1:x2]
    layer, mask = under.copy(), np.zeros(under.shape[:2], np.uint8)
    for part in shape.parts:
        here = part.moved(-x1, -y1)
        _DRAW[type(here)](layer, here, here.colour, 1.0)
        _DRAW[type(here)](mask, here, 255, 1.0)
    soft = cv2.GaussianBlur(mask, (0, 0), rim).astype(np.float32)[..., None] * (shape.opacity / 255)
    layer = cv2.GaussianBlur(layer, (0, 0), rim / 2)
    picture[y1:y2, x1:x2] = (under * (1 - soft) + layer * soft).astype(np.uint8)
