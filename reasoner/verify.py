"""Independent checks: they look at pixels, never at the model's words beyond the box and time they judge.

A box is held against the regions that differ from what the camera usually shows at that frame; a time against the
signal of change and movement over the window, and against when the box's place is filled. Blank or shift the boxed
evidence and the scores fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import Box
from reasoner.change import REGION_LEVEL, regions
from reasoner.evidence import Bound
from reasoner.numerals import TimeSpan
from reasoner.order import UNKNOWN, order_score
from reasoner.verdict import Check

METHOD = "change_region"
SUPPORTED_FROM = 0.35
"""Score of a box from which its check supports the claim."""
NEUTRAL = 0.5
"""Agreement where there is no signal to compare with."""
_FULL_FILL = 0.35
"""Share of a box that changed when it frames a figure well: figures are not rectangles."""
_FULL_IOU = 0.5
_LEAST_FILL = 0.15
"""Below this share of a box, change is noise or a neighbour's edge."""
_REACH_S = 0.75
_PRESENT_SHARE = 0.0015
"""Changed share of the frame that counts as something being there."""


class Agreement(NamedTuple):
    """Checks of each bound box in order, and the two agreements, 0..1."""

    checks: tuple[Check, ...]
    boxes: float
    times: float
    seen: bool
    """Whether there was any signal to compare with."""
    order: float
    """Whether the pictures follow each other, see `reasoner.order`."""


def verify(
    bound: Sequence[Bound],
    failures: int,
    maps: NDArray[np.uint8],
    activity: NDArray[np.float32],
    times_s: Sequence[float],
    spans: Sequence[TimeSpan] = (),
) -> Agreement:
    """Judge bound boxes and stated spans. maps: uint8 (T, h, w); activity, times_s: (T,), of the same fine frames.

    failures: claims that could not be bound at all; each counts as a box and a time that nothing supports.
    """
    signal = presence(maps, activity)
    if float(signal.max(initial=0.0)) == 0.0:
        nothing = Check(method=METHOD, status="unchecked", score=NEUTRAL)
        share = len(bound) / max(1, len(bound) + failures)
        return Agreement((nothing,) * len(bound), NEUTRAL * share, NEUTRAL * share, False, UNKNOWN)
    found: dict[int, list[Box]] = {}
    checks: list[Check] = []
    for item in bound:
        if item.frame not in found:
            found[item.frame] = regions(maps[item.frame])
        score = box_score(item.box, maps[item.frame], found[item.frame])
        status = "supported" if score >= SUPPORTED_FROM else "contradicted"
        checks.append(Check(method=METHOD, status=status, score=round(score, 4)))  # type: ignore[arg-type]
    claimed = [
        min(time_score(times_s[item.frame], signal, times_s), moment_score(item.box, item.frame, maps))
        for item in bound
    ] + [0.0] * failures
    stated = [span_score(span, signal, times_s) for span in spans]
    return Agreement(
        tuple(checks),
        _mean([check.score for check in checks] + [0.0] * failures),
        _mean(claimed + stated),
        True,
        order_score(maps),
    )


def box_score(box: Box, change_map: NDArray[np.uint8], found: Sequence[Box]) -> float:
    """Half for how much of the box changed, half for how well it fits a changed region (or two merged ones).

    A box over the whole picture is little filled and fits nothing; two figures that touch are one region, of which
    either box fills well.
    """
    height, width = change_map.shape
    x1, y1, x2, y2 = box.pixels((width, height))
    fill = float((change_map[y1:y2, x1:x2] >= REGION_LEVEL).mean())
    inside = [region for region in found if region.intersection(box) > 0.5 * region.area]
    candidates = [*found, *([_union(inside)] if len(inside) > 1 else [])]
    iou = max((box.iou(region) for region in candidates), default=0.0)
    return 0.5 * min(1.0, fill / _FULL_FILL) + 0.5 * min(1.0, iou / _FULL_IOU)


def presence(maps: NDArray[np.uint8], activity: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) 0..1: something is there that usually is not, or something moves; whichever says more."""
    kernel = np.ones((2, 2), np.uint8)
    changed = np.array(
        [(cv2.morphologyEx((m >= REGION_LEVEL).astype(np.uint8), cv2.MORPH_OPEN, kernel)).mean() for m in maps],
        np.float32,
    )
    moved = np.minimum(1.0, activity / _PRESENT_SHARE)
    moved[activity < _PRESENT_SHARE / 5] = 0.0
    there = np.minimum(1.0, changed / _PRESENT_SHARE)
    there[changed < _PRESENT_SHARE / 5] = 0.0
    return np.asarray(np.maximum(moved, there), np.float32)


def time_score(claimed_s: float, signal: NDArray[np.float32], times_s: Sequence[float]) -> float:
    """Strongest signal within 0.75 s of a claimed time."""
    near = [float(signal[i]) for i, t in enumerate(times_s) if abs(t - claimed_s) <= _REACH_S]
    return max(near, default=0.0)


def moment_score(box: Box, frame: int, maps: NDArray[np.uint8]) -> float:
    """How much of the box changed at its frame, against the most that ever changes there in the window.

    Whoever passes through a place is there for a moment only: a claim a second off finds it empty.
    """
    x1, y1, x2, y2 = box.pixels((maps.shape[2], maps.shape[1]))
    fills = (maps[:, y1:y2, x1:x2] >= REGION_LEVEL).mean(axis=(1, 2))
    return min(1.0, float(fills[frame]) / max(_LEAST_FILL, float(fills.max())))


def span_score(span: TimeSpan, signal: NDArray[np.float32], times_s: Sequence[float]) -> float:
    """Mean signal inside a stated span; 0 when no frame of the window lies in it."""
    return _mean([float(signal[i]) for i, t in enumerate(times_s) if span.start_s - 0.3 <= t <= span.end_s + 0.3])


def _union(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
