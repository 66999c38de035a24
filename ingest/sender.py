"""The camera process's mouth: one thread that writes to the parent, so that a slow parent never stalls the camera."""

from __future__ import annotations

import threading
from collections import deque

from ingest.frame import CoarseFrame
from ingest.wire import Beat, Coarse, Order, Report, Wire

MAX_COARSE = 4
"""Coarse frames that wait for the parent; when full the oldest one goes."""


class Sender:
    """Coarse frames and beats are replaceable: the newest win. Everything else is sent whatever it takes."""

    def __init__(self, wire: Wire[Order]) -> None:
        self._wire = wire
        self._wake = threading.Condition()
        self._coarse: deque[CoarseFrame] = deque()
        self._others: deque[Report] = deque()
        self._beat: Beat | None = None
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def coarse(self, frame: CoarseFrame) -> bool:
        """False: an older frame had to go for it."""
        with self._wake:
            room = len(self._coarse) < MAX_COARSE
            if not room:
                self._coarse.popleft()
            self._coarse.append(frame)
            self._wake.notify()
        return room

    def beat(self, beat: Beat) -> None:
        with self._wake:
            self._beat = beat
            self._wake.notify()

    def put(self, report: Report) -> None:
        """For what must arrive: at most one per order of the parent, so the parent bounds it."""
        with self._wake:
            self._others.append(report)
            self._wake.notify()

    def _take(self) -> list[Report]:
        with self._wake:
            while not (self._coarse or self._others or self._beat):
                self._wake.wait()
            reports: list[Report] = [Coarse(frame=frame) for frame in self._coarse]
            self._coarse.clear()
            if self._beat is not None:
                reports.append(self._beat)
                self._beat = None
            reports += self._others
            self._others.clear()
        return reports

    def _run(self) -> None:
        try:
            while True:
                for report in self._take():
                    self._wire.send(report)
        except OSError:  # the parent is gone: the main thread sees the same and ends the process
            return
