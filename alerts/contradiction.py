"""Whether a later window takes an alert back. Pure.

Another look that says no does not: people leave, and a look at other moments or another part of the picture says
nothing about these. A window contradicts an alert only where all of this holds:

* It is about the same: the camera, and the rule in the version that raised the alert.
* It is a clear no: rejected as `answer_no`, with at most `CLEAR_NO` of the model's probability left for a yes, also
  where it was asked once more.
* It saw all that the alert saw, and more: on the same clock, from no later than the first cited time until at least
  `AFTER_S` after the last one, with a frame within `NEAR_S` of each; every cited box lies in its view; and enough of
  its frames came, undamaged.
* Nothing else speaks for the alert: it is open, stands for one window, and nobody has reviewed it.
* The alert itself was no sure one: `confirmed` with more than `SURE` stays. The model that was so sure and the model
  that now says no are the same, so the two answers cancel out, and that is for a person to see.
* The alert rests on the model's answer, and neither look was so sure by itself that it would be believed without a
  reasoner (`Span.sure`). What the first look saw is not taken back by the model's word alone: a text in the picture
  that makes a model fall silent may make it say no as well.
"""

from __future__ import annotations

from alerts import identity
from alerts.alert import Alert
from alerts.birth import view_ok
from alerts.claim import NormBox
from alerts.instant import utc_ns, utc_text
from detector.rule import Rule
from detector.window import Window
from reasoner.boxes import Box
from reasoner.unanswered import METHOD as FIRST_LOOK
from reasoner.verdict import Verdict

CLEAR_NO = 0.1
"""Largest probability of a yes that counts as a clear no."""
SURE = 0.8
"""Above it confidence is called high (as in the console and in answers); below, an alert is one that may fall."""
AFTER_S = 1.0
"""Two fine frames more than the alert had: what the alert took for the event must have had time to show."""
NEAR_S = 0.5
"""A fine frame each 0.5 s: at no cited time may the window have missed more than one."""
MAX_SHOWN = 8
"""Counter-evidence of one record: with the largest alert it stays below 64 KiB."""
_EDGE = 0.005
"""Boxes and views are rounded; half a percent of the picture outside of the view is none."""


def contradiction(alert: Alert, verdict: Verdict, window: Window, rule: Rule) -> tuple[int, ...]:
    """The frames of the window that show it, at most `MAX_SHOWN`, in order; empty where it does not contradict."""
    holds = (
        _same_matter(alert, window, rule)
        and _clear_no(verdict)
        and _may_fall(alert)
        and not _seen_surely(alert, window)
        and _saw_all(alert, window)
        and all(_within(box.box, verdict.view) for item in alert.evidence for box in item.boxes)
    )
    return shown(alert, window) if holds else ()


def shown(alert: Alert, window: Window) -> tuple[int, ...]:
    """The frames nearest to the cited times, and the last one; none where the alert's own window had a gap."""
    times_ns = [frame.stamp.utc_ns for frame in window.cut.frames]
    found = {_nearest(times_ns, cited) for cited in _cited_ns(alert)} | {len(times_ns) - 1}
    gaps = alert.coverage.gaps
    kept = [i for i in sorted(found) if not any(gap.from_ < utc_text(times_ns[i]) < gap.to for gap in gaps)]
    if len(kept) <= MAX_SHOWN:
        return tuple(kept)
    return tuple(kept[round(i * (len(kept) - 1) / (MAX_SHOWN - 1))] for i in range(MAX_SHOWN))


def _same_matter(alert: Alert, window: Window, rule: Rule) -> bool:
    span = window.span
    return (alert.camera.id, alert.rule.id, alert.rule.version) == (
        span.camera_id,
        span.rule_id,
        identity.rule_version(rule),
    )


def _clear_no(verdict: Verdict) -> bool:
    said_no = verdict.decision == "rejected" and verdict.reasons == ("answer_no",)
    yes = [verdict.confidence.components.get("vlm_token", 1.0), *(check.score for check in verdict.rechecks)]
    return said_no and max(yes) <= CLEAR_NO


def _may_fall(alert: Alert) -> bool:
    sure = alert.decision.status == "confirmed" and alert.confidence.p > SURE
    alone = alert.state == "open" and alert.occurrences == 1 and alert.review.status == "none"
    answered = bool(alert.evidence) and all(item.check.method != FIRST_LOOK for item in alert.evidence)
    return alone and answered and not sure


def _seen_surely(alert: Alert, window: Window) -> bool:
    sure_from = window.span.sure_from
    return sure_from is not None and max(window.span.score, alert.confidence.components.get("coarse", 1.0)) >= sure_from


def _saw_all(alert: Alert, window: Window) -> bool:
    if not view_ok(window) or any(f.stamp.source != alert.time.clock.source for f in window.cut.frames):
        return False
    times_ns = [frame.stamp.utc_ns for frame in window.cut.frames]
    cited_ns = _cited_ns(alert)
    near_ns = round(NEAR_S * 1e9)
    return (
        times_ns[0] <= min(cited_ns)
        and times_ns[-1] >= max(cited_ns) + round(AFTER_S * 1e9)
        and all(abs(times_ns[_nearest(times_ns, cited)] - cited) <= near_ns for cited in cited_ns)
    )


def _cited_ns(alert: Alert) -> list[int]:
    return [utc_ns(item.time) for item in alert.evidence]


def _nearest(times_ns: list[int], moment_ns: int) -> int:
    return min(range(len(times_ns)), key=lambda i: abs(times_ns[i] - moment_ns))


def _within(box: NormBox, view: Box) -> bool:
    x1, y1, x2, y2 = box
    return view.x1 - _EDGE <= x1 and view.y1 - _EDGE <= y1 and x2 <= view.x2 + _EDGE and y2 <= view.y2 + _EDGE
