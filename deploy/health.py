"""What the page's health strip shows of the running system: cameras, Kafka, what became of the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from alerts.console.status import CameraLine, ConsoleStatus, KafkaLine
from deploy.config import Config
from deploy.pipeline import Pipeline

if TYPE_CHECKING:
    from alerts.relay import Relay
    from ingest.supervisor import CameraStatus

KafkaState = Literal["off", "connected", "connecting", "unreachable"]


def status(config: Config, started_utc_ns: int, line: Pipeline | None, relay: Relay | None) -> ConsoleStatus:
    """One look. line: None before it is there; relay: None without Kafka."""
    names = {camera.id: camera.name for camera in config.camera}
    return ConsoleStatus(
        site=config.site.id,
        tz=config.site.tz,
        started_utc_ns=started_utc_ns,
        cameras=tuple(_camera(one, names[one.camera_id]) for one in line.statuses()) if line is not None else (),
        kafka=_kafka(relay),
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


def _kafka(relay: Relay | None) -> KafkaLine:
    if relay is None:
        return KafkaLine()
    seen = relay.status
    state: KafkaState = "connected" if seen.connected else "unreachable" if seen.last_error else "connecting"
    return KafkaLine(state=state, waiting=seen.pending, reason=seen.last_error)
