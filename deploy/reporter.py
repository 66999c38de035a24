"""Tells each alert as it is raised and keeps what the summary needs of it, in seconds since the start."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from alerts.alert import Alert
from alerts.instant import utc_ns
from deploy.screen import alert_lines, plain
from deploy.stages import Published
from deploy.summary import Raised, SummaryAlert, SummaryClaim

MAX_KEPT = 10_000
"""Alerts of one run that the summary can hold; the oldest leave first and are counted."""


class Reporter:
    """Called by the line with each new alert, from one thread. Those of windows that an earlier run had flagged are
    told but not kept: they belong to that run."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._zero_utc_ns = 0
        self._raised: deque[Raised] = deque(maxlen=MAX_KEPT)
        self.forgotten = 0

    def begin(self, zero_utc_ns: int) -> None:
        """The instant that is second 0 of the run; before the cameras are started."""
        self._zero_utc_ns = zero_utc_ns

    def __call__(self, published: Published) -> None:
        if not published.of_this_run:
            self._say(plain(f"finished for an earlier run: {published.alert.headline}"))
            return
        one = raised(published, self._zero_utc_ns)
        with self._lock:
            self.forgotten += len(self._raised) == MAX_KEPT
            self._raised.append(one)
        for line in alert_lines(one.alert, published.alert.headline, one.published):
            self._say(line)

    def raised(self) -> list[Raised]:
        with self._lock:
            return list(self._raised)


def raised(published: Published, zero_utc_ns: int) -> Raised:
    """An alert on the run's own clock."""
    alert = published.alert
    return Raised(
        alert=SummaryAlert(
            alert_id=alert.alert_id,
            camera=alert.camera.id,
            rule=alert.rule.id,
            onset=_seconds(alert.time.onset, zero_utc_ns),
            confidence=round(alert.confidence.p, 4),
            decision=alert.decision.status,
            claims=_claims(alert, zero_utc_ns),
        ),
        category=alert.category,
        published=round((published.committed_utc_ns - zero_utc_ns) / 1e9, 3),
    )


def _claims(alert: Alert, zero_utc_ns: int) -> tuple[SummaryClaim, ...]:
    """One for each box of each piece of evidence."""
    return tuple(
        SummaryClaim(object=box.label, time=_seconds(item.time, zero_utc_ns), box=box.box)
        for item in alert.evidence
        for box in item.boxes
    )


def _seconds(text: str, zero_utc_ns: int) -> float:
    return round((utc_ns(text) - zero_utc_ns) / 1e9, 3)
