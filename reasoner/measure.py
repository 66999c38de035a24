"""The elementary measures: how far a time is off, how much of a box is met. Pure functions of numbers and boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reasoner.boxes import Box
from reasoner.truth import TrueObject

GATE_S = 1.0
"""A claimed time at most this far from the true one is right."""


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


def nearest_moment(item: TrueObject, truth: Sequence[TrueObject]) -> float:
    """The true moment nearest to a claim's: of its own label where there are any, else of anything in `truth`."""
    same = [known.time_s for known in truth if known.label == item.label] or [known.time_s for known in truth]
    return min(same, key=lambda t: abs(t - item.time_s))


def at_moment(moment_s: float, truth: Sequence[TrueObject]) -> list[Box]:
    """Boxes of everything known at one moment."""
    return [known.box for known in truth if known.time_s == moment_s]


def coverage(claimed: Box, truth: Box) -> float:
    """Share of the true box's area that the claimed box covers, 0..1."""
    return claimed.intersection(truth) / truth.area


def evenness(times_s: Sequence[float], span: tuple[float, float]) -> float:
    """How evenly times are spread over a span, 0..1: the share of them inside it, times 1 - 2 D.

    D is their star discrepancy, the largest gap between the share of times up to a moment and the share of the span
    up to it (Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods", 1992, theorem 2.6): n evenly
    spread times give 1 - 1/n, one time gives 0, and so do times that crowd at one end.
    """
    length = span[1] - span[0]
    places = sorted((t - span[0]) / length for t in times_s if span[0] <= t <= span[1]) if length > 0 else []
    if not places:
        return 0.0
    count = len(places)
    gap = max(max((i + 1) / count - place, place - i / count) for i, place in enumerate(places))
    return max(0.0, 1 - 2 * gap) * count / len(times_s)
