"""What becomes of flagged windows and which alerts there are: the statements, each inside a caller's transaction."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Literal

import msgspec

from alerts import outbox
from alerts.alert import Alert, decode, encode
from alerts.cloudevent import Event
from alerts.errors import AlertInvalid, RevisionConflict, UnknownRecord, WindowEnded
from alerts.evidence_files import StoredFile, without_pictures
from alerts.evidence_names import COUNTER
from detector.window import Span, Window
from reasoner.verdict import Verdict

log = logging.getLogger(__name__)

OUTCOMES = ("alert", "rejected", "merged", "shed")
Ending = Literal["alert", "rejected", "merged", "shed"]


def start_run(db: sqlite3.Connection) -> int:
    return db.execute("INSERT INTO run (started_utc_ns) VALUES (?)", (time.time_ns(),)).lastrowid or 0


def flag(db: sqlite3.Connection, span: Span, run: int) -> bool:
    row = (span.window_id, span.camera_id, span.rule_id, run, span.start_utc_ns, span.end_utc_ns)
    added = db.execute(
        "INSERT INTO flagged (window_id, camera_id, rule_id, run, start_utc_ns, end_utc_ns, span)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*row, msgspec.json.encode(span)),
    )
    return added.rowcount == 1


def spooled(db: sqlite3.Connection, window_id: str) -> None:
    require_open(db, window_id)
    db.execute("UPDATE flagged SET spooled = 1 WHERE window_id = ?", (window_id,))


def require_open(db: sqlite3.Connection, window_id: str) -> None:
    """UnknownRecord: never flagged; WindowEnded: has its outcome."""
    row = db.execute(
        "SELECT outcome FROM flagged LEFT JOIN terminal USING (window_id) WHERE window_id = ?", (window_id,)
    ).fetchone()
    if row is None:
        raise UnknownRecord(f"window {window_id} was never flagged")
    if row[0] is not None:
        raise WindowEnded(f"window {window_id} has ended already: {row[0]}")


def unfinished(db: sqlite3.Connection, *, spooled: bool, before_run: int | None = None) -> list[str]:
    """Windows without outcome, oldest first: with evidence or without; of runs before `before_run` only, or of all."""
    rows = db.execute(
        "SELECT window_id FROM flagged WHERE spooled = ? AND run < ? AND NOT EXISTS"
        " (SELECT 1 FROM terminal WHERE terminal.window_id = flagged.window_id) ORDER BY flagged.rowid",
        (int(spooled), before_run if before_run is not None else 1 << 62),
    )
    return [row[0] for row in rows]


def end(
    db: sqlite3.Connection, window_id: str, run: int, outcome: Ending, reason: str = "",
    alert_id: str | None = None, verdict: Verdict | None = None,
) -> None:  # fmt: skip
    require_open(db, window_id)
    record = None if verdict is None else msgspec.json.encode(verdict)
    db.execute(
        "INSERT INTO terminal (window_id, run, outcome, reason, alert_id, verdict, ended_utc_ns)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (window_id, run, outcome, reason, alert_id, record, time.time_ns()),
    )


def add_alert(db: sqlite3.Connection, alert: Alert, window: Window, manifest: list[StoredFile]) -> None:
    """Revision 1 with its manifest and outbox row."""
    if alert.revision != 1 or exists(db, alert.alert_id):
        raise RevisionConflict(f"alert {alert.alert_id} revision {alert.revision} is no new alert")
    record = msgspec.msgpack.encode(without_pictures(window))
    db.execute(
        "INSERT INTO alert (alert_id, camera_id, rule_id, onset, revision, window) VALUES (?, ?, ?, ?, 1, ?)",
        (alert.alert_id, alert.camera.id, alert.rule.id, alert.time.onset, record),
    )
    _add_files(db, alert.alert_id, alert.alert_id, manifest)
    _add_revision(db, alert, None)


def retract(db: sqlite3.Connection, alert: Alert, manifest: list[StoredFile]) -> None:
    """The retracted revision with the manifest of its counter-evidence and its outbox row; RevisionConflict."""
    _add_files(db, alert.alert_id, counter_folder(alert.alert_id), manifest)
    revise(db, alert, None)


def _add_files(db: sqlite3.Connection, alert_id: str, folder: str, manifest: list[StoredFile]) -> None:
    """A folder that was intended is one of the alert's from now on."""
    db.executemany(
        "INSERT INTO evidence_file VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(alert_id, f.name, f.sha256, f.bytes, f.width, f.height, f.utc_ns, f.pts) for f in manifest],
    )
    db.execute("DELETE FROM evidence_intent WHERE alert_id = ?", (folder,))


def revise(db: sqlite3.Connection, alert: Alert, event: Event | None) -> None:
    """The next revision and its outbox row. RevisionConflict: it does not follow the stored one."""
    moved = db.execute(
        "UPDATE alert SET revision = ? WHERE alert_id = ? AND revision = ?",
        (alert.revision, alert.alert_id, alert.revision - 1),
    )
    if moved.rowcount != 1:
        raise RevisionConflict(f"alert {alert.alert_id}: revision {alert.revision} does not follow the stored one")
    _add_revision(db, alert, event)


def _add_revision(db: sqlite3.Connection, alert: Alert, event: Event | None) -> None:
    now = time.time_ns()
    db.execute("INSERT INTO revision VALUES (?, ?, ?, ?)", (alert.alert_id, alert.revision, encode(alert), now))
    outbox.add(db, alert, now, event)


def intend(db: sqlite3.Connection, window_id: str, alert_id: str) -> None:
    """Notes that an evidence folder is about to be written; RevisionConflict if it belongs to an alert already."""
    require_open(db, window_id)
    if exists(db, alert_id):
        raise RevisionConflict(f"alert {alert_id} exists already")
    db.execute("INSERT OR IGNORE INTO evidence_intent VALUES (?)", (alert_id,))


def intend_counter(db: sqlite3.Connection, window_id: str, alert: Alert) -> None:
    """Notes that counter-evidence is about to be written; RevisionConflict if the alert is no longer as it was."""
    require_open(db, window_id)
    row = db.execute("SELECT revision FROM alert WHERE alert_id = ?", (alert.alert_id,)).fetchone()
    if row is None or row[0] != alert.revision - 1:
        raise RevisionConflict(f"alert {alert.alert_id}: revision {alert.revision} does not follow the stored one")
    db.execute("INSERT OR IGNORE INTO evidence_intent VALUES (?)", (counter_folder(alert.alert_id),))


def counter_folder(alert_id: str) -> str:
    """Name among the intents; those of whole alerts are their ids."""
    return f"{alert_id}/{COUNTER}"


def intents(db: sqlite3.Connection) -> list[str]:
    """Folders of evidence that belong to no revision yet."""
    return [row[0] for row in db.execute("SELECT alert_id FROM evidence_intent")]


def forget_intents(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM evidence_intent")


def exists(db: sqlite3.Connection, alert_id: str) -> bool:
    return db.execute("SELECT 1 FROM alert WHERE alert_id = ?", (alert_id,)).fetchone() is not None


def latest_alert(db: sqlite3.Connection, camera_id: str, rule_id: str) -> Alert | None:
    """The one whose onset is last."""
    row = db.execute(
        "SELECT record FROM alert JOIN revision USING (alert_id, revision)"
        " WHERE camera_id = ? AND rule_id = ? ORDER BY onset DESC, seq DESC LIMIT 1",
        (camera_id, rule_id),
    ).fetchone()
    return None if row is None else decode(row[0])


def open_alerts(db: sqlite3.Connection) -> list[Alert]:
    """Last revisions of the alerts that are still open, the first raised first; a damaged one is left out."""
    rows = db.execute(
        "SELECT alert_id, record FROM alert JOIN revision USING (alert_id, revision)"
        """ WHERE instr(record, CAST('"state":"open"' AS BLOB)) ORDER BY seq"""
    )
    alerts: list[Alert] = []
    for alert_id, record in rows:
        try:
            alerts.append(decode(record))
        except AlertInvalid as error:
            log.error("alert %s cannot be read: %s", alert_id, error)
    return [alert for alert in alerts if alert.state == "open"]


def awaited(db: sqlite3.Connection, camera_id: str, rule_id: str) -> bool:
    """Whether a flagged window of this camera and rule has no outcome yet."""
    row = db.execute(
        "SELECT 1 FROM flagged WHERE camera_id = ? AND rule_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM terminal WHERE terminal.window_id = flagged.window_id)",
        (camera_id, rule_id),
    )
    return row.fetchone() is not None


def alerts(db: sqlite3.Connection, limit: int, before: str | None) -> list[Alert]:
    """Last revisions, the most recently raised alert first; with `before`, only those raised before that alert."""
    rows = db.execute(
        "SELECT record FROM alert JOIN revision USING (alert_id, revision) WHERE seq < ? ORDER BY seq DESC LIMIT ?",
        (_seq(db, before), limit),
    )
    return [decode(row[0]) for row in rows]


def alert_ids(db: sqlite3.Connection, limit: int, before: str | None) -> list[str]:
    rows = db.execute("SELECT alert_id FROM alert WHERE seq < ? ORDER BY seq DESC LIMIT ?", (_seq(db, before), limit))
    return [row[0] for row in rows]


def _seq(db: sqlite3.Connection, alert_id: str | None) -> int:
    """Number of an alert in order of raising; past the last one for None, 0 for an unknown alert."""
    if alert_id is None:
        return 1 << 62
    row = db.execute("SELECT seq FROM alert WHERE alert_id = ?", (alert_id,)).fetchone()
    return row[0] if row else 0


def revisions(db: sqlite3.Connection, alert_id: str) -> list[bytes]:
    """Records of every revision, the first one first."""
    rows = db.execute("SELECT record FROM revision WHERE alert_id = ? ORDER BY revision", (alert_id,))
    return [row[0] for row in rows]


def window_record(db: sqlite3.Connection, alert_id: str) -> bytes:
    """The window that raised an alert, without its pictures; UnknownRecord."""
    row = db.execute("SELECT window FROM alert WHERE alert_id = ?", (alert_id,)).fetchone()
    if row is None:
        raise UnknownRecord(f"no alert {alert_id} in the store")
    record: bytes = row[0]
    return record


def manifest(db: sqlite3.Connection, alert_id: str) -> list[StoredFile]:
    rows = db.execute(
        "SELECT name, sha256, bytes, width, height, utc_ns, pts FROM evidence_file WHERE alert_id = ? ORDER BY name",
        (alert_id,),
    )
    fields = ("name", "sha256", "bytes", "width", "height", "utc_ns", "pts")
    return [StoredFile(**dict(zip(fields, row, strict=True))) for row in rows]


def counts(db: sqlite3.Connection, run: int | None) -> dict[str, int]:
    """`flagged` and each outcome; with a run, the windows that this run flagged or ended."""
    here = "" if run is None else " WHERE run = ?"
    values = () if run is None else (run,)
    ended = dict(db.execute(f"SELECT outcome, count(*) FROM terminal{here} GROUP BY outcome", values).fetchall())
    flagged = db.execute(
        "SELECT count(*) FROM flagged"
        + ("" if run is None else " LEFT JOIN terminal USING (window_id) WHERE flagged.run = ? OR terminal.run = ?"),
        values * 2,
    ).fetchone()[0]
    return {"flagged": flagged} | {outcome: ended.get(outcome, 0) for outcome in OUTCOMES}
