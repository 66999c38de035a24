"""Rendered cameras on disk, so that a scene is rendered and encoded once. Bounded; the least recently used go first."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

SUFFIX = ".scene"
LIMIT_BYTES = 1 << 30

Record = TypeVar("Record")


def default_folder() -> Path:
    """XDG_CACHE_HOME/witness/scenes, below ~/.cache where that is not set."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "witness" / "scenes"


class SceneCache:
    """MessagePack files in one folder. Several processes may share it: files appear whole or not at all."""

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder or default_folder()
        self._limit_bytes = limit_bytes

    def get(self, key: str, kind: type[Record]) -> Record | None:
        """The record under this key; None where there is none, or none that can be read."""
        path = self._path(key)
        try:
            record = msgspec.msgpack.decode(path.read_bytes(), type=kind)
            os.utime(path, ns=(time.time_ns(),) * 2)
        except (OSError, msgspec.DecodeError):
            return None
        return record

    def put(self, key: str, record: object) -> None:
        """Raises OSError where the folder cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            draft.write_bytes(msgspec.msgpack.encode(record))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._evict(keep=path)

    def _path(self, key: str) -> Path:
        return self._folder / (key + SUFFIX)

    def _evict(self, keep: Path) -> None:
        held: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process was quicker
            held.append((status.st_mtime, status.st_size, path))
        too_much = sum(size for _, size, _ in held) - self._limit_bytes
        for _, size, path in sorted(held):
            if too_much <= 0:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                too_much -= size
