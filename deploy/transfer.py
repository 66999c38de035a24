"""Files of one commit into one folder: over as many connections as it takes, each compared with its hash."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from deploy.errors import PullFailed, PullInterrupted
from deploy.hub import Hub
from reasoner.pulled import Manifest, PulledFile

PARTIAL = ".partial"
T = TypeVar("T")


class Patience(NamedTuple):
    """How often a file is tried without a byte arriving, and the first pause, which doubles."""

    attempts: int = 6
    pause_s: float = 1.0
    longest_s: float = 60.0


PATIENCE = Patience()


class Counter:
    """Bytes that have come, as a share of all."""

    def __init__(self, total: int, progress: Callable[[float], None]) -> None:
        self._total, self._come, self._progress = max(1, total), 0, progress

    def __call__(self, count: int) -> None:
        self._come += count
        self._progress(self._come / self._total)


class Transfer:
    """Files of one commit into one folder."""

    def __init__(self, hub: Hub, manifest: Manifest, folder: Path, patience: Patience) -> None:
        self._hub, self._manifest, self._folder, self._patience = hub, manifest, folder, patience

    def file(self, file: PulledFile, on_bytes: Callable[[int], None]) -> PulledFile:
        """One file, there already or fetched → with its SHA-256. Damage is fetched anew once, then an error."""
        target = self._folder / file.name
        if target.is_file() and target.stat().st_size == file.size:
            found = _hashed(target, file)
            if found is not None:
                on_bytes(file.size)
                return found
        partial = self._folder / (file.name + PARTIAL)
        for last in (False, True):
            self._complete(partial, file, on_bytes)
            found = _hashed(partial, file)
            if found is not None:
                partial.replace(target)
                return found
            partial.unlink()
            if not last:
                on_bytes(-file.size)
        raise PullFailed(f"{self._hub.site} gives {file.name} with another hash than it states; try another mirror")

    def _complete(self, partial: Path, file: PulledFile, on_bytes: Callable[[int], None]) -> None:
        """The partial file up to its full size, over as many connections as it takes."""
        if partial.exists() and partial.stat().st_size > file.size:
            partial.unlink()
        with partial.open("ab") as stream:
            on_bytes(stream.tell())

            def go_on() -> None:
                if stream.seek(0, os.SEEK_END) < file.size or not file.size:
                    self._hub.fetch(self._manifest.name, self._manifest.revision, file, stream, on_bytes)

            patiently(go_on, self._patience, lambda: stream.seek(0, os.SEEK_END))
            stream.flush()
            os.fsync(stream.fileno())


def patiently(work: Callable[[], T], patience: Patience, come: Callable[[], int] = lambda: 0) -> T:
    """Try again with growing pauses while the site is out of reach; every byte that comes renews the patience."""
    failures, before = 0, come()
    while True:
        try:
            return work()
        except PullInterrupted as error:
            if (now := come()) > before:
                failures, before = 0, now
            failures += 1
            if failures >= patience.attempts:
                raise PullFailed(f"{error}; run the same command again later, it goes on from here") from error
            time.sleep(min(patience.longest_s, max(error.pause_s, patience.pause_s * 2 ** (failures - 1))))


def _hashed(path: Path, file: PulledFile) -> PulledFile | None:
    """With its SHA-256, when the file is what the site states; None when it is not."""
    if path.stat().st_size != file.size:
        return None
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            sha256.update(piece)
            if file.blob_sha1:
                sha1.update(piece)
    digest = sha256.hexdigest()
    same = digest == file.sha256 if file.sha256 else sha1.hexdigest() == file.blob_sha1
    return msgspec.structs.replace(file, sha256=digest) if same else None
