"""One thread that owns a device: work is started in order, a few pieces at once, and finished in order.

A CUDA context of pycuda belongs to the thread that made it, down to the freeing of its memory
(https://documen.tician.de/pycuda/driver.html), so callers of all threads hand their work to this one.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

log = logging.getLogger(__name__)

R = TypeVar("R")
Launch = Callable[[], Callable[[], R]]
"""Starts a piece of work; what it returns waits for the end and gives the result. Both run in the lane's thread."""


class LaneClosed(Exception):
    """Work was handed in after `close`."""


class Lane:
    def __init__(self, name: str, holding: Callable[[], AbstractContextManager[Any]], depth: int) -> None:
        """holding: entered in the thread before the first piece, left after the last. depth: pieces under way at most.

        Raises what entering raises.
        """
        self._holding = holding
        self._depth = depth
        self._jobs: queue.SimpleQueue[tuple[Launch[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        began: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(began,), name=name, daemon=True)
        self._thread.start()
        began.result()

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self, launch: Launch[R]) -> Future[R]:
        """Hands in a piece of work. Raises LaneClosed."""
        done: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise LaneClosed
            self._jobs.put((launch, done))
        return done

    def run(self, work: Callable[[], R]) -> R:
        """Runs one thing in the thread, and waits for it."""

        def launch() -> Callable[[], R]:
            result = work()
            return lambda: result

        return self.start(launch).result()

    def close(self) -> None:
        """Finishes what was handed in, and ends the thread. Twice is harmless."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self, began: Future[None]) -> None:
        try:
            with self._holding():
                began.set_result(None)
                self._loop()
        except BaseException as error:  # noqa: BLE001 - the caller's, or nobody's: a thread has no one to raise it to
            if not began.done():
                began.set_exception(error)
                return
            # All work is done by then; a device that was lost in between cannot be left in order.
            log.error("%s: the device could not be left in order: %s", threading.current_thread().name, error)

    def _loop(self) -> None:
        under_way: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        while True:
            try:
                # With work under way the device is waited for, not the next caller.
                job = self._jobs.get(block=not under_way)
            except queue.Empty:
                _finish(*under_way.popleft())
                continue
            if job is None:
                break
            if len(under_way) == self._depth:
                _finish(*under_way.popleft())
            launch, done = job
            try:
                under_way.append((launch(), done))
            except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it whole
                done.set_exception(error)
        while under_way:
            _finish(*under_way.popleft())


def _finish(finish: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(finish())
    except Exception as error:  # noqa: BLE001 - as above
        done.set_exception(error)
