"""A verdict becomes an alert: pure, the same verdict and window always give the same record."""

from __future__ import annotations

import statistics
from itertools import pairwise

from alerts import identity, wording
from alerts.alert import SCHEMA, Alert, DecisionRecord, Media, Privacy, Review, sealed
from alerts.instant import utc_text
from alerts.keyframes import clip_record, keyframes
from alerts.origin import Origin
from alerts.provenance import (
    AlertTime,
    CalibrationRecord,
    CameraRecord,
    ClockRecord,
    ConfidenceRecord,
    Coverage,
    FrameSize,
    Gap,
    Latency,
    Node,
    Provenance,
    ReasonerModel,
    RecheckRecord,
    RuleRecord,
    Site,
)
from alerts.testimony import Testimony, testify
from detector.rule import Rule, Severity
from detector.window import Window
from ingest.config import CameraConfig
from reasoner.verdict import Verdict

PRIORITY: dict[Severity, int] = {"critical": 1, "high": 2, "low": 3, "info": 4}


def from_verdict(
    verdict: Verdict, window: Window, rule: Rule, camera: CameraConfig, origin: Origin, now_utc_ns: int
) -> Alert:
    """Revision 1 of the alert of a verdict that was not rejected; `now_utc_ns` is when it is recorded.

    A `confirmed` verdict whose record would break alert/1.0 (probability under the threshold, a contradicted claim, a
    camera not fit to judge by) becomes `needs_review` with the reason. AlertInvalid: the verdict has no evidence, or
    names frames that are not the window's.
    """
    onset_ns, peak_ns, end_ns = _moments(verdict, window)
    alert_id = identity.alert_id(window, onset_ns)
    told = testify(verdict, window, alert_id, rule.language, origin.site.tz, (onset_ns, peak_ns))
    fit = view_ok(window)
    start_ns, over_ns = _examined(window)
    return sealed(
        Alert(
            schema=SCHEMA,
            alert_id=alert_id,
            revision=1,
            state="open",
            dedup_key=identity.dedup_key(camera.id, rule, told.entities[0].label, rule.zones, onset_ns),
            occurrences=1,
            suppressed=0,
            site=Site(id=origin.site.id, tz=origin.site.tz),
            node=Node(id=origin.node_id),
            camera=_camera(camera, window, fit),
            rule=_rule(rule),
            category=rule.category,
            priority=PRIORITY[rule.severity],
            headline=wording.headline(rule.category, rule.name, camera.name or camera.id, rule.language),
            summary=told.summary,
            lang=rule.language,
            time=AlertTime(
                onset=utc_text(onset_ns),
                peak=utc_text(peak_ns),
                end=None if end_ns is None else utc_text(end_ns),
                window=(utc_text(start_ns), utc_text(over_ns)),
                clock=_clock(window),
                latency_ms=latency(verdict, window, now_utc_ns),
            ),
            entities=told.entities,
            claims=told.claims,
            evidence=told.evidence,
            confidence=_confidence(verdict),
            decision=_decision(verdict, told, fit, origin.review_below),
            coverage=_coverage(window),
            media=Media(
                keyframes=keyframes(window, alert_id, told.frames, onset_ns, peak_ns),
                clip=clip_record(window, alert_id, onset_ns, peak_ns if end_ns is None else end_ns),
                console_uri=f"{origin.console_url}/alerts/{alert_id}" if origin.console_url else None,
            ),
            provenance=_provenance(verdict, origin),
            review=Review(status="none"),
            privacy=Privacy(faces_blurred=False, masks_applied=(), retention_until=None),
        )
    )


def latency(verdict: Verdict, window: Window, now_utc_ns: int) -> Latency:
    """Each part is at least 0: wall clocks may step between two readings."""
    span = window.span
    marks = (span.first_hot_utc_ns, span.flagged_utc_ns, verdict.reasoned_utc_ns, now_utc_ns)
    flag, reason, publish = (max(0, b - a) // 1_000_000 for a, b in pairwise(marks))
    return Latency(
        capture_to_flag=flag, flag_to_verdict=reason, verdict_to_publish=publish, total=flag + reason + publish
    )


def _camera(camera: CameraConfig, window: Window, fit: bool) -> CameraRecord:
    width, height = window.cut.source_size
    name = wording.plain(camera.name, 120) or camera.id
    return CameraRecord(id=camera.id, name=name, frame_size=FrameSize(w=width, h=height), view_ok=fit)


def _rule(rule: Rule) -> RuleRecord:
    return RuleRecord(
        id=rule.id,
        version=identity.rule_version(rule),
        name=rule.name or rule.id,
        question=rule.question,
        zone_ids=rule.zones,
        schedule_id="always",
    )


def _examined(window: Window) -> tuple[int, int]:
    times = [frame.stamp.utc_ns for frame in window.cut.frames]
    return min(window.span.start_utc_ns, *times), max(window.span.end_utc_ns, *times)


def _moments(verdict: Verdict, window: Window) -> tuple[int, int, int | None]:
    """Onset, peak and end in order, UTC ns: peak and end inside what was examined, onset there or before it."""
    _, over_ns = _examined(window)
    onset_ns = min(verdict.onset_utc_ns, over_ns)
    end_ns = None if verdict.end_utc_ns is None else min(max(verdict.end_utc_ns, onset_ns), over_ns)
    peak_ns = min(max(verdict.peak_utc_ns, onset_ns), over_ns if end_ns is None else end_ns)
    return onset_ns, peak_ns, end_ns


def _clock(window: Window) -> ClockRecord:
    """The worst of the window's stamps. Arrival times are this node's own clock, so their offset to it is 0."""
    worst = max((frame.stamp for frame in window.cut.frames), key=lambda stamp: stamp.uncertainty_ms)
    offset_ms = 0.0 if worst.source == "arrival" else None
    return ClockRecord(source=worst.source, offset_ms=offset_ms, uncertainty_ms=worst.uncertainty_ms)


def view_ok(window: Window) -> bool:
    """Whether the camera was fit to judge by: at least half of the frames came, at most a tenth of them damaged."""
    came = len(window.cut.frames)
    return came * 2 >= window.cut.expected and window.cut.corrupt * 10 <= came


def _confidence(verdict: Verdict) -> ConfidenceRecord:
    made, (low, high) = verdict.confidence, verdict.confidence.interval
    return ConfidenceRecord(
        p=made.p,
        interval=(min(low, made.p), max(high, made.p)),
        components=made.components,
        calibration=CalibrationRecord(
            id=made.calibration.id,
            method=made.calibration.method,
            ece=made.calibration.ece,
            n=made.calibration.n,
            date=made.calibration.date,
        ),
        rechecks=tuple(
            RecheckRecord(
                kind=check.kind,
                status=check.status,
                score=check.score,
                cost_ms=round(1000 * check.cost_s),
                tokens=check.tokens,
                outcome=check.outcome,
            )
            for check in verdict.rechecks
        ),
    )


def _decision(verdict: Verdict, told: Testimony, fit: bool, threshold: float) -> DecisionRecord:
    reasons = list(verdict.reasons)
    status = verdict.decision
    if status == "confirmed":
        doubts = {
            "low_confidence": verdict.confidence.p < threshold,
            "evidence_conflict": any(claim.verdict == "contradicted" for claim in told.claims),
            "view_degraded": not fit,
        }
        found = [name for name, holds in doubts.items() if holds]
        status = "needs_review" if found else status
        reasons += [name for name in found if name not in reasons]
    if told.left_out:
        reasons.append("claims_left_out")
    return DecisionRecord(status=status, threshold=threshold, reasons=tuple(reasons))


def _coverage(window: Window) -> Coverage:
    """A gap is a step of more than twice the usual one between two fine frames."""
    cut = window.cut
    times = [frame.stamp.utc_ns for frame in cut.frames]
    steps = [b - a for a, b in pairwise(times)]
    usual_ns = statistics.median(steps) if steps else 0
    dropped = {"missing": cut.expected - len(times), "corrupt": cut.corrupt}
    return Coverage(
        expected=max(cut.expected, len(times)),
        decoded=len(times),
        dropped={reason: count for reason, count in dropped.items() if count > 0},
        coarse_seen=len(window.span.scores),
        reasoner_seen=len(times),
        fine_fps=round(1e9 / usual_ns, 3) if usual_ns else 0.0,
        gaps=tuple(
            Gap(from_=utc_text(times[i]), to=utc_text(times[i + 1]), reason="frames_missing")
            for i, step in enumerate(steps)
            if step > 2 * usual_ns
        ),
    )


def _provenance(verdict: Verdict, origin: Origin) -> Provenance:
    model = verdict.model
    return Provenance(
        pipeline=origin.pipeline,
        config_sha256=origin.config_sha256,
        coarse=origin.coarse,
        reasoner=ReasonerModel(
            name=model.name,
            weights_sha256=model.weights_sha256,
            quant=origin.reasoner_quant,
            prompt_id=origin.prompt_id,
            prompt_sha256=model.prompt_sha256,
            temperature=origin.temperature,
            seed=origin.seed,
            tokens_in=model.tokens_in,
            tokens_out=model.tokens_out,
        ),
        host_gpu=origin.host_gpu,
    )
