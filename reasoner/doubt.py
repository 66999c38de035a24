"""What is asked once more before a person is bothered, and before a sure first look is overruled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from detector.rule import Rule
from detector.window import Window
from ingest.config import Point
from reasoner.again import attempt
from reasoner.case import Case, Weighed
from reasoner.confidence import combine, with_counterfactual, with_second_look, with_votes
from reasoner.counterfactual import counterfactual
from reasoner.decision import DOUBTS
from reasoner.evidence import Binding
from reasoner.poll import poll
from reasoner.second_look import second_look
from reasoner.unanswered import unanswered
from reasoner.verdict import Recheck, Verdict

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
    failed = any(check.outcome == "failed" for check in weighed.rechecks)
    if failed or not binding.bound or not low <= weighed.confidence.p < high:
        return weighed
    bound, notes = binding.bound, reasoner.backend.notes
    yes = weighed.confidence.components["vlm_token"]
    masked = attempt("masked", lambda: counterfactual(reasoner, window, rule, bound, yes))
    confidence, rechecks = weighed.confidence, (*weighed.rechecks, masked)
    if masked.outcome == "answered":
        confidence = with_counterfactual(confidence, masked.score, masked.status == "contradicted")
    # Who failed once is not waited for again: the window goes to a person anyway.
    if masked.outcome != "failed" and (notes is None or notes.group_step_s is None):
        if reasoner.config.samples:
            polled = attempt("samples", lambda: poll(reasoner, window, rule, zones, seen))
            if isinstance(polled, Recheck):
                return Weighed(weighed.agreement, confidence, (*rechecks, polled))
            if polled.tally.votes:
                confidence = with_votes(confidence, polled.tally.share, polled.tally.probability)
            rechecks = (*rechecks, polled.recheck)
        closer = attempt("closer", lambda: second_look(reasoner, window, rule, bound))
        if closer.outcome == "answered":
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
    """A window that the first look is sure of is rejected only where the model says a clear no without anything to
    read. Another yes, an unsure answer, none at all and a failure go to a person: what the scorer is sure of is never
    rejected by the model's first word alone.

    Measured with an earlier training of the bundled model on 64 simulated scenes: of 47 windows that the scorer is sure
    of and in which nothing of the kind happens, the model rejects 35, and this sends 1 of them to a person for an
    unsure second yes.
    """
    from reasoner.unlettered import look_unlettered

    model = case.model(reasoner.backend)
    second = attempt("unlettered", lambda: look_unlettered(reasoner, case.window, rule, zones, seen))
    if isinstance(second, Recheck):
        text, answer = case.output.text, case.parsed.answer or ""
        why = ("recheck_failed",)
        verdict = unanswered(case.window, rule, zones, seen, model, why, output=text, answer=answer)
        return msgspec.structs.replace(verdict, rechecks=(*case.weighed.rechecks, second))
    reply, rechecks = second.reply, (*case.weighed.rechecks, second.recheck)
    if second.recheck.status == "supported":
        weighed = case.weighed._replace(rechecks=rechecks)
        return case._replace(weighed=weighed).verdict("rejected", reasons, reasoner.backend)
    disagree = (DOUBTS["unlettered"],)
    if reply.fault is not None or not reply.binding.bound:
        text, answer = reply.output.text, reply.parsed.answer or ""
        why = disagree if reply.fault is None else (reply.fault,)
        verdict = unanswered(case.window, rule, zones, seen, model, why, output=text, answer=answer)
        return msgspec.structs.replace(verdict, rechecks=rechecks)
    again = reasoner.weigh(case.window, rule, seen, reply.output, reply.parsed, reply.binding, again=False)
    # Neither look is worth more than the other.
    token = (case.weighed.confidence.components["vlm_token"] + second.recheck.score) / 2
    notes = reasoner.backend.notes
    parts = {**again.confidence.components, "vlm_token": token, "crop_check": token}
    weighed = Weighed(again.agreement, combine(parts, notes.calibrator if notes else None), rechecks)
    output = case.output._replace(text=reply.output.text)
    case = case._replace(output=output, parsed=reply.parsed, binding=reply.binding, weighed=weighed)
    return case.verdict("needs_review", disagree, reasoner.backend)
