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


def matched(claims: Sequence[TrueObject], truth: Sequence[TrueObject], gate_s: float = GATE_S) -> list[Box | None]:
    """The true box that each claim is held against; None where there is none left for it.

    Claims and true objects of one moment are matched one to one, so that a box said twice counts once: first those of
    one label, then what is left of either, each time with the greatest sum of IoU. Claims further than `gate_s` from
    the moment nearest to them, and boxes that do not meet, have no part in it. truth: not empty, if claims are not.
    """
    moments = [nearest_moment(item, truth) for item in claims]
    found: list[Box | None] = [None] * len(claims)
    for moment_s in set(moments):
        said = [i for i, t in enumerate(moments) if t == moment_s and abs(claims[i].time_s - moment_s) <= gate_s]
        known = [i for i, item in enumerate(truth) if item.time_s == moment_s]
        for alike in (True, False):
            worth = [[_worth(claims[i], truth[k], alike) for k in known] for i in said]
            pairs = [(said[row], known[column]) for row, column in assigned(worth)]
            for i, k in pairs:
                found[i] = truth[k].box
            said = [i for i in said if found[i] is None]
            known = [k for k in known if k not in {taken for _, taken in pairs}]
    return found


def assigned(worth: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) with the greatest sum of worth, one to one, none of them worth 0.

    worth: a rectangular table, none of it negative. The Hungarian method by shortest augmenting paths (Jonker and
    Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems", 1987).
    """
    if not worth or not worth[0]:
        return []
    if len(worth) > len(worth[0]):
        return sorted((row, column) for column, row in assigned(list(zip(*worth, strict=True))))
    columns = range(len(worth[0]))
    row_price, column_price = [0.0] * len(worth), [0.0] * len(worth[0])
    owner: list[int | None] = [None] * len(worth[0])
    for start in range(len(worth)):
        distance, before = [math.inf] * len(worth[0]), [-1] * len(worth[0])
        seen: list[int] = []
        row, last, reached = start, -1, 0.0
        while True:
            for column in columns:
                length = reached - worth[row][column] - row_price[row] - column_price[column]
                if column not in seen and length < distance[column]:
                    distance[column], before[column] = length, last
            last = min((column for column in columns if column not in seen), key=lambda column: distance[column])
            reached = distance[last]
            taken = owner[last]
            if taken is None:
                break
            seen.append(last)
            row = taken
        row_price[start] += reached
        for column in seen:
            held = owner[column]
            assert held is not None
            row_price[held] += reached - distance[column]
            column_price[column] -= reached - distance[column]
        while before[last] >= 0:
            owner[last], last = owner[before[last]], before[last]
        owner[last] = start
    pairs = [(row, column) for column, row in enumerate(owner) if row is not None]
    return sorted((row, column) for row, column in pairs if worth[row][column] > 0)


def _worth(claim: TrueObject, known: TrueObject, alike: bool) -> float:
    return claim.box.iou(known.box) if claim.label == known.label or not alike else 0.0


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
