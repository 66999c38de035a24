"""Closes alerts whose cool-down has passed without another window."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from alerts.alert import Alert
from alerts.errors import AlertsError, StoreError
from detector.rule import Rule

if TYPE_CHECKING:
    from alerts.store import Store

log = logging.getLogger(__name__)

SLACK_S = 30.0
"""Past the cool-down: what happened within it may still be on its way through ring and gate. A window that is flagged
by then keeps its alert open until it has its outcome (`Store.close_alert`)."""
MOST_AT_ONCE = 8
"""In one call: after a long time without a run there may be many, and others want the store as well."""


class _Due(NamedTuple):
    occurrences: int
    at_s: float


class Closing:
    """Holds the ids of open alerts, no more; told of each revision by the store, called by a ticker.

    It counts from the moment a window was recorded, on this machine's own clock: an alert's own times are those of its
    camera, which may go wrong. After a restart it counts anew.
    """

    def __init__(self, store: Store, rules: Mapping[str, Rule], now_s: Callable[[], float] = time.monotonic) -> None:
        self._store, self._rules, self._now_s = store, rules, now_s
        self._lock = threading.Lock()
        self._open: dict[str, _Due] = {}
        for alert in store.open_alerts():
            self._hear(alert)
        store.watch(self._hear)

    def __call__(self) -> int:
        """Closes what is due; how many alerts that were."""
        now_s = self._now_s()
        with self._lock:
            due = [alert_id for alert_id, one in self._open.items() if one.at_s <= now_s][:MOST_AT_ONCE]
            for alert_id in due:  # again later, unless the store now tells that it is over
                self._open[alert_id] = self._open[alert_id]._replace(at_s=now_s + SLACK_S)
        return sum(self._close(alert_id) for alert_id in due)

    def _close(self, alert_id: str) -> bool:
        try:
            return self._store.close_alert(alert_id) is not None
        except StoreError as error:
            log.error("alert %s cannot be closed: %s", alert_id, error)
        except AlertsError as error:
            with self._lock:  # its record is damaged: no later attempt can read it
                self._open.pop(alert_id, None)
            log.error("alert %s is left open: %s", alert_id, error)
        return False

    def _hear(self, alert: Alert) -> None:
        with self._lock:
            if alert.state != "open":
                self._open.pop(alert.alert_id, None)
                return
            known = self._open.get(alert.alert_id)
            if known is not None and known.occurrences == alert.occurrences:
                return  # a review: no window came
            rule = self._rules.get(alert.rule.id)
            cooldown_s = 0.0 if rule is None else rule.cooldown_s
            self._open[alert.alert_id] = _Due(alert.occurrences, self._now_s() + cooldown_s + SLACK_S)
