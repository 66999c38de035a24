"""What an answer earns, term by term: the project's published table and the seven terms of Open-o3 Video.

Each term takes what was claimed and what is true, and gives points, or None where it does not apply. Evidence for
something that did not happen earns what evidence far from everything true earns.

Sources: the project's table of time and coverage points; the seven terms of github.com/marinero4972/Open-o3-Video
(`reward_func.py`) and arXiv 2510.20579, where the gate compares absolute differences (the released code forgets to,
so that a claim of any later time passes).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from reasoner.boxes import Box
from reasoner.evidence import MAX_BOX_SHARE
from reasoner.measure import GATE_S, coverage, evenness, matched, nearest_moment, span_iou, time_closeness
from reasoner.rouge import rouge
from reasoner.truth import Claimed, TrueObject, Truth

EXACT_S, NEAR_S = 1.0, 3.0
EXACT, NEAR, FAR = 1.5, 0.5, -1.0
MOST, HALF = 0.9, 0.5
COVERED, PARTLY, MISSED = 1.0, 0.3, -0.5
AREA_CAP = 2.0
"""A box of more than so many times the true one's area covers nothing, whatever lies in it: at this cap a box that
covers the whole object still overlaps it by half."""
LONG_S = 60.0
SIGMA_S = (4.0, 1.0)

_LETTER = re.compile(r"\s*[(\[]?\s*([A-Za-z])\s*(?:[)\].:,]|$)")
_OPTION = re.compile(r"correct\s+option\s*:", re.IGNORECASE)


def time_points(claimed: Claimed, truth: Truth) -> float | None:
    """Published: per claim +1.5 within 1 s of a moment at which its object is known, +0.5 within 3 s, else -1; mean.
    Where only moments are known, the same for each time that the thinking states."""
    if truth.yes is not False and not truth.objects and truth.moments_s:
        return _mean([_points_at(min(abs(t - known) for known in truth.moments_s)) for t in claimed.times_s] or [FAR])
    return _mean_points(claimed, truth, FAR, [_time_points(item, truth) for item in claimed.objects])


def coverage_points(claimed: Claimed, truth: Truth, area_cap: float = AREA_CAP) -> float | None:
    """Published: per claim +1 where its box covers 90 % of its true box at the nearest moment, +0.3 for 50 %, else
    -0.5; mean. A box larger than `area_cap` times the true one, or than 80 % of the frame, covers nothing; see
    `measure.matched` for which box is whose."""
    own = matched(claimed.objects, truth.objects, math.inf) if truth.objects else [None] * len(claimed.objects)
    each = [_coverage_points(item.box, box, area_cap) for item, box in zip(claimed.objects, own, strict=True)]
    return _mean_points(claimed, truth, MISSED, each)


def spread(claimed: Claimed, truth: Truth) -> float | None:
    """Published, for videos of more than 60 s: how evenly the claimed times are spread over the true span, 0..1; where
    none is told, over the time from the first to the last known moment."""
    moments = _moments(truth)
    span = truth.span or ((min(moments), max(moments)) if len(set(moments)) > 1 else None)
    if span is None or truth.duration_s is None or truth.duration_s <= LONG_S:
        return None
    return evenness(claimed.times_s, span)


def answer(claimed: Claimed, truth: Truth) -> float | None:
    """Term 1: 1 for the right yes or no or the right letter, ROUGE for free text; None where only places are asked."""
    if truth.yes is not None:
        return float(claimed.yes is truth.yes)
    if truth.task in ("temporal QA", "visual QA") or not truth.answer:
        return None
    if truth.task in ("General video QA MCQ", "temporal QA (MCQ)"):
        letter = option(claimed.answer or "")
        return float(letter is not None and letter == option(truth.answer))
    return rouge(claimed.answer or "", truth.answer)


def span(claimed: Claimed, truth: Truth) -> float | None:
    """Term 2: intersection over union of the span that the answer states; 0 without one."""
    if truth.span is None:
        return None
    return span_iou(claimed.span, truth.span) if claimed.span else 0.0


def answer_box(claimed: Claimed, truth: Truth) -> float | None:
    """Term 3: IoU of the first box in the answer."""
    if truth.answer_box is None:
        return None
    return claimed.answer_box.iou(truth.answer_box) if claimed.answer_box else 0.0


def closeness(claimed: Claimed, truth: Truth, sigma_s: float) -> float | None:
    """Term 4: mean over all times in the thinking of exp(-d²/2σ²) to the nearest true moment; see `sigma`."""
    moments = _moments(truth)
    if not moments:
        return None
    return _mean([time_closeness(t, moments, sigma_s) for t in claimed.times_s])


def sigma(progress: float, start_s: float = SIGMA_S[0], end_s: float = SIGMA_S[1]) -> float:
    """The annealed width of `closeness`: the larger of start_s x (1 - progress) and end_s.

    From 4 s to 1 s that is the published course, 4 s x (1 - progress) for three quarters of the training, then 1 s.
    """
    return max(end_s, start_s * (1 - progress))


def inside(claimed: Claimed, truth: Truth) -> float | None:
    """Term 5: share of the times in the thinking that lie inside the true span."""
    if truth.span is None:
        return None
    start_s, end_s = truth.span
    return _mean([float(start_s <= t <= end_s) for t in claimed.times_s])


def box_iou(claimed: Claimed, truth: Truth, gate_s: float = GATE_S) -> float | None:
    """Term 6: mean IoU of claims, each with its own true object of the nearest moment (`measure.matched`), 0 where that
    is more than `gate_s` away on either side. The released code's gate is 1 s, the paper's text says 3 s; it lets any
    number of claims share one true box."""
    return _mean(overlaps(claimed, truth, gate_s)) if truth.objects else None


def overlaps(claimed: Claimed, truth: Truth, gate_s: float = GATE_S) -> list[float]:
    """Of each claim what `box_iou` is the mean of; none where no place is known."""
    if not truth.objects:
        return []
    own = matched(claimed.objects, truth.objects, gate_s)
    found = [item.box.iou(box) if box else 0.0 for item, box in zip(claimed.objects, own, strict=True)]
    return [*found, *[0.0] * claimed.unbound]


def form(claimed: Claimed, truth: Truth) -> float:
    """Term 7: 0 for a broken form; 1 where the evidence that the task asks for is there, else 0.5."""
    if not claimed.well_formed:
        return 0.0
    return 1.0 if _has_evidence(claimed, truth) else 0.5


def option(text: str) -> str | None:
    """The letter of an option: `A`, `A.`, `(A)`, `[A] ...`, after `Correct Option:` where that is written."""
    found = _LETTER.match(_OPTION.split(text)[-1])
    return found[1].upper() if found else None


def _has_evidence(claimed: Claimed, truth: Truth) -> bool:
    match truth.task:
        case "event":
            return claimed.yes is False or bool(claimed.objects)
        case "temporal-spatial free-form QA":
            return bool(claimed.objects)
        case "temporal QA" | "temporal QA (MCQ)":
            return claimed.span is not None
        case "visual QA":
            return claimed.answer_box is not None
        case _:
            return True


def _mean_points(claimed: Claimed, truth: Truth, worst: float, each: Sequence[float]) -> float | None:
    """Over all claims; `worst` for each that cannot be used, and where a true yes comes without any claim."""
    if truth.yes is False:
        return worst if each or claimed.unbound else None
    if not truth.objects:
        return None
    points = [*each, *[worst] * claimed.unbound]
    return _mean(points) if points else worst


def _time_points(item: TrueObject, truth: Truth) -> float:
    if not truth.objects:
        return FAR
    return _points_at(abs(item.time_s - nearest_moment(item, truth.objects)))


def _points_at(distance_s: float) -> float:
    return EXACT if distance_s <= EXACT_S else NEAR if distance_s <= NEAR_S else FAR


def _moments(truth: Truth) -> list[float]:
    """When what the answer rests on is known to be there."""
    return [known.time_s for known in truth.objects] or list(truth.moments_s)


def _coverage_points(claimed: Box, own: Box | None, area_cap: float) -> float:
    if own is None or claimed.area > MAX_BOX_SHARE or claimed.area > area_cap * own.area:
        return MISSED
    share = coverage(claimed, own)
    return COVERED if share >= MOST else PARTLY if share >= HALF else MISSED


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
