"""One definition of "right": what rewards training is what results are measured by.

`grade` gives the scores of one answer, `RewardTable` what it earns; both are made of the same measures. Records are
in `truth`, measures in `measure`, terms in `rewards`; whoever grades imports them from here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reasoner.measure import GATE_S, coverage, evenness, matched, nearest_moment, span_iou, time_closeness
from reasoner.reading import read
from reasoner.reward_table import EVIDENCE, PUBLISHED, SEVEN, RewardTable
from reasoner.rewards import box_iou, coverage_points, overlaps, time_points
from reasoner.rouge import rouge
from reasoner.truth import Claimed, Task, TrueObject, Truth

__all__ = [
    "EVIDENCE", "GATE_S", "PUBLISHED", "SEVEN",
    "Claimed", "RewardTable", "Scores", "Task", "TrueObject", "Truth",
    "answer_score", "box_iou", "box_score", "coverage", "coverage_points", "evenness", "grade", "matched",
    "nearest_moment", "overlaps", "read", "rouge", "span_iou", "time_closeness", "time_points", "time_score",
]  # fmt: skip


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """None: does not apply."""

    answer: float
    onset_error_s: float | None
    span_iou: float | None
    time: float | None
    """Share of claims whose time is within the gate of a moment at which their object is known."""
    box_iou: float | None
    """Mean IoU of claims, each with its own true object of the nearest moment; 0 for a claim outside the gate."""
    joint: float
    """1 when answer, time (within 1 s) and boxes (mean IoU of 0.5) are all right; for a true no, when it says no."""


def grade(claimed: Claimed, truth: Truth) -> Scores:
    """All scores of one answer to a yes-or-no question."""
    answer = answer_score(claimed.yes, truth.yes)
    if not truth.yes:
        return Scores(answer=answer, onset_error_s=None, span_iou=None, time=None, box_iou=None, joint=answer)
    span = claimed.span
    onset = abs(span[0] - truth.span[0]) if span and truth.span else None
    overlap = None if truth.span is None else span_iou(span, truth.span) if span else 0.0
    time = time_score(claimed.objects, truth.objects, claimed.unbound)
    boxes = box_score(claimed.objects, truth.objects, claimed.unbound)
    right = answer == 1.0 and (time is None or time == 1.0) and (boxes is None or boxes >= 0.5)
    return Scores(answer=answer, onset_error_s=onset, span_iou=overlap, time=time, box_iou=boxes, joint=float(right))


def answer_score(claimed: bool | None, truth: bool | None) -> float:
    """1 for the right yes or no; 0 where neither is said, and where the truth is neither."""
    return float(truth is not None and claimed is truth)


def time_score(claimed: Sequence[TrueObject], truth: Sequence[TrueObject], unbound: int = 0) -> float | None:
    """Share of claims within the gate; 0 without claims; None without truth. unbound: further claims, all wrong."""
    if not truth:
        return None
    return _mean([float(_nearest(item, truth) is not None) for item in claimed], unbound)


def box_score(claimed: Sequence[TrueObject], truth: Sequence[TrueObject], unbound: int = 0) -> float | None:
    """Mean IoU of claims, each with its own true object of the nearest moment; 0 without claims; None without truth."""
    said = Claimed(yes=True, objects=tuple(claimed), unbound=unbound)
    return box_iou(said, Truth(yes=True, objects=tuple(truth)))


def _nearest(item: TrueObject, truth: Sequence[TrueObject]) -> float | None:
    """The true moment nearest to a claim's, if within the gate on either side; its own label's where there are any."""
    moment = nearest_moment(item, truth)
    return moment if abs(moment - item.time_s) <= GATE_S else None


def _mean(values: Sequence[float], zeros: int) -> float:
    return sum(values) / (len(values) + zeros) if len(values) + zeros else 0.0
