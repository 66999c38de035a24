"""Which flagged windows wait for the reasoner when there are more than it can look at.

The queue is bounded by count and by age. What it gives up is told with a reason, so that nothing ends silently:

1. `expired`: waited longer than `wait_s`;
2. `merged_into=ID`: full, and another window of the same camera and rule covers part of the same time;
3. `overload`: full; the window with the least severity x score x recency, but never the only one of its camera.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from detector.rule import Severity
from detector.window import Span

SEVERITY_WEIGHT: dict[Severity, float] = {"info": 0.25, "low": 0.5, "high": 1.0, "critical": 2.0}


class Ticket(NamedTuple):
    """A spooled window in the queue. Its evidence is on disk; only the span is kept in memory."""

    span: Span
    severity: Severity
    since_s: float
    """Monotonic clock when it joined."""
    restored: bool = False
    """Left by an earlier run: it was admitted once and is not given up again."""


class Shed(NamedTuple):
    """A ticket that was given up."""

    span: Span
    reason: str


class Bound(NamedTuple):
    """How much may wait, and how long."""

    windows: int
    wait_s: float


def expire(waiting: Iterable[Ticket], now_s: float, wait_s: float) -> tuple[list[Ticket], list[Shed]]:
    """Those that may still wait, and those that waited too long."""
    kept, shed = [], []
    for ticket in waiting:
        if now_s - ticket.since_s > wait_s and not ticket.restored:
            shed.append(Shed(ticket.span, "expired"))
        else:
            kept.append(ticket)
    return kept, shed


def admit(waiting: Iterable[Ticket], newcomer: Ticket, now_s: float, bound: Bound) -> tuple[list[Ticket], list[Shed]]:
    """The queue with the newcomer in it, in order of arrival, and what had to go.

    At most `bound.windows` long; restored tickets come on top of that.
    """
    kept, shed = expire(waiting, now_s, bound.wait_s)
    kept.append(newcomer)
    fresh = [ticket for ticket in kept if not ticket.restored]
    while len(fresh) > bound.windows:
        loser, reason = _overlapping(fresh) or (_least(fresh, now_s, bound.wait_s), "overload")
        fresh.remove(loser)
        kept.remove(loser)
        shed.append(Shed(loser.span, reason))
    return kept, shed


def _overlapping(waiting: list[Ticket]) -> tuple[Ticket, str] | None:
    """The weaker of two windows of one camera and rule that share time, and the reason that names the other."""
    for index, one in enumerate(waiting):
        for other in waiting[index + 1 :]:
            a, b = one.span, other.span
            same = (a.camera_id, a.rule_id, a.epoch) == (b.camera_id, b.rule_id, b.epoch)
            if same and a.start_utc_ns < b.end_utc_ns and b.start_utc_ns < a.end_utc_ns:
                loser, winner = (one, b) if a.score < b.score else (other, a)
                return loser, f"merged_into={winner.window_id}"
    return None


def _least(waiting: list[Ticket], now_s: float, wait_s: float) -> Ticket:
    """The least important ticket of a camera that has more than one; of all when each camera has just one."""
    per_camera = Counter(ticket.span.camera_id for ticket in waiting)
    spare = [ticket for ticket in waiting if per_camera[ticket.span.camera_id] > 1] or waiting
    return min(spare, key=lambda ticket: importance(ticket, now_s, wait_s))


def importance(ticket: Ticket, now_s: float, wait_s: float) -> float:
    """Severity weight x score x what is left of its time to wait (1 when fresh, 0 when it expires)."""
    recency = max(0.0, 1 - (now_s - ticket.since_s) / wait_s)
    return SEVERITY_WEIGHT[ticket.severity] * ticket.span.score * recency


class Admission:
    """The queue itself: an inbox of tickets that gives up by the rules above. First in, first out otherwise.

    While a window of a camera is not `done`, no other worker is given one of that camera: however long an answer takes,
    each camera's windows are decided in their order. Those of other cameras go on.
    """

    def __init__(self, bound: Bound, on_shed: Callable[[Shed], None], clock: Callable[[], float] = time.monotonic):
        """on_shed: called without the lock, in the thread that put or took."""
        self.capacity = bound.windows
        self.dropped = 0
        self._bound = bound
        self._on_shed = on_shed
        self._clock = clock
        self._waiting: list[Ticket] = []
        self._busy: set[str] = set()
        """Cameras of what was taken and is not done."""
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Ticket) -> bool:
        with self._changed:
            if self._closed:
                return False
            self._waiting, shed = admit(self._waiting, item, self._clock(), self._bound)
            self.dropped += len(shed)
            self._changed.notify_all()
        self._tell(shed)
        return True

    def restore(self, span: Span, severity: Severity) -> None:
        """A spooled window of an earlier run. Not bounded here: the spool on disk is."""
        with self._changed:
            self._waiting.append(Ticket(span, severity, self._clock(), restored=True))
            self._changed.notify_all()

    def take(self, max_items: int, max_wait_s: float) -> list[Ticket]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._free() or (self._closed and not self._waiting))
                if len(self._free()) < max_items and not self._closed and max_wait_s > 0:
                    self._changed.wait_for(lambda: len(self._free()) >= max_items or self._closed, max_wait_s)
                self._waiting, shed = expire(self._waiting, self._clock(), self._bound.wait_s)
                self.dropped += len(shed)
                batch = self._free()[:max_items]
                taken = {id(ticket) for ticket in batch}
                self._waiting = [ticket for ticket in self._waiting if id(ticket) not in taken]
                self._busy.update(ticket.span.camera_id for ticket in batch)
                ended = self._closed and not self._waiting
                if ended:  # who waits for a busy camera need not any more
                    self._changed.notify_all()
            self._tell(shed)
            if batch or ended:
                return batch

    def done(self, items: Sequence[Ticket]) -> None:
        with self._changed:
            self._busy.difference_update(ticket.span.camera_id for ticket in items)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Ticket]:
        with self._changed:
            items, self._waiting = self._waiting, []
            self._changed.notify_all()
            return items

    def _free(self) -> list[Ticket]:
        return [ticket for ticket in self._waiting if ticket.span.camera_id not in self._busy]

    def _tell(self, shed: list[Shed]) -> None:
        for one in shed:
            self._on_shed(one)

    def __len__(self) -> int:
        return len(self._waiting)
