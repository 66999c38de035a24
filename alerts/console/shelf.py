"""What the console reads of the store: alerts, and evidence files only while they match their hash."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from alerts.alert import Alert
from alerts.claim import EvidenceItem
from alerts.console.errors import EvidenceAltered
from alerts.store import Store

_ALERT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MAX_FRAME_BYTES = 16 << 20
_KEPT_DIGESTS = 256


class Shelf:
    """Read-only and thread-safe, as the store is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._digests: OrderedDict[tuple[Path, int, int], str] = OrderedDict()

    def page(self, limit: int, before: str | None) -> tuple[list[Alert], str | None]:
        """Alerts newest first, and the id with which to ask for the older ones; None when there are none."""
        found = self._store.alerts(limit + 1, before)
        return found[:limit], found[limit - 1].alert_id if len(found) > limit else None

    def alert(self, alert_id: str) -> Alert | None:
        """None also for what cannot be an id: no other text ever becomes part of a path."""
        return self._store.alert(alert_id) if _ALERT_ID.fullmatch(alert_id) else None

    def frame(self, alert_id: str, index: int) -> bytes | None:
        """JPEG of one frame that the alert names as evidence, byte for byte; None when it names no such frame.

        Raises EvidenceAltered when the stored bytes are not those of the hash, or are gone.
        """
        alert = self.alert(alert_id)
        digest = None if alert is None else _digests(alert.evidence).get(index)
        if digest is None:
            return None
        return _unaltered(self._store.frame_path(alert_id, index), digest, f"frame {index} of alert {alert_id}")

    def counter_frame(self, alert_id: str, index: int) -> bytes | None:
        """The same of a frame that the alert names as counter-evidence."""
        alert = self.alert(alert_id)
        digest = None if alert is None else _digests(alert.counter_evidence).get(index)
        if digest is None:
            return None
        what = f"counter-evidence {index} of alert {alert_id}"
        return _unaltered(self._store.counter_path(alert_id, index), digest, what)

    def clip(self, alert_id: str) -> Path | None:
        """The alert's MP4; None when it has none (yet). Raises EvidenceAltered as `frame` does."""
        alert = self.alert(alert_id)
        if alert is None or alert.media.clip.status != "ready":
            return None
        path = self._store.clip_path(alert_id)
        try:
            digest = self._digest(path)
        except OSError:
            raise EvidenceAltered(f"the clip of alert {alert_id} is not in the store any more") from None
        if digest != alert.media.clip.sha256:
            raise EvidenceAltered(f"the clip of alert {alert_id} does not match its recorded hash")
        return path

    def _digest(self, path: Path) -> str:
        """Of the whole file; a player asks for it piece by piece, so it is computed again only when the file's size
        or time of change differs."""
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns)
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


def _digests(items: Iterable[EvidenceItem]) -> dict[int, str]:
    return {item.frame.index_in_window: item.frame.sha256 for item in items}


def _unaltered(path: Path, digest: str, what: str) -> bytes:
    try:
        jpeg = path.read_bytes() if path.stat().st_size <= _MAX_FRAME_BYTES else b""
    except OSError:
        raise EvidenceAltered(f"{what} is not in the store any more") from None
    if hashlib.sha256(jpeg).hexdigest() != digest:
        raise EvidenceAltered(f"{what} does not match its recorded hash")
    return jpeg
