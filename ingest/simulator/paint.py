"""Actors to pixels: a figure is a list of strokes, which are drawn, measured for its box, or cast as a silhouette."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, slots=True)
class Silhouette:
    """One actor in the picture: strokes from far to near, its depth for the painter's order, its floor shadow."""

    id: int
    label: str
    depth_m: float
    strokes: tuple[Stroke, ...]
    shadow: tuple[float, float, float, float]
    """Centre x, y and half axes in px."""

    def bounds(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in px, unclamped."""
        left = min(min(s.x1, s.x2) - s.width_px / 2 for s in self.strokes)
        top = min(min(s.y1, s.y2) - s.width_px / 2 for s in self.strokes)
        right = max(max(s.x1, s.x2) + s.width_px / 2 for s in self.strokes)
        bottom = max(max(s.y1, s.y2) + s.width_px / 2 for s in self.strokes)
        return left, top, right, bottom


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
    strokes = tuple(stroke for _, stroke in sorted(drawn, key=lambda pair: -pair[0]))
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
    """Darken the floor under a silhouette."""
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
    """Draw the strokes into an RGB picture in their own colours, or into a mask with one ink at a scale."""
    unit = 1 << SUBPIXEL_BITS
    for stroke in shape.strokes:
        colour = stroke.colour if ink is None else ink
        if stroke.x1 == stroke.x2 and stroke.y1 == stroke.y2:
            centre = (round(stroke.x1 * scale * unit), round(stroke.y1 * scale * unit))
            cv2.circle(
                picture,
                centre,
                max(8, round(stroke.width_px * scale * unit / 2)),
                colour,
                -1,
                cv2.LINE_AA,
                SUBPIXEL_BITS,
            )
        else:
            first = (round(stroke.x1 * scale * unit), round(stroke.y1 * scale * unit))
            second = (round(stroke.x2 * scale * unit), round(stroke.y2 * scale * unit))
            thick = max(1, round(stroke.width_px * scale))
            cv2.line(picture, first, second, colour, thick, cv2.LINE_AA, SUBPIXEL_BITS)
