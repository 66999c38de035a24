"""What is asked once more before a person is bothered, and before a sure first look is overruled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from detector.rule import Rule
from detector.window import Window
from ingest.config import Point
from reasoner.case import Case, Weighed
from reasoner.confidence import combine, with_counterfactual, with_second_look, with_votes
from reasoner.counterfactual import counterfactual
from reasoner.decision import DOUBTS
from reasoner.evidence import Binding
from reasoner.poll import poll
from reasoner.second_look import second_look
from reasoner.unanswered import unanswered
from reasoner.verdict import Verdict

if TYPE_CHECKING:
    from reasoner.pictures import Look
    from reasoner.reason import Reasoner


def doubt(
    reasoner: Reasoner,
    window: Window,
    rule: Rule,
    zones: Mapping[str, Sequence[Point]],
    seen: Look,
    binding: Binding,
    weighed: Weighed,
) -> Weighed:
    """Before a person is bothered, a yes in the grey band is held against the picture without its boxes, put to the
    vote of several answers, and looked at more closely."""
    low, high = reasoner.config.grey
    if not binding.bound or not low <= weighed.confidence.p < high:
        return weighed
    yes = weighed.confidence.components["vlm_token"]
    masked = counterfactual(reasoner, window, rule, binding.bound, yes)
    confidence = with_counterfactual(weighed.confidence, masked.score, masked.status == "contradicted")
    rechecks = (*weighed.rechecks, masked)
    notes = reasoner.backend.notes
    if notes is None or notes.group_step_s is None:
        if reasoner.config.samples:
            votes, polled = poll(reasoner, window, rule, zones, seen)
            if votes.votes:
                confidence = with_votes(confidence, votes.share, votes.probability)
            rechecks = (*rechecks, polled)
        closer = second_look(reasoner, window, rule, binding.bound)
        confidence = with_second_look(confidence, closer.score)
        rechecks = (*rechecks, closer)
    return Weighed(weighed.agreement, confidence, rechecks)


def contest(
    reasoner: Reasoner,
    case: Case,
    rule: Rule,
    zones: Mapping[str, Sequence[Point]],
    seen: Look,
    reasons: tuple[str, ...],
) -> Verdict:
    """A window that the first look is sure of is rejected only where the model does so without anything to read."""
    from reasoner.unlettered import look_unlettered

    second = look_unlettered(reasoner, case.window, rule, zones, seen)
    rechecks = (*case.weighed.rechecks, second.recheck)
    text, answer = second.output.text, second.parsed.answer or ""
    if second.fault is not None:
        fault, model = (second.fault,), case.model(reasoner.backend)
        verdict = unanswered(case.window, rule, zones, seen, model, fault, output=text, answer=answer)
        return msgspec.structs.replace(verdict, rechecks=rechecks)
    if second.recheck.status != "contradicted":
        weighed = case.weighed._replace(rechecks=rechecks)
        return case._replace(weighed=weighed).verdict("rejected", reasons, reasoner.backend)
    again = reasoner.weigh(case.window, rule, seen, second.output, second.parsed, second.binding, again=False)
    # Neither look is worth more than the other.
    token = (case.weighed.confidence.components["vlm_token"] + second.recheck.score) / 2
    notes = reasoner.backend.notes
    parts = {**again.confidence.components, "vlm_token": token, "crop_check": token}
    weighed = Weighed(again.agreement, combine(parts, notes.calibrator if notes else None), rechecks)
    output = case.output._replace(text=text)
    case = case._replace(output=output, parsed=second.parsed, binding=second.binding, weighed=weighed)
    return case.verdict("needs_review", (DOUBTS["unlettered"],), reasoner.backend)
