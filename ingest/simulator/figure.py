"""Human figures as skeletons: a pose is the place of thirteen joints around the point where the figure stands.

Local axes: forward, up, right, in metres. Gait: cycle lengths of about 1.45 m walking and 2.4 m running for a
person of 1.75 m; knees and elbows bend with the swing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEAD, NECK, PELVIS = 0, 1, 2
L_SHOULDER, L_ELBOW, L_HAND, R_SHOULDER, R_ELBOW, R_HAND = 3, 4, 5, 6, 7, 8
L_KNEE, L_FOOT, R_KNEE, R_FOOT = 9, 10, 11, 12

Joints = NDArray[np.float64]
"""float64 (13, 3): forward, up, right in metres."""


@dataclass(frozen=True, slots=True)
class Stance:
    """The angles that make a pose; radians, forward positive."""

    lean: float = 0.0
    left_leg: float = 0.0
    right_leg: float = 0.0
    left_knee: float = 0.05
    right_knee: float = 0.05
    left_arm: float = 0.0
    right_arm: float = 0.0
    left_elbow: float = 0.15
    right_elbow: float = 0.15
    spread: float = 0.12
    """How far the arms stand off sideways."""


def joints(stance: Stance, height_m: float) -> Joints:
    """The skeleton of a stance for a figure of this height, feet on the floor where the legs reach it."""
    thigh = shin = 0.245 * height_m
    trunk, upper_arm, lower_arm = 0.30 * height_m, 0.17 * height_m, 0.16 * height_m
    hip_half, shoulder_half = 0.055 * height_m, 0.115 * height_m
    out = np.zeros((13, 3))
    out[PELVIS] = (0.0, 0.50 * height_m, 0.0)
    out[NECK] = out[PELVIS] + (trunk * math.sin(stance.lean), trunk * math.cos(stance.lean), 0.0)
    nod = stance.lean * 0.6
    out[HEAD] = out[NECK] + (0.11 * height_m * math.sin(nod), 0.11 * height_m * math.cos(nod), 0.0)
    for side, leg, knee, at_knee, at_foot in (
        (-1, stance.left_leg, stance.left_knee, L_KNEE, L_FOOT),
        (1, stance.right_leg, stance.right_knee, R_KNEE, R_FOOT),
    ):
        hip = out[PELVIS] + (0.0, 0.0, side * hip_half)
        out[at_knee] = hip + (thigh * math.sin(leg), -thigh * math.cos(leg), 0.0)
        shin_angle = leg - knee
        out[at_foot] = out[at_knee] + (shin * math.sin(shin_angle), -shin * math.cos(shin_angle), 0.0)
    for side, arm, elbow, at_shoulder, at_elbow, at_hand in (
        (-1, stance.left_arm, stance.left_elbow, L_SHOULDER, L_ELBOW, L_HAND),
        (1, stance.right_arm, stance.right_elbow, R_SHOULDER, R_ELBOW, R_HAND),
    ):
        swing = arm + stance.lean * 0.5
        out[at_shoulder] = out[NECK] + (0.0, -0.03 * height_m, side * shoulder_half)
        reach = (upper_arm * math.sin(swing), -upper_arm * math.cos(swing), side * upper_arm * stance.spread)
        out[at_elbow] = out[at_shoulder] + reach
        bend = swing + elbow
        out[at_hand] = out[at_elbow] + (lower_arm * math.sin(bend), -lower_arm * math.cos(bend), 0.0)
    lowest = min(out[L_FOOT][1], out[R_FOOT][1])
    out[:, 1] -= lowest - 0.03 * height_m
    return out


def walking(phase: float, vigour: float) -> Stance:
    """One instant of a gait; `phase` in cycles, `vigour` 0 strolling, 0.5 brisk, 1 running."""
    swing = math.sin(2 * math.pi * phase)
    reach = 0.38 + 0.42 * vigour
    lift = 0.35 + 1.1 * vigour
    left_knee = 0.08 + lift * max(0.0, math.sin(2 * math.pi * phase + 1.2 - math.pi))
    right_knee = 0.08 + lift * max(0.0, math.sin(2 * math.pi * phase + 1.2))
    arms = 0.40 + 0.55 * vigour
    return Stance(
        lean=0.04 + 0.24 * vigour,
        left_leg=reach * swing + 0.1 * vigour,
        right_leg=-reach * swing + 0.1 * vigour,
        left_knee=left_knee,
        right_knee=right_knee,
        left_arm=-arms * swing,
        right_arm=arms * swing,
        left_elbow=0.2 + 1.3 * vigour,
        right_elbow=0.2 + 1.3 * vigour,
    )


def standing(sway: float) -> Stance:
    """At ease; `sway` -1..1 shifts arms and trunk a little."""
    return Stance(
        lean=0.02 + 0.015 * sway, left_arm=0.06 * sway, right_arm=-0.05 * sway, left_leg=0.03, right_leg=-0.03
    )


def crouching(depth: float) -> Stance:
    """Knees bent and trunk forward, from standing (0) to squatting with the hands near the floor (1)."""
    return Stance(
        lean=0.95 * depth,
        left_leg=1.15 * depth,
        right_leg=0.75 * depth,
        left_knee=1.95 * depth + 0.05,
        right_knee=1.9 * depth + 0.05,
        left_arm=0.35 * depth,
        right_arm=0.45 * depth,
        left_elbow=0.25,
        right_elbow=0.25,
    )


def sitting(depth: float) -> Stance:
    """From standing (0) to sitting upright (1): thighs forward, shins down."""
    return Stance(
        lean=0.30 * math.sin(math.pi * depth) + 0.05,
        left_leg=1.45 * depth,
        right_leg=1.40 * depth,
        left_knee=1.45 * depth + 0.05,
        right_knee=1.40 * depth + 0.05,
        left_arm=0.5 * depth,
        right_arm=0.45 * depth,
        left_elbow=0.7 * depth + 0.1,
        right_elbow=0.7 * depth + 0.1,
    )


def striking(beat: float, lunge: float) -> Stance:
    """Blows with alternating arms; `beat` in blows (an arm is out at the halves), `lunge` -1..1 rocks the trunk."""
    left = max(0.0, math.sin(math.pi * beat)) ** 2
    right = max(0.0, -math.sin(math.pi * beat)) ** 2
    return Stance(
        lean=0.22 + 0.22 * lunge,
        left_leg=0.42,
        right_leg=-0.38,
        left_knee=0.35,
        right_knee=0.25,
        left_arm=0.35 + 1.25 * left,
        right_arm=0.35 + 1.25 * right,
        left_elbow=1.7 * (1 - left),
        right_elbow=1.7 * (1 - right),
        spread=0.05,
    )


def embracing(closeness: float, sway: float) -> Stance:
    """Arms forward around somebody."""
    return Stance(
        lean=0.10 * closeness + 0.03 * sway,
        left_arm=1.25 * closeness,
        right_arm=1.05 * closeness,
        left_elbow=0.55 * closeness + 0.1,
        right_elbow=0.75 * closeness + 0.1,
        spread=0.02,
    )


def gesturing(beat: float) -> Stance:
    """Standing and talking with one hand."""
    return Stance(
        lean=0.03,
        right_arm=0.35 + 0.3 * math.sin(2 * math.pi * beat),
        right_elbow=1.2 + 0.4 * math.sin(2 * math.pi * beat + 1),
        left_arm=0.05,
    )


def riding(phase: float) -> Stance:
    """On a bicycle: trunk forward, hands on the bar, legs turning."""
    turn = math.sin(2 * math.pi * phase)
    return Stance(
        lean=0.6,
        left_leg=0.85 + 0.4 * turn,
        right_leg=0.85 - 0.4 * turn,
        left_knee=1.0 + 0.4 * turn,
        right_knee=1.0 - 0.4 * turn,
        left_arm=0.75,
        right_arm=0.75,
        left_elbow=0.25,
        right_elbow=0.25,
    )


def toppled(upright: Joints, share: float, sideways: float, limb_swing: float) -> Joints:
    """An upright skeleton tipped about its feet: 0 upright, 1 flat on the floor.

    `sideways` 0 falls forward, 1 to the right, -1 to the left, 2 backward; the limbs fly out with `limb_swing`.
    """
    angle = share * math.pi / 2 * 0.97
    azimuth = sideways * math.pi / 2
    ahead, aside = math.cos(azimuth), math.sin(azimuth)
    out = upright.copy()
    along = upright[:, 0] * ahead + upright[:, 2] * aside
    across = -upright[:, 0] * aside + upright[:, 2] * ahead
    rise = upright[:, 1]
    tipped = along * math.cos(angle) + rise * math.sin(angle)
    out[:, 1] = np.maximum(0.09, rise * math.cos(angle) - along * math.sin(angle) * 0.5 + 0.09 * share)
    spread = across * (1 + 0.5 * share)
    for joint, push in ((L_HAND, -1), (R_HAND, 1), (L_FOOT, -1), (R_FOOT, 1)):
        spread[joint] += push * limb_swing * share
    out[:, 0] = tipped * ahead - spread * aside
    out[:, 2] = tipped * aside + spread * ahead
    return out


def blend(first: Stance, second: Stance, share: float) -> Stance:
    """Between two stances; 0 is the first."""
    return Stance(
        **{
            name: getattr(first, name) * (1 - share) + getattr(second, name) * share
            for name in Stance.__dataclass_fields__
        }
    )
