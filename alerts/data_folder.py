"""The data folder: one writer at a time, files that survive a power cut, and a reserve for a full disk."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType

from alerts.errors import StoreBusy, StoreFull, StoreUnusable

RESERVE_BYTES = 4 << 20


class WriterLock:
    """Held by the one process that writes to a data folder; the kernel frees it however that process ends."""

    def __init__(self, data: Path) -> None:
        """StoreBusy: another process holds it; StoreUnusable: the folder cannot be written."""
        try:
            data.mkdir(parents=True, exist_ok=True)
            self._file = (data / "witness.lock").open("a+")
        except OSError as error:
            raise StoreUnusable(f"cannot write to data folder {data} ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise StoreBusy(f"data folder {data} is in use by process {holder}; stop it or name another one") from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        self._file.close()


class Reserve:
    """A file that only takes room: removed when the disk is full, so that what is going on can still be ended."""

    def __init__(self, data: Path) -> None:
        self._path = data / "reserve"

    def fill(self) -> None:
        """Takes the room; on a disk without it, does without."""
        if self._path.exists() and self._path.stat().st_size == RESERVE_BYTES:
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self._path.unlink(missing_ok=True)

    def release(self) -> bool:
        """Whether there was room to give back."""
        if not self._path.exists():
            return False
        self._path.unlink()
        return True


class Scaffold:
    """A folder under construction: it has its name only once every file in it is on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._partial = folder, folder.with_name(f".partial-{folder.name}")

    def __enter__(self) -> Path:
        for leftover in (self._partial, self._folder):
            shutil.rmtree(leftover, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self._partial

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        sync_folder(self._partial)
        self._partial.rename(self._folder)
        sync_folder(self._folder.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Writes, flushes to the disk, then gives the file its name. StoreFull: no room."""
    partial = path.with_name(f".partial-{path.name}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise StoreFull(f"cannot write {path} ({error.strerror}); free space on its disk") from None
        raise


def sync_folder(folder: Path) -> None:
    """Names inside a folder are on the disk afterwards."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
