"""Who follows the alerts live: a bounded notifier between the pipeline's threads and the browsers' connections."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque

import msgspec

from alerts.console.errors import TooManyClients


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An alert has a new revision. The alert itself is read from the store."""

    number: int
    """Counts the changes of this feed from 1."""
    alert_id: str
    revision: int


class FeedStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start."""

    clients: int
    published: int
    dropped: int
    """Clients that were too slow for the changes and were disconnected; they come back and resume."""
    refused: int
    """Clients that found every place taken."""


class Subscription:
    """One browser's place in the feed. Lives in the event loop that made it; only `_offer` is called from elsewhere."""

    def __init__(self, feed: Feed, start: int, backlog: list[Change] | None) -> None:
        self.start = start
        """Number of the last change before this subscription."""
        self.resumed = backlog is not None
        """Whether `take` starts exactly after the client's last change; if not, it must read the alerts anew."""
        self.ended = False
        self._feed = feed
        self._changes = deque(backlog or ())
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Returns when something may have happened, at the latest after `timeout_s`."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return
        self._wake.clear()

    def take(self) -> list[Change]:
        """The changes since the last call, oldest first."""
        return self._feed._drain(self._changes)

    def poke(self) -> None:
        """Ends a `wait`; for the event loop's own thread."""
        self._wake.set()

    def close(self) -> None:
        self._feed._leave(self)

    def _offer(self, change: Change | None, bound: int) -> bool:
        """Under the feed's lock. False: no room or loop left, drop the client. None ends the stream."""
        kept = change is not None and len(self._changes) < bound
        if change is not None and kept:
            self._changes.append(change)
        else:
            self.ended = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return False
        return kept


class Feed:
    """Thread-safe. A slow client is dropped once `queue` changes wait for it: it reconnects and resumes by number,
    from the last `history` changes, or is told to read everything anew."""

    def __init__(self, *, history: int = 512, queue: int = 64, clients: int = 16) -> None:
        self._lock = threading.Lock()
        self._boot = secrets.token_hex(4)
        self._history: deque[Change] = deque(maxlen=history)
        self._queue, self._clients = queue, clients
        self._subscriptions: set[Subscription] = set()
        self._number = self._dropped = self._refused = 0
        self._closed = False

    @property
    def stats(self) -> FeedStats:
        with self._lock:
            return FeedStats(
                clients=len(self._subscriptions), published=self._number, dropped=self._dropped, refused=self._refused
            )

    def publish(self, alert_id: str, revision: int) -> None:
        """Called by whoever wrote the revision, after it was committed; never blocks on a client."""
        with self._lock:
            self._number += 1
            change = Change(number=self._number, alert_id=alert_id, revision=revision)
            self._history.append(change)
            slow = {client for client in self._subscriptions if not client._offer(change, self._queue)}
            self._subscriptions -= slow
            self._dropped += len(slow)

    def event_id(self, number: int) -> str:
        """What a client hands back to resume; another process's numbers are never taken for ours."""
        return f"{self._boot}-{number}"

    def subscribe(self, last_event_id: str | None = None) -> Subscription:
        """In an event loop. Raises TooManyClients."""
        with self._lock:
            if self._closed or len(self._subscriptions) >= self._clients:
                self._refused += 1
                raise TooManyClients(f"{self._clients} pages follow the alerts already; close one and reload")
            backlog = self._since(last_event_id)
            start = self._number - len(backlog or ())
            subscription = Subscription(self, start, backlog)
            self._subscriptions.add(subscription)
            return subscription

    def close(self) -> None:
        """Ends every stream and takes no new client; publishing goes on without effect on anybody."""
        with self._lock:
            self._closed = True
            for client in self._subscriptions:
                client._offer(None, 0)
            self._subscriptions.clear()

    def _since(self, last_event_id: str | None) -> list[Change] | None:
        boot, _, digits = (last_event_id or "").partition("-")
        if boot != self._boot or not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
            return None
        last, oldest = int(digits), self._number - len(self._history)
        if not oldest <= last <= self._number or self._number - last > self._queue:
            return None
        return [change for change in self._history if change.number > last]

    def _drain(self, changes: deque[Change]) -> list[Change]:
        with self._lock:
            taken = list(changes)
            changes.clear()
            return taken

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)
