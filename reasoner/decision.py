"""From what was found to a decision: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ingest.config import Point
from reasoner.backends import Output
from reasoner.evidence import Binding, Bound
from reasoner.folder import Notes
from reasoner.parse import Parsed
from reasoner.trace import mean_probability, yes_probability
from reasoner.verdict import Decision, Recheck

if TYPE_CHECKING:
    from reasoner.verify import Agreement

SPAN_SLACK_S = 0.55
"""Half a second, and what rounding to tenths adds."""
CONFLICT_BELOW = 0.25
"""Agreement of boxes or times below which evidence and answer are in conflict."""
DOUBTS = {
    "crop": "crop_contradicts",
    "masked": "evidence_not_needed",
    "samples": "looks_disagree",
    "closer": "looks_disagree",
    "unlettered": "looks_disagree",
}
"""What a recheck that speaks against the answer is called among the reasons."""


def token_probability(output: Output, yes: bool | None, notes: Notes | None) -> float:
    """How likely a yes was to the model when it wrote this, 0..1. Undecided (0.5): a server that tells no odds, and an
    answer that is neither a yes nor a no, however sure its words are. yes: what the answer says."""
    if yes is None:
        return 0.5
    token = yes_probability(output.tokens, notes)
    if token is not None:
        return token
    token = mean_probability(output.tokens) if output.tokens else 0.5
    return 1 - token if yes is False else token


def sureness(parts: Mapping[str, float]) -> float:
    """How likely a yes is to both looks together: the first and the crop check, by the mean of their logits."""
    edge = 0.002
    looks = [min(1 - edge, max(edge, parts[name])) for name in ("vlm_token", "crop_check")]
    odds = math.exp(sum(math.log(p / (1 - p)) for p in looks) / len(looks))
    return odds / (1 + odds)


def components(
    coarse: float,
    output: Output,
    parsed: Parsed,
    binding: Binding,
    agreement: Agreement,
    notes: Notes | None,
    crop: float | None = None,
) -> dict[str, float]:
    """The parts of the confidence, each 0..1. crop: the score of the crop check, where there was one; without it the
    model's own word stands in."""
    token = token_probability(output, parsed.yes, notes)
    parts = {
        "coarse": coarse,
        "vlm_token": token,
        "evidence_match": math.sqrt(max(0.0, agreement.boxes * agreement.times)),
        "detector_agreement": agreement.boxes,
        "temporal_agreement": agreement.times,
        "consistency": consistency(parsed, binding),
        "frame_order": agreement.order,
        "crop_check": token if crop is None else crop,
    }
    return {name: round(min(1.0, max(0.0, value)), 6) for name, value in parts.items()}


def consistency(parsed: Parsed, binding: Binding) -> float:
    """Whether answer and claims say the same: 0 without a yes and something to show for it; else the share of claims
    that could be used, times the share of these that lie within a stated span, give or take half a second."""
    if parsed.yes is not True or not binding.bound:
        return 0.0
    usable = len(binding.bound) / (len(binding.bound) + binding.failures)
    if not parsed.spans:
        return usable
    within = [
        any(span.start_s - SPAN_SLACK_S <= claim.time_s <= span.end_s + SPAN_SLACK_S for span in parsed.spans)
        for claim in binding.claims
    ]
    return usable * sum(within) / len(within)


def decide(
    parsed: Parsed,
    binding: Binding,
    agreement: Agreement,
    p: float,
    review_below: float,
    rechecks: Sequence[Recheck] = (),
) -> tuple[Decision, tuple[str, ...]]:
    """Decision and reasons. Rejected: a no, or nothing to show. Review: unsure, in conflict, or no clear answer."""
    if parsed.yes is False:
        return "rejected", ("answer_no",)
    if not binding.bound:
        return "rejected", ("no_evidence",)
    reasons = []
    if parsed.yes is None or p < review_below:
        reasons.append("low_confidence")
    contradicted = sum(check.status == "contradicted" for check in agreement.checks)
    in_conflict = min(agreement.boxes, agreement.times) < CONFLICT_BELOW or 2 * contradicted > len(agreement.checks)
    if agreement.seen and in_conflict:
        reasons.append("evidence_conflict")
    if any(check.outcome == "failed" for check in rechecks):
        reasons.append("recheck_failed")
    reasons += dict.fromkeys(DOUBTS[check.kind] for check in rechecks if check.status == "contradicted")
    return ("needs_review" if reasons else "confirmed"), tuple(reasons)


def inside(point: tuple[float, float], polygon: Sequence[Point]) -> bool:
    """Whether a point lies in a polygon (even-odd rule); both in 0..1."""
    x, y = point
    within = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            within = not within
    return within


def stands_in(bound: Sequence[Bound], names: Sequence[str], zones: Mapping[str, Sequence[Point]]) -> bool:
    """Whether some box stands in a zone: its bottom centre is where its object touches the ground."""
    feet = [((item.box.x1 + item.box.x2) / 2, item.box.y2) for item in bound]
    return any(inside(foot, zones[name]) for name in names if name in zones for foot in feet)
