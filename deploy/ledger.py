"""Every flagged window ends exactly once: this run's count of how, and of what is still under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from deploy.summary import Windows

End = Literal["alert", "rejected", "merged", "shed"]


class Ledger:
    """Windows of this run are counted; those taken over from an earlier one are only kept from ending twice.

    Memory is bounded by what the queues may hold: an ended window leaves nothing but a number.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open: dict[str, bool] = {}
        self._flagged = 0
        self._ends: dict[End, int] = {"alert": 0, "rejected": 0, "merged": 0, "shed": 0}
        self.finished_earlier: dict[End, int] = dict(self._ends)
        """How windows that an earlier run had left unfinished ended."""
        self.late = 0
        """Outcomes that came when their window had already ended, as an answer after its time: dropped."""

    def flag(self, window_id: str) -> None:
        with self._lock:
            self._flagged += 1
            self._open[window_id] = True

    def take_over(self, window_id: str) -> None:
        """A window that an earlier run flagged and did not finish."""
        with self._lock:
            self._open[window_id] = False

    def end(self, window_id: str, end: End, record: Callable[[], object]) -> bool:
        """Record the outcome unless somebody else already does; an error of `record` leaves the window open."""
        with self._lock:
            if window_id not in self._open:
                self.late += 1
                return False
            of_this_run = self._open.pop(window_id)
        try:
            record()
        except BaseException:
            with self._lock:
                self._open[window_id] = of_this_run
            raise
        with self._changed:
            counts = self._ends if of_this_run else self.finished_earlier
            counts[end] += 1
            self._changed.notify_all()
        return True

    def of_this_run(self, window_id: str) -> bool:
        """False for a window taken over from an earlier run."""
        with self._lock:
            return self._open.get(window_id, True)

    def open(self) -> list[str]:
        with self._lock:
            return list(self._open)

    def wait_until_done(self, timeout_s: float) -> bool:
        """Whether everything ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_s)

    def windows(self) -> Windows:
        """This run's numbers. While windows are open, `flagged` is larger than the sum of the rest."""
        with self._lock:
            return Windows(flagged=self._flagged, **self._ends)
