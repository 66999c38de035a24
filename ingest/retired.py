"""Processes of ended connections: they stay for as long as their rings are worth something to a cut."""

from __future__ import annotations

import threading
import time
from collections import deque

from ingest.process import CameraProcess

MAX_RETIRED = 2
"""Each holds a ring. When one more comes the oldest goes."""


class Retired:
    """Thread-safe. Whoever takes a process out ends it outside the lock, for that may take seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: deque[tuple[CameraProcess, float]] = deque()

    def keep(self, process: CameraProcess, for_s: float) -> None:
        with self._lock:
            self._held.append((process, time.monotonic() + for_s))

    def processes(self) -> list[CameraProcess]:
        """Oldest first."""
        with self._lock:
            return [process for process, _ in self._held]

    def clear(self, everything: bool = False) -> None:
        """Ends those whose time is over and those too many; or all."""
        over = []
        with self._lock:
            now_s = time.monotonic()
            while self._held and (everything or len(self._held) > MAX_RETIRED or self._held[0][1] <= now_s):
                over.append(self._held.popleft()[0])
        for process in over:
            process.end()


def best_holder(
    held: list[CameraProcess], open_one: CameraProcess | None, start_ns: int, end_ns: int
) -> CameraProcess | None:
    """The process whose ring covers most of a span (UTC ns), of equals the last; the open one may still grow."""
    best, most = None, -1
    for process in held:
        if process.first_utc_ns is None or process.last_utc_ns is None:
            continue
        finish = end_ns if process is open_one else process.last_utc_ns
        overlap = min(finish, end_ns) - max(process.first_utc_ns, start_ns)
        if overlap >= most:
            best, most = process, overlap
    return best
