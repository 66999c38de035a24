"""The one loop that moves records from stage to stage, tries again, counts, and drains in order at the end.

A stage is a plain function over a batch; it knows nothing of queues, threads or telemetry. `ConnectionError` and
`TimeoutError` mean "again"; every other error means that a record is poison: it is handed to the link's `on_poison`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from deploy.inbox import Inbox

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")
Outcome = Literal["ok", "retry", "poison"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Observation(NamedTuple):
    """One attempt of one link, seen from outside."""

    link: str
    keys: tuple[str, ...]
    """Of the records it was given, as window ids."""
    emitted: int
    started_ns: int
    """Wall clock."""
    seconds: float
    outcome: Outcome


@dataclass(slots=True)
class LinkStats:
    """Plain numbers of one link since the start; `received == done + poisoned` once it is idle."""

    received: int = 0
    done: int = 0
    poisoned: int = 0
    retries: int = 0
    emitted: int = 0


@dataclass(slots=True, kw_only=True)
class Link(Generic[In, Out]):
    """A stage with what goes around it. A lane keeps its order while its inbox has one worker, or gives out
    nothing that must follow what is not `done` yet."""

    name: str
    stage: Callable[[Sequence[In]], Sequence[Out]]
    inboxes: Sequence[Inbox[In]]
    on_poison: Callable[[In, Exception], None]
    """Ends a record that cannot be processed, with the error as the reason. Must not raise."""
    on_left: Callable[[In], None]
    """Ends a record that the deadline of the drain left behind. Must not raise."""
    lane: Callable[[In], int] = lambda item: 0
    """Index of the inbox that a record belongs to."""
    key: Callable[[In], str] = str
    """Name of a record in traces."""
    flush: Callable[[], Sequence[Out]] | None = None
    """Called once when all inboxes are closed and empty: what the stage still holds."""
    workers: int = 1
    """Threads of each inbox: more than one where the stage mostly waits for somebody else."""
    max_batch: int = 1
    max_wait_s: float = 0.0
    retry_s: float = 60.0
    """How long a batch is tried again before its records count as poison."""
    stats: LinkStats = field(default_factory=LinkStats)

    def put(self, item: In) -> bool:
        return self.inboxes[self.lane(item)].put(item)


class Runner:
    """Runs a chain of links: what one emits, the next is given."""

    def __init__(self, links: Sequence[Link[Any, Any]], observe: Callable[[Observation], None] | None = None) -> None:
        self.links = tuple(links)
        self._observe = observe or (lambda observation: None)
        self._counting = threading.Lock()
        self._aborted = threading.Event()
        self._threads = {
            link.name: [
                threading.Thread(target=self._work, args=(index, inbox), name=f"{link.name}-{lane}", daemon=True)
                for lane, inbox in enumerate(link.inboxes)
                for _ in range(link.workers)
            ]
            for index, link in enumerate(self.links)
        }

    def start(self) -> None:
        for threads in self._threads.values():
            for thread in threads:
                thread.start()

    def put(self, item: Any) -> bool:
        """A record from outside, for the first link. Returns False once the runner is being stopped."""
        return self.links[0].put(item)

    def stop(self, deadline_s: float) -> int:
        """Drain link by link; returns how many records the deadline left behind, each handed to its `on_left`."""
        until = time.monotonic() + deadline_s
        left = 0
        for index, link in enumerate(self.links):
            for inbox in link.inboxes:
                inbox.close()
            for thread in self._threads[link.name]:
                thread.join(max(0.0, until - time.monotonic()))
            if link.flush is not None and not any(thread.is_alive() for thread in self._threads[link.name]):
                left += self._emit(index, link.flush())
            if time.monotonic() >= until:
                self._aborted.set()
            left += self._leave(link, [item for inbox in link.inboxes for item in inbox.clear()])
        return left

    def wait(self, timeout_s: float) -> bool:
        """After `stop`: whether every worker has ended within the time."""
        until = time.monotonic() + timeout_s
        threads = [thread for threads in self._threads.values() for thread in threads]
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self, index: int, inbox: Inbox[Any]) -> None:
        link = self.links[index]
        while batch := inbox.take(link.max_batch, link.max_wait_s):
            self._count(link, received=len(batch))
            try:
                self._process(index, batch)
            finally:
                inbox.done(batch)

    def _process(self, index: int, batch: list[Any]) -> None:
        link = self.links[index]
        try:
            out = self._attempt(link, batch)
        except Exception as error:
            log.debug("%s failed on %d records", link.name, len(batch), exc_info=error)
            tried_enough = isinstance(error, (ConnectionError, TimeoutError))
            if len(batch) == 1 or tried_enough:
                self._poison(link, batch, error)
            else:
                for item in batch:
                    self._process(index, [item])
            return
        self._count(link, done=len(batch), emitted=len(out))
        self._emit(index, out)

    def _attempt(self, link: Link[Any, Any], batch: list[Any]) -> Sequence[Any]:
        pause_s = FIRST_PAUSE_S
        give_up_s = time.monotonic() + link.retry_s
        while True:
            started_ns, started = time.time_ns(), time.perf_counter()
            outcome: Outcome = "poison"
            out: Sequence[Any] = ()
            try:
                out = link.stage(batch)
                outcome = "ok"
            except (ConnectionError, TimeoutError) as error:
                if self._aborted.is_set() or time.monotonic() + pause_s > give_up_s:
                    raise
                outcome = "retry"
                log.warning("%s: %s; again in %.1f s", link.name, error, pause_s)
            finally:
                keys = tuple(link.key(item) for item in batch)
                seconds = time.perf_counter() - started
                self._observe(Observation(link.name, keys, len(out), started_ns, seconds, outcome))
            if outcome == "ok":
                return out
            self._count(link, retries=1)
            self._aborted.wait(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _emit(self, index: int, out: Sequence[Any]) -> int:
        """Hand on; returns how many the next link no longer took."""
        if index + 1 == len(self.links):
            return 0
        following = self.links[index + 1]
        return self._leave(following, [item for item in out if not following.put(item)])

    def _poison(self, link: Link[Any, Any], items: list[Any], error: Exception) -> None:
        self._count(link, poisoned=len(items))
        for item in items:
            log.debug("%s: %s is given up: %s", link.name, link.key(item), error)
            link.on_poison(item, error)

    def _leave(self, link: Link[Any, Any], items: list[Any]) -> int:
        for item in items:
            link.on_left(item)
        return len(items)

    def _count(self, link: Link[Any, Any], **more: int) -> None:
        with self._counting:
            for name, number in more.items():
                setattr(link.stats, name, getattr(link.stats, name) + number)
