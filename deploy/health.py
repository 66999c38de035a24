"""What the page's health strip shows of the running system: cameras, Kafka, the scorer, what became of the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from alerts.console.status import CameraLine, ConsoleStatus, KafkaLine, ScorerLine
from deploy.config import Config
from deploy.pipeline import Pipeline

if TYPE_CHECKING:
    from alerts.relay import Relay
    from ingest.supervisor import CameraStatus

KafkaState = Literal["off", "connected", "connecting", "unreachable"]
ScorerState = Literal["ok", "fallen", "failing"]


def status(config: Config, started_utc_ns: int, line: Pipeline | None, relay: Relay | None) -> ConsoleStatus:
    """One look. line: None before it is there; relay: None without Kafka."""
    names = {camera.id: camera.name for camera in config.camera}
    return ConsoleStatus(
        site=config.site.id,
        tz=config.site.tz,
        started_utc_ns=started_utc_ns,
        cameras=tuple(_camera(one, names[one.camera_id]) for one in line.statuses()) if line is not None else (),
        kafka=_kafka(relay),
        scorer=_scorer(line) if line is not None else ScorerLine(),
        windows=msgspec.to_builtins(line.ledger.windows()) if line is not None else {},
        shed_reasons=dict(line.shed_reasons) if line is not None else {},
    )


def _camera(seen: CameraStatus, name: str) -> CameraLine:
    return CameraLine(
        id=seen.camera_id,
        name=name,
        state=seen.state,
        reason=seen.reason,
        reconnects=seen.reconnects,
        last_frame_utc_ns=seen.last_frame_utc_ns,
    )


def _scorer(line: Pipeline) -> ScorerLine:
    trouble, left = line.trouble, line.left
    state: ScorerState = "failing" if trouble else "fallen" if left else "ok"
    reason = trouble or "; ".join(left)
    return ScorerLine(state=state, engine=line.engine, unscored=line.unscored, reason=reason)


def _kafka(relay: Relay | None) -> KafkaLine:
    if relay is None:
        return KafkaLine()
    seen = relay.status
    state: KafkaState = "connected" if seen.connected else "unreachable" if seen.last_error else "connecting"
    return KafkaLine(state=state, waiting=seen.pending, reason=seen.last_error)
