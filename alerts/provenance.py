"""Where an alert comes from: site, camera, rule, models, clock, and what the system did not see."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from alerts.claim import Count, Name, Pixels, Unit
from alerts.instant import Utc
from ingest.config import Identifier

Milliseconds = Annotated[float, Meta(ge=0)]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    id: Identifier
    tz: Name
    """IANA zone, for rendering only."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    id: Name


class FrameSize(msgspec.Struct, frozen=True, kw_only=True):
    """Displayed source frame, px."""

    w: Pixels
    h: Pixels


class Vms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Names of this camera in other systems."""

    milestone_guid: str | None = None
    genetec_guid: str | None = None
    onvif_source_token: str | None = None
    other: dict[str, str] = {}


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the camera hangs."""

    name: Name
    floor: str | None = None
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    bearing_deg: Annotated[float, Meta(ge=0, lt=360)] | None = None


class CameraRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The camera; its id is the key of the alert topic."""

    id: Identifier
    name: str
    frame_size: FrameSize
    view_ok: bool
    """Whether the camera was fit to judge by: at least half of the frames came, at most a tenth of them damaged."""
    vms: Vms | None = None
    place: Place | None = None


class RuleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The rule as it was when it fired."""

    id: Identifier
    version: Name
    """First 12 hex digits of SHA-256 over the whole rule: changes with any of its fields."""
    name: str
    question: Annotated[str, Meta(min_length=1)]
    zone_ids: tuple[str, ...]
    schedule_id: str


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How good the times are."""

    source: Literal["rtcp_sr", "camera_ntp", "arrival", "file"]
    offset_ms: float | None
    """Camera clock minus this node's clock; null where it was not measured."""
    uncertainty_ms: Milliseconds


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Way of this revision, ms; `total` is the sum of the three before it."""

    capture_to_flag: Milliseconds
    """From the first frame over the threshold to the closed span."""
    flag_to_verdict: Milliseconds
    verdict_to_publish: Milliseconds
    """To the moment this record was made; the outbox may hold it longer while the broker is away."""
    total: Milliseconds


class AlertTime(msgspec.Struct, frozen=True, kw_only=True):
    """When it happened (not when it was processed)."""

    onset: Utc
    """Before `window` where the event went on already in the first picture and the first look had begun to see it."""
    peak: Utc
    """Shown first to the operator."""
    end: Utc | None
    window: tuple[Utc, Utc]
    """What was examined."""
    clock: ClockRecord
    latency_ms: Latency


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch inside the window without frames."""

    from_: Utc = msgspec.field(name="from")
    to: Utc
    reason: Name


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What the system looked at, in frames, and what it did not see."""

    expected: Count
    decoded: Count
    dropped: dict[str, Count]
    coarse_seen: Count
    reasoner_seen: Count
    fine_fps: Annotated[float, Meta(ge=0)]
    gaps: tuple[Gap, ...]


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What turned the components into a probability."""

    id: str
    method: Literal["isotonic", "logistic", "none"]
    ece: Unit
    n: Count
    date: str


class RecheckRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model asked once more about what it cites, without its own answer."""

    kind: Literal["crop", "masked", "samples", "closer", "unlettered"]
    """`crop`: shown the cited boxes alone; `masked`: shown everything but them; `samples`: shown the same once more and
    asked several times, with chance in the answers, which vote; `closer`: shown their surroundings at a higher
    resolution, in more frames; `unlettered`: shown all, but what did not change blurred, so that no writing on the
    scene can be read."""
    status: Literal["supported", "contradicted", "unchecked"]
    score: Unit
    cost_ms: Count
    tokens: Count
    outcome: Literal["answered", "unclear", "failed"] = "answered"
    """`unclear`: what came back was no answer; `failed`: the model or server gave nothing. Either way the status is
    `unchecked` and the score, 0.5, says nothing."""


class ConfidenceRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Calibrated probability that the rule's question is true."""

    p: Unit
    interval: tuple[Unit, Unit]
    components: dict[str, Unit]
    calibration: CalibrationRecord
    rechecks: tuple[RecheckRecord, ...] = ()


class CoarseModel(msgspec.Struct, frozen=True, kw_only=True):
    """The scorer that flagged the window."""

    name: str
    engine_sha256: str
    precision: str


class ReasonerModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model that answered, reproducibly."""

    name: str
    weights_sha256: str
    quant: str
    prompt_id: str
    prompt_sha256: str
    temperature: Annotated[float, Meta(ge=0)]
    seed: int
    tokens_in: Count
    tokens_out: Count


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to get this alert again."""

    pipeline: str
    config_sha256: str
    coarse: CoarseModel
    reasoner: ReasonerModel
    host_gpu: str
