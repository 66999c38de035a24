"""The SQLite file: its tables, how it is opened, and SQLite's errors in the store's own words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alerts.errors import StoreError, StoreFull, StoreMissing, StoreUnusable

FILE = "witness.db"
APPLICATION_ID = 0x57544E53
"""`WTNS`: how SQLite tells our database from anybody else's."""
VERSION = 1
_TABLES = """
CREATE TABLE run (run INTEGER PRIMARY KEY AUTOINCREMENT, started_utc_ns INTEGER NOT NULL);

CREATE TABLE flagged (
    window_id TEXT PRIMARY KEY, camera_id TEXT NOT NULL, rule_id TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run,
    start_utc_ns INTEGER NOT NULL, end_utc_ns INTEGER NOT NULL, span BLOB NOT NULL,
    spooled INTEGER NOT NULL DEFAULT 0 CHECK (spooled IN (0, 1))
);

-- The primary key is the invariant: a window ends once.
CREATE TABLE terminal (
    window_id TEXT PRIMARY KEY REFERENCES flagged, run INTEGER NOT NULL REFERENCES run,
    outcome TEXT NOT NULL CHECK (outcome IN ('alert', 'rejected', 'merged', 'shed')),
    reason TEXT NOT NULL, alert_id TEXT REFERENCES alert (alert_id), verdict BLOB, ended_utc_ns INTEGER NOT NULL,
    CHECK ((alert_id IS NOT NULL) = (outcome IN ('alert', 'merged')))
);
CREATE INDEX terminal_outcome ON terminal (outcome);
CREATE INDEX terminal_alert ON terminal (alert_id);

CREATE TABLE alert (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, alert_id TEXT NOT NULL UNIQUE, camera_id TEXT NOT NULL,
    rule_id TEXT NOT NULL, onset TEXT NOT NULL, revision INTEGER NOT NULL, window BLOB NOT NULL
);
CREATE INDEX alert_camera_rule ON alert (camera_id, rule_id, onset);

CREATE TABLE revision (
    alert_id TEXT NOT NULL REFERENCES alert (alert_id), revision INTEGER NOT NULL, record BLOB NOT NULL,
    recorded_utc_ns INTEGER NOT NULL, PRIMARY KEY (alert_id, revision)
) WITHOUT ROWID;

CREATE TABLE evidence_file (
    alert_id TEXT NOT NULL REFERENCES alert (alert_id), name TEXT NOT NULL, sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL, width INTEGER, height INTEGER, utc_ns INTEGER, pts INTEGER, PRIMARY KEY (alert_id, name)
) WITHOUT ROWID;

-- Evidence folders being written: after a crash these, and only these, may be removed.
CREATE TABLE evidence_intent (alert_id TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, alert_id TEXT NOT NULL, revision INTEGER NOT NULL,
    camera_id TEXT NOT NULL, headers BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'undeliverable')),
    reason TEXT NOT NULL DEFAULT '', settled_utc_ns INTEGER,
    FOREIGN KEY (alert_id, revision) REFERENCES revision (alert_id, revision)
);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE state = 'pending';
"""


def connect(data: Path, *, read_only: bool) -> sqlite3.Connection:
    """The opened database in autocommit mode, checked and with its tables.

    StoreMissing: nothing to read; StoreUnusable: not ours, newer than us, or damaged.
    """
    path = data / FILE
    if read_only and not path.exists():
        raise StoreMissing(f"no alerts are stored in {data}; name the folder that `witness run` or `demo` wrote to")
    with translated(data):
        mode = "ro" if read_only else "rwc"
        address = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(address, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        with translated(data):
            _check(connection, data)
            if not read_only:
                _prepare(connection)
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, data: Path) -> None:
    application, version, tables = (
        connection.execute(sql).fetchone()[0]
        for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if tables == 0 and application in (0, APPLICATION_ID):
        return
    if application != APPLICATION_ID:
        raise StoreUnusable(f"{data / FILE} belongs to another program; use another data folder")
    if version > VERSION:
        raise StoreUnusable(f"{data / FILE} has schema {version}, this Witness knows {VERSION}; update Witness")


def _prepare(connection: sqlite3.Connection) -> None:
    """Write-ahead log, every commit on the disk before it is acknowledged, and a look for damage."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            f"{_TABLES} COMMIT;"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"quick_check: {found}")


@contextmanager
def translated(data: Path) -> Iterator[None]:
    """SQLite's errors inside become StoreFull, StoreUnusable or StoreError, in one line."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR"):
            raise StoreFull(f"cannot write to {data / FILE} ({detail}); free space on its disk") from error
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_AUTH")):
            raise StoreUnusable(f"cannot open {data / FILE} ({detail}); check its permissions") from error
        if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError) and "malformed" not in detail:
            raise StoreError(f"{data / FILE}: {detail}; try again, and check the disk if it happens again") from error
        raise StoreUnusable(
            f"{data / FILE} is damaged or no database ({detail}); restore it from a backup or use another data folder"
        ) from error
