"""The embedded store: flagged windows, alerts with their evidence, and the outbox, in one folder.

    DATA/witness.db       SQLite in WAL mode: windows, outcomes, alerts, revisions, manifests, outbox
    DATA/spool/           evidence of windows without outcome
    DATA/evidence/ID/     evidence of alerts, in `counter` what argues against them
    DATA/reserve          room for the last rows when the disk is full

A file is on the disk before the row that names it, and a window's outcome, the alert's revision and its outbox row are
one transaction: whenever the process is killed, each flagged window has its outcome or can still be finished.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import msgspec

from alerts import database, ledger, outbox
from alerts.alert import Alert, decode
from alerts.cloudevent import Event
from alerts.config import StoreConfig
from alerts.data_folder import WriterLock, sync_folder
from alerts.errors import EvidenceLost, StoreUnusable, UnknownRecord
from alerts.evidence_files import EvidenceFiles, StoredFile, both_names
from alerts.evidence_names import CLIP, EVIDENCE, counter_name, frame_name
from alerts.outbox import OutboxCounts, OutboxRow
from alerts.policy import closed
from alerts.review import Said, reviewed
from alerts.spool import Spool
from alerts.transactions import Transactions
from detector.window import Span, Window
from reasoner.verdict import Verdict


class Store:
    """Thread-safe. One process writes to a folder; any number may read it (`read_only`) meanwhile."""

    def __init__(self, data: Path, config: StoreConfig, lock: WriterLock | None, transactions: Transactions) -> None:
        """Use `Store.open`."""
        self.data = data
        self._lock, self._tx = lock, transactions
        self._spool, self._evidence = Spool(data, config), EvidenceFiles(data)
        self._raising = threading.Lock()
        self._watchers: list[Callable[[Alert], None]] = []
        self.run = 0
        """Number of this run; 0 when read-only."""

    @classmethod
    def open(
        cls, data: Path, config: StoreConfig | None = None, *, read_only: bool = False, beside: bool = False
    ) -> Store:
        """Creates the folder where needed. StoreBusy: another process writes there; StoreMissing: nothing to read;
        StoreUnusable: damaged, foreign, newer, or evidence without its database.

        beside: only to add reviews, also while the node runs: no run is begun and no file is touched.
        """
        config = config or StoreConfig()
        if read_only or beside:
            database.connect(data, read_only=True).close()
            return cls(data, config, None, Transactions(data, read_only=read_only))
        lock = WriterLock(data)
        try:
            if not (data / database.FILE).exists() and any((data / EVIDENCE).glob("*-*")):
                raise StoreUnusable(f"{data} holds evidence but no {database.FILE}; restore it or use another folder")
            store = cls(data, config, lock, Transactions(data, read_only=False))
            store._begin()
        except BaseException:
            lock.release()
            raise
        return store

    def _begin(self) -> None:
        """Starts a run: what a crash left half written is removed."""
        self._spool.folder.mkdir(exist_ok=True)
        self._evidence.folder.mkdir(exist_ok=True)
        sync_folder(self.data)
        self.run = self._tx.change(ledger.start_run)
        self._evidence.remove(self._tx.read(ledger.intents))
        self._tx.change(ledger.forget_intents)
        self._spool.sweep({*self._unfinished(spooled=True), *self._unfinished(spooled=False)})

    def close(self) -> None:
        """Waits for the change that is going on; the store is unusable afterwards."""
        self._tx.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    # Windows

    def flag(self, span: Span) -> bool:
        """False if that window is already known; otherwise it now must end in one of the four outcomes."""
        return self._tx.change(lambda db: ledger.flag(db, span, self.run))

    def put_window(self, window: Window) -> None:
        """Spools the evidence of a flagged window durably. StoreFull: no room; shed it then."""
        self._tx.read(lambda db: ledger.require_open(db, window.window_id))
        self._spool.put(window)
        self._tx.change(lambda db: ledger.spooled(db, window.window_id))

    def load_window(self, window_id: str) -> Window:
        """EvidenceLost: its evidence is gone or damaged; shed it then."""
        return self._spool.load(window_id)

    def unfinished(self) -> list[str]:
        """Windows whose evidence is stored and that have no outcome, oldest first."""
        return self._unfinished(spooled=True)

    def recover(self) -> int:
        """Ends the windows of earlier runs whose evidence a crash took as shed, `evidence_lost`; how many. Those whose
        evidence was stored but not yet noted are kept and become `unfinished`."""
        lost = 0
        for spooled in (False, True):
            for window_id in self._unfinished(spooled=spooled, before_run=self.run):
                try:
                    self._spool.load(window_id)
                except EvidenceLost:
                    self.shed(window_id, "evidence_lost")
                    lost += 1
                else:
                    self._tx.change(partial(ledger.spooled, window_id=window_id))
        return lost

    def shed(self, window_id: str, reason: str) -> None:
        """Ends a window that was not examined, in one word why."""
        self._tx.change(lambda db: ledger.end(db, window_id, self.run, "shed", reason))
        self._spool.drop(window_id)

    def reject(self, window_id: str, verdict: Verdict, reason: str = "") -> None:
        """Ends a window that is no alert; the verdict is kept, its evidence is not."""
        reason = reason or next(iter(verdict.reasons), "answer_no")
        self._tx.change(lambda db: ledger.end(db, window_id, self.run, "rejected", reason, None, verdict))
        self._spool.drop(window_id)

    # Alerts

    def raise_alert(self, window_id: str, alert: Alert, verdict: Verdict | None = None) -> None:
        """Ends a window as a new alert: evidence files first, then outcome, revision 1, manifest and outbox row in one
        transaction. EvidenceLost, StoreFull, RevisionConflict: nothing has changed."""
        window = self._spool.load(window_id)

        def write(db: sqlite3.Connection) -> None:
            ledger.add_alert(db, alert, window, manifest)
            ledger.end(db, window_id, self.run, "alert", "", alert.alert_id, verdict)

        with self._raising:  # nobody else may see this folder as an unfinished one
            self._tx.change(lambda db: ledger.intend(db, window_id, alert.alert_id))
            manifest = self._evidence.put(alert.alert_id, window)
            self._tx.change(write)
        self._spool.drop(window_id)
        self._tell(alert)

    def merge(self, window_id: str, alert: Alert, verdict: Verdict | None = None) -> None:
        """Ends a window as one more occurrence: outcome, next revision and outbox row in one transaction. The alert
        keeps the evidence of its first window. RevisionConflict: it does not follow the stored revision."""

        def write(db: sqlite3.Connection) -> None:
            ledger.revise(db, alert, None)
            ledger.end(db, window_id, self.run, "merged", "", alert.alert_id, verdict)

        self._tx.change(write)
        self._spool.drop(window_id)
        self._tell(alert)

    def retract(self, window_id: str, alert: Alert, verdict: Verdict) -> None:
        """Ends a window as rejected and takes the alert back that it contradicts: the files of its counter-evidence
        first, then outcome, last revision, their manifest and outbox row in one transaction. EvidenceLost, StoreFull,
        RevisionConflict: nothing has changed."""
        window = self._spool.load(window_id)
        frames = sorted({item.frame.index_in_window for item in alert.counter_evidence})
        reason = next(iter(verdict.reasons), "answer_no")

        def write(db: sqlite3.Connection) -> None:
            ledger.retract(db, alert, manifest)
            ledger.end(db, window_id, self.run, "rejected", reason, None, verdict)

        with self._raising:
            self._tx.change(lambda db: ledger.intend_counter(db, window_id, alert))
            try:
                manifest = self._evidence.put_counter(alert.alert_id, window, frames)
                self._tx.change(write)
            except BaseException:
                self._evidence.remove([ledger.counter_folder(alert.alert_id)])
                raise
        self._spool.drop(window_id)
        self._tell(alert)

    def close_alert(self, alert_id: str) -> Alert | None:
        """Adds the revision `closed` to the last one, whichever that is by then. None: it is not open, or a flagged
        window that may belong to it has no outcome yet. UnknownRecord: no such alert."""

        def write(db: sqlite3.Connection) -> Alert | None:
            alert = _last(db, alert_id)
            if alert.state != "open" or ledger.awaited(db, alert.camera.id, alert.rule.id):
                return None
            alert = closed(alert)
            ledger.revise(db, alert, None)
            return alert

        alert = self._tx.change(write)
        if alert is not None:
            self._tell(alert)
        return alert

    def revise(self, alert: Alert, event: Event | None = None) -> None:
        """Adds a revision that no window caused (a review, a closing) and its outbox row."""
        self._tx.change(lambda db: ledger.revise(db, alert, event))
        self._tell(alert)

    def review(self, alert_id: str, said: Said, by: str = "", note: str = "") -> Alert:
        """Adds what a person says to the last revision, whichever that is by then, and an outbox row `reviewed`.
        UnknownRecord: no such alert."""

        def write(db: sqlite3.Connection) -> Alert:
            alert = reviewed(_last(db, alert_id), said, time.time_ns(), by, note)
            ledger.revise(db, alert, "reviewed")
            return alert

        alert = self._tx.change(write)
        self._tell(alert)
        return alert

    def watch(self, callback: Callable[[Alert], None]) -> None:
        """Calls back after each stored revision, on the thread that stored it; must return quickly and not raise."""
        self._watchers.append(callback)

    def latest_alert(self, camera_id: str, rule_id: str) -> Alert | None:
        return self._tx.read(lambda db: ledger.latest_alert(db, camera_id, rule_id))

    def open_alerts(self) -> list[Alert]:
        """Last revisions of the alerts that are still open, the first raised first."""
        return self._tx.read(ledger.open_alerts)

    def alerts(self, limit: int = 100, before: str | None = None) -> list[Alert]:
        """Last revisions, newest first; with `before`, those raised before that alert."""
        return self._tx.read(lambda db: ledger.alerts(db, limit, before))

    def alert(self, alert_id: str) -> Alert | None:
        """Its last revision."""
        records = self.records(alert_id)
        return decode(records[-1]) if records else None

    def revisions(self, alert_id: str) -> list[Alert]:
        """The first one first."""
        return [decode(record) for record in self.records(alert_id)]

    def records(self, alert_id: str) -> list[bytes]:
        """The revisions as they are stored and published, JSON."""
        return self._tx.read(lambda db: ledger.revisions(db, alert_id))

    def alert_ids(self, limit: int, before: str | None = None) -> list[str]:
        """Like `alerts`, without reading the records."""
        return self._tx.read(lambda db: ledger.alert_ids(db, limit, before))

    def counts(self, *, this_run: bool = False) -> dict[str, int]:
        """`flagged`, `alert`, `rejected`, `merged`, `shed`; this run's include windows it ended for earlier runs."""
        return self._tx.read(lambda db: ledger.counts(db, self.run if this_run else None))

    # Evidence

    def manifest(self, alert_id: str) -> list[StoredFile]:
        return self._tx.read(lambda db: ledger.manifest(db, alert_id))

    def being_written(self) -> set[str]:
        """Names of evidence folders that belong to no alert yet, or were left by a crash since the last start:
        `ALERT_ID`, or `ALERT_ID/counter` inside of an alert's."""
        return {folder for name in self._tx.read(ledger.intents) for folder in both_names(name)}

    def evidence_folder(self, alert_id: str) -> Path:
        return self._evidence.folder / alert_id

    def frame_path(self, alert_id: str, index: int) -> Path:
        """File of one fine frame of the alert's window; whether it exists is not checked."""
        return self.evidence_folder(alert_id) / frame_name(index)

    def counter_path(self, alert_id: str, index: int) -> Path:
        """File of one fine frame of the window that contradicts the alert; whether it exists is not checked."""
        return self.evidence_folder(alert_id) / counter_name(index)

    def clip_path(self, alert_id: str) -> Path:
        return self.evidence_folder(alert_id) / CLIP

    def window(self, alert_id: str) -> Window:
        """The window that raised an alert, with its stored pictures. UnknownRecord; EvidenceLost: a file is missing."""
        record = self._tx.read(lambda db: ledger.window_record(db, alert_id))
        return self._evidence.window(alert_id, msgspec.msgpack.decode(record, type=Window))

    # Outbox

    def outbox_pending(self, limit: int) -> list[OutboxRow]:
        """Oldest first."""
        return self._tx.read(lambda db: outbox.pending(db, limit))

    def outbox_sent(self, seqs: Sequence[int]) -> None:
        self._tx.change(lambda db: outbox.settle(db, seqs, "sent"))

    def outbox_undeliverable(self, seq: int, reason: str) -> None:
        """Takes a record out of the way that no broker will ever accept."""
        self._tx.change(lambda db: outbox.settle(db, [seq], "undeliverable", reason))

    def outbox_counts(self) -> OutboxCounts:
        return self._tx.read(outbox.counts)

    def _unfinished(self, *, spooled: bool, before_run: int | None = None) -> list[str]:
        return self._tx.read(lambda db: ledger.unfinished(db, spooled=spooled, before_run=before_run))

    def _tell(self, alert: Alert) -> None:
        for callback in self._watchers:
            callback(alert)


def _last(db: sqlite3.Connection, alert_id: str) -> Alert:
    records = ledger.revisions(db, alert_id)
    if not records:
        raise UnknownRecord(f"no alert {alert_id} in the store")
    return decode(records[-1])
