"""Revisions on their way to the bus, oldest first. A row leaves only when a broker acknowledged it, or never will."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

import msgspec

from alerts import cloudevent
from alerts.alert import Alert


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One revision to send: the record exactly as it will be sent each time."""

    seq: int
    camera_id: str
    alert_id: str
    revision: int
    headers: tuple[tuple[str, str], ...]
    value: bytes


class OutboxCounts(msgspec.Struct, frozen=True, kw_only=True):
    pending: int
    sent: int
    undeliverable: int


def add(connection: sqlite3.Connection, alert: Alert, recorded_utc_ns: int, event: cloudevent.Event | None) -> None:
    """In the transaction that stores the revision."""
    headers = msgspec.json.encode(cloudevent.headers(alert, recorded_utc_ns, event))
    connection.execute(
        "INSERT INTO outbox (alert_id, revision, camera_id, headers) VALUES (?, ?, ?, ?)",
        (alert.alert_id, alert.revision, alert.camera.id, headers),
    )


def pending(connection: sqlite3.Connection, limit: int) -> list[OutboxRow]:
    rows = connection.execute(
        "SELECT seq, camera_id, alert_id, revision, headers, record"
        " FROM outbox JOIN revision USING (alert_id, revision) WHERE state = 'pending' ORDER BY seq LIMIT ?",
        (limit,),
    )
    decode = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
    return [
        OutboxRow(seq=seq, camera_id=camera, alert_id=alert, revision=revision, headers=decode(headers), value=record)
        for seq, camera, alert, revision, headers, record in rows
    ]


def settle(connection: sqlite3.Connection, seqs: Sequence[int], state: str, reason: str = "") -> None:
    """`state`: `sent`, or `undeliverable` with the reason."""
    now = time.time_ns()
    connection.executemany(
        "UPDATE outbox SET state = ?, reason = ?, settled_utc_ns = ? WHERE seq = ? AND state = 'pending'",
        [(state, reason, now, seq) for seq in seqs],
    )


def counts(connection: sqlite3.Connection) -> OutboxCounts:
    found = dict(connection.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())
    return OutboxCounts(**{state: found.get(state, 0) for state in ("pending", "sent", "undeliverable")})
