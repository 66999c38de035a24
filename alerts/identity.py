"""Names that depend only on what was seen, so that a replay names the same things the same."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

import msgspec

from detector.rule import Rule
from detector.window import Window

ONSET_BUCKET_S = 10


def digest(*parts: str) -> str:
    """64 hex digits of SHA-256 over the parts, NUL between them."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def shaped(utc_ns: int, key: str) -> str:
    """A UUID of version 7 (RFC 9562): its time is `utc_ns`, its random bits are SHA-256 of `key`."""
    bits = int.from_bytes(hashlib.sha256(key.encode()).digest()[:10])
    value = (utc_ns // 1_000_000 & (1 << 48) - 1) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def onset_bucket_ns(onset_utc_ns: int) -> int:
    size_ns = ONSET_BUCKET_S * 1_000_000_000
    return onset_utc_ns // size_ns * size_ns


def alert_id(window: Window, onset_utc_ns: int) -> str:
    """From camera, rule, onset bucket and the hashes of every frame that was reasoned over."""
    bucket_ns = onset_bucket_ns(onset_utc_ns)
    evidence = digest(*(frame.sha256() for frame in window.cut.frames))
    return shaped(bucket_ns, digest(window.span.camera_id, window.span.rule_id, str(bucket_ns), evidence))


def record_id(alert_id: str, revision: int, event: str) -> str:
    """Id of one record on the bus; the alert's time keeps it sortable beside its alert."""
    time_ms = uuid.UUID(alert_id).int >> 80
    return shaped(time_ms * 1_000_000, digest(alert_id, str(revision), event))


def rule_version(rule: Rule) -> str:
    """12 hex digits that change with any field of the rule."""
    return hashlib.sha256(msgspec.json.encode(rule, order="deterministic")).hexdigest()[:12]


def dedup_key(camera_id: str, rule: Rule, entity: str, zones: Iterable[str], onset_utc_ns: int) -> str:
    """The same happening under the same rule: camera, rule id and version, entity, zones, onset bucket."""
    where = ",".join(sorted(zones))
    return digest(camera_id, rule.id, rule_version(rule), entity, where, str(onset_bucket_ns(onset_utc_ns)))
