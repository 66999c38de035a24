"""What a site makes of a verdict: a new alert, one more occurrence of the last one, the end of it, or nothing. Pure."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from alerts.alert import Alert, sealed
from alerts.birth import from_verdict, latency
from alerts.contradiction import contradiction
from alerts.instant import utc_ns, utc_text
from alerts.origin import Origin
from alerts.retraction import retracted
from detector.rule import Rule
from detector.window import Window
from ingest.config import CameraConfig
from reasoner.verdict import Verdict


class New(msgspec.Struct, frozen=True, kw_only=True):
    """Revision 1 of a new alert."""

    alert: Alert


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The next revision of the alert that this window continues."""

    alert: Alert


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """No alert; `reason` is one word of the verdict's reasons, or `no_evidence`."""

    reason: str


class Retracted(msgspec.Struct, frozen=True, kw_only=True):
    """The last revision of the alert that this window contradicts (alerts/contradiction.py). The window itself ends as
    rejected, for `reason`."""

    alert: Alert
    reason: str


Outcome = New | Merged | Rejected | Retracted


def decide(
    verdict: Verdict,
    window: Window,
    rule: Rule,
    camera: CameraConfig,
    origin: Origin,
    latest: Alert | None,
    now_utc_ns: int,
) -> Outcome:
    """`latest`: the last alert of this camera and rule, None when there is none yet.

    A window that begins no later than `rule.cooldown_s` after the last moment supported by that alert (and ends no
    earlier than `cooldown_s` before its onset: windows may be finished out of order) is merged into it.
    """
    if verdict.decision == "rejected":
        reason = verdict.reasons[0] if verdict.reasons else "answer_no"
        if latest is not None and (frames := contradiction(latest, verdict, window, rule)):
            return Retracted(alert=retracted(latest, verdict, window, frames, now_utc_ns), reason=reason)
        return Rejected(reason=reason)
    if not verdict.evidence:
        return Rejected(reason="no_evidence")
    if latest is not None and continues(latest, verdict, rule.cooldown_s):
        return Merged(alert=merge(latest, verdict, window, now_utc_ns))
    return New(alert=from_verdict(_after(latest, verdict, window), window, rule, camera, origin, now_utc_ns))


def _after(latest: Alert | None, verdict: Verdict, window: Window) -> Verdict:
    """The onset of a new alert may lie before its window, but not before that of an alert which is over: what went on
    then was the other's, and the alert whose onset is last is the one to go on with."""
    if latest is None:
        return verdict
    earliest_ns = min(window.cut.frames[0].stamp.utc_ns, utc_ns(latest.time.onset) + 1_000_000)
    return msgspec.structs.replace(verdict, onset_utc_ns=max(verdict.onset_utc_ns, earliest_ns))


def last_supported_ns(alert: Alert) -> int:
    """Last moment for which the alert has support: its end, its peak or its last piece of evidence, UTC ns."""
    return max(map(utc_ns, (alert.time.peak, alert.time.end or alert.time.peak, *(e.time for e in alert.evidence))))


def continues(latest: Alert, verdict: Verdict, cooldown_s: float) -> bool:
    """Whether a verdict falls within the cool-down of an open alert."""
    cooldown_ns = round(cooldown_s * 1e9)
    return (
        latest.state == "open"
        and verdict.onset_utc_ns <= last_supported_ns(latest) + cooldown_ns
        and _supported_until_ns(verdict) >= utc_ns(latest.time.onset) - cooldown_ns
    )


def merge(latest: Alert, verdict: Verdict, window: Window, now_utc_ns: int) -> Alert:
    """The next revision: one occurrence more, end and examined window extended; evidence and confidence stay those of
    the first window, the way of this revision is its own."""
    end_ns = max(last_supported_ns(latest), _supported_until_ns(verdict))
    examined = latest.time.window
    time = replace(
        latest.time,
        end=utc_text(end_ns),
        window=(
            min(examined[0], utc_text(window.span.start_utc_ns)),
            max(examined[1], utc_text(window.span.end_utc_ns), utc_text(end_ns)),
        ),
        latency_ms=latency(verdict, window, now_utc_ns),
    )
    return sealed(replace(latest, revision=latest.revision + 1, occurrences=latest.occurrences + 1, time=time))


def closed(alert: Alert) -> Alert:
    """The next revision of an open alert whose cool-down is over: it ended when it was last supported."""
    end = utc_text(last_supported_ns(alert))
    return sealed(replace(alert, revision=alert.revision + 1, state="closed", time=replace(alert.time, end=end)))


def _supported_until_ns(verdict: Verdict) -> int:
    ends = [verdict.peak_utc_ns, *(piece.stamp.utc_ns for piece in verdict.evidence)]
    return max(ends if verdict.end_utc_ns is None else [*ends, verdict.end_utc_ns])
