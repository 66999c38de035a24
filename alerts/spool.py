"""Evidence of windows that have no outcome yet: one file each, whole or not there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Container
from pathlib import Path

import msgspec

from alerts.config import StoreConfig
from alerts.data_folder import sync_folder, write_durably
from alerts.errors import EvidenceLost, StoreFull
from detector.window import Window

_MAGIC = b"WTNSWIN1"
_SUFFIX = ".window"
_HEAD = len(_MAGIC) + 32


class Spool:
    """Bounded by `spool_mib` and by the room left on the disk: a window that does not fit is refused."""

    def __init__(self, data: Path, config: StoreConfig) -> None:
        self.folder, self._config = data / "spool", config

    def put(self, window: Window) -> None:
        """On the disk when it returns. StoreFull: over the bound, or too little room on the disk."""
        body = msgspec.msgpack.encode(window)
        used = sum(self._bytes(path) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem != window.window_id)
        if used + len(body) > self._config.spool_mib << 20:
            raise StoreFull(f"spool {self.folder} holds {used >> 20} MiB of {self._config.spool_mib} MiB already")
        free = shutil.disk_usage(self.folder).free
        if free - len(body) < self._config.min_free_mib << 20:
            raise StoreFull(f"{free >> 20} MiB are free at {self.folder}, {self._config.min_free_mib} must stay free")
        write_durably(self._path(window.window_id), _MAGIC + hashlib.sha256(body).digest() + body)
        sync_folder(self.folder)

    def load(self, window_id: str) -> Window:
        """EvidenceLost: not there, or not what was written."""
        try:
            data = self._path(window_id).read_bytes()
        except OSError as error:
            raise EvidenceLost(f"the evidence of window {window_id} cannot be read ({error.strerror})") from None
        if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(data[_HEAD:]).digest() != data[len(_MAGIC) : _HEAD]:
            raise EvidenceLost(f"the evidence of window {window_id} is damaged")
        try:
            return msgspec.msgpack.decode(data[_HEAD:], type=Window)
        except msgspec.MsgspecError:
            raise EvidenceLost(f"the evidence of window {window_id} was written by another Witness") from None

    def drop(self, window_id: str) -> None:
        self._path(window_id).unlink(missing_ok=True)

    def sweep(self, wanted: Container[str]) -> int:
        """Removes what a crash left behind: everything but the windows that are wanted; says how many files."""
        removed = 0
        for file in self.folder.iterdir():
            if file.name.startswith(".partial-") or (file.suffix == _SUFFIX and file.stem not in wanted):
                file.unlink(missing_ok=True)
                removed += 1
        return removed

    def _bytes(self, path: Path) -> int:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0  # its window ended just now

    def _path(self, window_id: str) -> Path:
        return self.folder / f"{window_id}{_SUFFIX}"
