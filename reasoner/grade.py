"""One definition of "right": the same functions reward training and measure results.

Each takes what was claimed and what is true, and gives a number in 0..1 (or an error in seconds), or None where the
truth says nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from reasoner.boxes import Box

GATE_S = 1.0
"""A claimed time at most this far from the true one is right."""


class TrueObject(msgspec.Struct, frozen=True, kw_only=True):
    """Where one object is at one moment."""

    label: str
    time_s: float
    box: Box


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one window, seconds from its first frame."""

    yes: bool
    span: tuple[float, float] | None = None
    objects: tuple[TrueObject, ...] = ()


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What was said: boxes already in the coordinates of the truth."""

    yes: bool | None
    span: tuple[float, float] | None = None
    objects: tuple[TrueObject, ...] = ()


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """None: does not apply."""

    answer: float
    onset_error_s: float | None
    span_iou: float | None
    time: float | None
    """Share of claims whose time is within the gate of a moment at which their object is known."""
    box_iou: float | None
    """Mean over claims of the best IoU at the nearest moment; 0 for a claim outside the gate."""
    joint: float
    """1 when answer, time (within 1 s) and boxes (mean IoU of 0.5) are all right; for a true no, when it says no."""


def grade(claimed: Claimed, truth: Truth) -> Scores:
    """All scores of one answer."""
    answer = answer_score(claimed.yes, truth.yes)
    if not truth.yes:
        return Scores(answer=answer, onset_error_s=None, span_iou=None, time=None, box_iou=None, joint=answer)
    span = claimed.span
    onset = abs(span[0] - truth.span[0]) if span and truth.span else None
    overlap = None if truth.span is None else span_iou(span, truth.span) if span else 0.0
    time = time_score(claimed.objects, truth.objects)
    boxes = box_score(claimed.objects, truth.objects)
    right = answer == 1.0 and (time is None or time == 1.0) and (boxes is None or boxes >= 0.5)
    return Scores(answer=answer, onset_error_s=onset, span_iou=overlap, time=time, box_iou=boxes, joint=float(right))


def answer_score(claimed: bool | None, truth: bool) -> float:
    return float(claimed is truth)


def span_iou(claimed: tuple[float, float], truth: tuple[float, float]) -> float:
    """Intersection over union of two spans; 0 for a reversed one; two equal moments count as 1."""
    if claimed[1] < claimed[0] or truth[1] < truth[0]:
        return 0.0
    union = max(claimed[1], truth[1]) - min(claimed[0], truth[0])
    if union == 0:
        return 1.0
    return max(0.0, min(claimed[1], truth[1]) - max(claimed[0], truth[0])) / union


def time_closeness(claimed_s: float, true_s: Sequence[float], sigma_s: float) -> float:
    """exp(-d²/2σ²) to the nearest true time: the smooth form that training anneals; 0 without one."""
    if not true_s:
        return 0.0
    distance = min(abs(claimed_s - t) for t in true_s)
    return math.exp(-(distance**2) / (2 * sigma_s**2))


def time_score(claimed: Sequence[TrueObject], truth: Sequence[TrueObject]) -> float | None:
    """Share of claims within the gate; 0 without claims; None without truth."""
    if not truth:
        return None
    return _mean([float(_nearest(item, truth) is not None) for item in claimed])


def box_score(claimed: Sequence[TrueObject], truth: Sequence[TrueObject]) -> float | None:
    """Mean IoU of claims, each with its own true object of the nearest moment; 0 without claims; None without truth."""
    if not truth:
        return None
    used: set[int] = set()
    scores: list[float] = []
    for item in claimed:
        moment = _nearest(item, truth)
        at = [i for i, known in enumerate(truth) if moment is not None and known.time_s == moment and i not in used]
        best = max(at, key=lambda i: item.box.iou(truth[i].box), default=None)
        if best is not None and item.box.iou(truth[best].box) > 0:
            used.add(best)
            scores.append(item.box.iou(truth[best].box))
        else:
            scores.append(0.0)
    return _mean(scores)


def _nearest(item: TrueObject, truth: Sequence[TrueObject]) -> float | None:
    """The true moment nearest to a claim's, if within the gate on either side; its own label's where there are any."""
    same = [known.time_s for known in truth if known.label == item.label] or [known.time_s for known in truth]
    moment = min(same, key=lambda t: abs(t - item.time_s))
    return moment if abs(moment - item.time_s) <= GATE_S else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
