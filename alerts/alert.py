"""The published record, alert/1.0: JSON, one complete record per revision.

Times are RFC 3339 UTC with milliseconds, durations seconds (`_s`) or milliseconds (`_ms`), probabilities 0..1, boxes
x1, y1, x2, y2 in 0..1 of the displayed frame. Fields without default are always present; a field that holds its
default is left out. `schema/alert-1.0.json` is generated from these classes; what a schema cannot say is checked here,
at birth and whenever a record is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alerts.claim import Claim, Count, Entity, EvidenceItem, Name, Pixels, Sha256, Unit
from alerts.errors import AlertInvalid
from alerts.instant import Utc
from alerts.provenance import AlertTime, CameraRecord, ConfidenceRecord, Coverage, Node, Provenance, RuleRecord, Site
from detector.rule import Category

SCHEMA: Literal["alert/1.0.0"] = "alert/1.0.0"
MAX_RECORD_BYTES = 64 * 1024
UNCOVERED_SHARE = 0.1
"""Largest share of the summary's characters that no claim answers for."""
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Seconds = Annotated[float, Meta(ge=0)]


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["confirmed", "needs_review", "rejected"]
    threshold: Unit
    """Below it an alert needs review."""
    reasons: tuple[str, ...]


class Keyframe(msgspec.Struct, frozen=True, kw_only=True):
    """A stored picture: the bytes reasoned over. `uri` is relative to the store, or absolute."""

    uri: Annotated[str, Meta(min_length=1)]
    sha256: Sha256
    time: Utc
    w: Pixels
    h: Pixels
    role: Literal["context", "subject", "onset", "peak"]


class ClipRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The camera's own packets of the window as MP4. A `ready` clip has uri, sha256, bytes, start, end, codec."""

    status: Literal["pending", "ready", "failed"]
    uri: str | None = None
    sha256: Sha256 | None = None
    bytes: Count | None = None
    start: Utc | None = None
    end: Utc | None = None
    pre_roll_s: Seconds | None = None
    post_roll_s: Seconds | None = None
    codec: str | None = None
    frame_index_uri: str | None = None
    expires: Utc | None = None

    def __post_init__(self) -> None:
        ready = (self.uri, self.sha256, self.bytes, self.start, self.end, self.codec)
        if self.status == "ready" and None in ready:
            raise ValueError("a ready clip needs uri, sha256, bytes, start, end and codec")


class Media(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    keyframes: Annotated[tuple[Keyframe, ...], Meta(min_length=1)]
    clip: ClipRecord
    live_uri: str | None = None
    console_uri: str | None = None
    vms_uri: str | None = None


class Guidance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    instructions: str
    ack_deadline_s: Seconds | None = None
    escalate_to: str | None = None


class Review(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people said about it."""

    status: Literal["none", "claimed", "confirmed", "rejected", "escalated", "unsure"]
    by: str | None = None
    at: Utc | None = None
    reason: str | None = None
    note_uri: str | None = None


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    faces_blurred: bool
    masks_applied: tuple[str, ...]
    retention_until: Utc | None


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One revision of one alert."""

    schema: Literal["alert/1.0.0"]
    alert_id: Uuid
    revision: Annotated[int, Meta(ge=1)]
    state: Literal["open", "closed", "retracted"]
    dedup_key: Sha256
    """SHA-256 of camera, rule id and version, first entity, zones and onset bucket."""
    occurrences: Annotated[int, Meta(ge=1)]
    """Windows this alert stands for: the first one and those merged into it."""
    suppressed: Count
    site: Site
    node: Node
    camera: CameraRecord
    rule: RuleRecord
    category: Category
    priority: Annotated[int, Meta(ge=1, le=4)]
    """1 is the highest."""
    headline: Annotated[str, Meta(min_length=1, max_length=80)]
    summary: Annotated[str, Meta(min_length=1, max_length=400)]
    lang: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
    time: AlertTime
    entities: tuple[Entity, ...]
    claims: Annotated[tuple[Claim, ...], Meta(min_length=1)]
    evidence: tuple[EvidenceItem, ...]
    confidence: ConfidenceRecord
    decision: DecisionRecord
    coverage: Coverage
    media: Media
    provenance: Provenance
    review: Review
    privacy: Privacy
    incident_id: Uuid | None = None
    category_ext: Name | None = None
    counter_evidence: tuple[EvidenceItem, ...] = ()
    guidance: Guidance | None = None
    ext: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for problem in (*_time_problems(self), *_reference_problems(self), *_decision_problems(self)):
            raise AlertInvalid(f"alert {self.alert_id} revision {self.revision}: {problem}")


def encode(alert: Alert) -> bytes:
    """The record as it is stored and published: UTF-8 JSON."""
    return msgspec.json.encode(alert)


def decode(data: bytes | str) -> Alert:
    """A record of any revision back, every rule of alert/1.0 checked; AlertInvalid where one is broken."""
    try:
        return msgspec.json.decode(data, type=Alert)
    except (msgspec.MsgspecError, ValueError) as error:
        raise AlertInvalid(f"not alert/1.0: {error}") from None


def sealed(alert: Alert) -> Alert:
    """The same alert after every field was held to the schema; AlertInvalid where one is not."""
    data = encode(alert)
    if len(data) > MAX_RECORD_BYTES:
        raise AlertInvalid(f"alert {alert.alert_id}: {len(data)} bytes, the contract allows {MAX_RECORD_BYTES}")
    return decode(data)


def uncovered_share(summary: str, spans: list[tuple[int, int]]) -> float:
    """Share of the summary's characters outside every claim's span."""
    covered = set[int]()
    for start, end in spans:
        covered.update(range(start, end))
    return 1 - len(covered & set(range(len(summary)))) / len(summary)


def _time_problems(alert: Alert) -> list[str]:
    time, problems = alert.time, []
    if time.window[0] > time.window[1]:
        problems.append("its window ends before it starts")
    if time.onset > time.peak or (time.end is not None and time.peak > time.end):
        problems.append(f"onset {time.onset}, peak {time.peak} and end {time.end} are out of order")
    for item in (*alert.evidence, *alert.counter_evidence):
        if not time.window[0] <= item.time <= time.window[1]:
            problems.append(f"evidence {item.id} at {item.time} lies outside the window")
        if any(gap.from_ < item.time < gap.to for gap in alert.coverage.gaps):
            problems.append(f"evidence {item.id} at {item.time} lies in a gap")
    return problems


def _reference_problems(alert: Alert) -> list[str]:
    checks = {item.id: item.check.status for item in alert.evidence}
    entities = {entity.id for entity in alert.entities}
    problems = [] if len(checks) == len(alert.evidence) else ["two pieces of evidence share an id"]
    for claim in alert.claims:
        missing = [key for key in claim.evidence_ids if key not in checks]
        if missing:
            problems.append(f"claim {claim.id} names unknown evidence {missing[0]}")
        if {claim.subject, claim.object or claim.subject} - entities:
            problems.append(f"claim {claim.id} speaks of an unknown entity")
        if claim.verdict == "supported" and "supported" not in {checks.get(key) for key in claim.evidence_ids}:
            problems.append(f"claim {claim.id} is called supported without supported evidence")
        if alert.summary[claim.span[0] : claim.span[1]] != claim.text:
            problems.append(f"claim {claim.id} is not at {claim.span} of the summary")
    if uncovered_share(alert.summary, [claim.span for claim in alert.claims]) > UNCOVERED_SHARE:
        problems.append("more than a tenth of the summary is covered by no claim")
    return problems


def _decision_problems(alert: Alert) -> list[str]:
    problems = []
    if alert.state == "open" and not alert.evidence:
        problems.append("an open alert needs evidence")
    if not alert.confidence.interval[0] <= alert.confidence.p <= alert.confidence.interval[1]:
        problems.append("the probability lies outside its own interval")
    if alert.decision.status == "confirmed":
        if alert.confidence.p < alert.decision.threshold:
            problems.append(f"confirmed with p {alert.confidence.p:.2f} below {alert.decision.threshold:.2f}")
        if any(claim.verdict == "contradicted" for claim in alert.claims):
            problems.append("confirmed with a contradicted claim")
        if not alert.camera.view_ok:
            problems.append("confirmed though the camera was not fit to judge by")
    return problems
