"""CloudEvents 1.0 in binary mode: the alert is the record's value, everything a router needs is in headers.

Source of the format: CloudEvents specification 1.0.2, Kafka protocol binding (attribute `name` is header `ce_name`).
"""

from __future__ import annotations

from typing import Literal

from alerts import identity
from alerts.alert import Alert
from alerts.instant import utc_text
from alerts.origin import source_urn

TYPE_PREFIX = "internal.witness.alert"
"""Reverse DNS, under the one top-level domain that is reserved for private use and can never be somebody else's."""
DATA_SCHEMA = "urn:x-witness:schema:alert-1.0"
"""The `$id` of schema/alert-1.0.json."""
Event = Literal["opened", "updated", "closed", "retracted", "reviewed"]
SEVERITY = {1: (21, "critical"), 2: (17, "high"), 3: (13, "low"), 4: (9, "info")}
"""Number and text of each priority; numbers on the scale of OpenTelemetry's log severity."""

REQUIRED_HEADERS = (
    "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_recordedtime", "ce_dataschema",
    "ce_partitionkey", "ce_sequence", "ce_severitynumber", "ce_severitytext", "content-type",
)  # fmt: skip


def event_of(alert: Alert) -> Event:
    """What a revision tells by itself; a `reviewed` record is named by whoever adds the review."""
    if alert.state != "open":
        return alert.state
    return "opened" if alert.revision == 1 else "updated"


def headers(alert: Alert, recorded_utc_ns: int, event: Event | None = None) -> tuple[tuple[str, str], ...]:
    """Header names and values (UTF-8) of one record. `ce_id` depends on alert, revision and event only, so that a
    record sent twice carries the same id."""
    event = event or event_of(alert)
    number, text = SEVERITY[alert.priority]
    when = (alert.time.end or alert.time.onset) if event == "closed" else alert.time.onset
    pairs = {
        "ce_specversion": "1.0",
        "ce_id": identity.record_id(alert.alert_id, alert.revision, event),
        "ce_source": source_urn(alert.site.id, alert.node.id),
        "ce_type": f"{TYPE_PREFIX}.{event}.v1",
        "ce_subject": f"camera/{alert.camera.id}/alert/{alert.alert_id}",
        "ce_time": when,
        "ce_recordedtime": utc_text(recorded_utc_ns),
        "ce_dataschema": DATA_SCHEMA,
        "ce_partitionkey": alert.camera.id,
        "ce_sequence": f"{alert.revision:08d}",
        "ce_severitynumber": str(number),
        "ce_severitytext": text,
    }
    if alert.incident_id is not None:
        pairs["ce_correlationid"] = alert.incident_id
    return (*pairs.items(), ("content-type", "application/json"))
