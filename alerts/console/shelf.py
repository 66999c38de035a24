"""What the console reads of the store: records as JSON, and evidence files only while they match their hash."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from alerts.console.errors import EvidenceAltered
from alerts.evidence_names import CLIP, evidence_uri, frame_name

Record = Mapping[str, Any]
"""A published alert as plain JSON values: the field list is alert/1.0."""

_ALERT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MAX_FRAME_BYTES = 16 << 20
_KEPT_DIGESTS = 256


class AlertStore(Protocol):
    """The part of `alerts.store.Store` that is needed here."""

    def alerts(self, limit: int = ..., before: str | None = ...) -> Sequence[object]:
        """Newest first; with `before`, those older than that alert."""

    def alert(self, alert_id: str) -> object | None: ...

    @property
    def data(self) -> Path:
        """The data folder, to which the records' `uri` are relative."""


class Shelf:
    """Read-only and thread-safe as far as the store is."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._digests: OrderedDict[tuple[str, int, int], str] = OrderedDict()

    def page(self, limit: int, before: str | None) -> dict[str, object]:
        """`alerts` newest first and `next`, which asks for the older ones; None when there are none."""
        found = [_plain(alert) for alert in self._store.alerts(limit=limit + 1, before=before)]
        shown = found[:limit]
        return {"alerts": shown, "next": shown[-1]["alert_id"] if len(found) > limit else None}

    def record(self, alert_id: str) -> Record | None:
        if not _ALERT_ID.fullmatch(alert_id):
            return None
        alert = self._store.alert(alert_id)
        return None if alert is None else _plain(alert)

    def frame(self, alert_id: str, index: int) -> bytes | None:
        """JPEG of one frame that the alert names as evidence, byte for byte; None when it names no such frame.

        Raises EvidenceAltered when the stored bytes are not those of the hash, or are gone.
        """
        record = self.record(alert_id)
        digest = None if record is None else _frame_digests(record).get(index)
        if digest is None:
            return None
        path = self._store.data / evidence_uri(alert_id, frame_name(index))
        try:
            size = path.stat().st_size
            jpeg = path.read_bytes() if size <= _MAX_FRAME_BYTES else b""
        except OSError:
            raise EvidenceAltered(f"frame {index} of alert {alert_id} is not in the store any more") from None
        if hashlib.sha256(jpeg).hexdigest() != digest:
            raise EvidenceAltered(f"frame {index} of alert {alert_id} does not match its recorded hash")
        return jpeg

    def clip(self, alert_id: str) -> Path | None:
        """The alert's MP4; None when it has none (yet). Raises EvidenceAltered as `frame` does."""
        record = self.record(alert_id)
        clip = {} if record is None else record["media"].get("clip") or {}
        if clip.get("status") != "ready":
            return None
        path = self._store.data / evidence_uri(alert_id, CLIP)
        try:
            digest = self._digest(path)
        except OSError:
            raise EvidenceAltered(f"the clip of alert {alert_id} is not in the store any more") from None
        if digest != clip["sha256"]:
            raise EvidenceAltered(f"the clip of alert {alert_id} does not match its recorded hash")
        return path

    def _digest(self, path: Path) -> str:
        """Of the whole file; computed again only when the file's size or time of change differs."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        with self._lock:
            if key in self._digests:
                self._digests.move_to_end(key)
                return self._digests[key]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with self._lock:
            self._digests[key] = digest
            while len(self._digests) > _KEPT_DIGESTS:
                self._digests.popitem(last=False)
        return digest


def _plain(alert: object) -> Record:
    record: Record = msgspec.to_builtins(alert)
    return record


def _frame_digests(record: Record) -> dict[int, str]:
    shown = [*record.get("evidence", ()), *record.get("counter_evidence", ())]
    return {piece["frame"]["index_in_window"]: piece["frame"]["sha256"] for piece in shown}
