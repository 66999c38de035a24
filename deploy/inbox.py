"""A bounded queue in front of a worker, with a stated behaviour when it is full."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

WhenFull = Literal["wait", "drop_oldest"]
Item = TypeVar("Item")


class Inbox(Protocol[Item]):
    """What a worker takes its batches from. Safe for any number of threads."""

    capacity: int
    dropped: int
    """Items that were given up because the inbox was full."""

    def put(self, item: Item) -> bool:
        """False when the inbox is closed and did not take the item."""
        ...

    def take(self, max_items: int, max_wait_s: float) -> list[Item]:
        """At least one item; more when they are there or come within `max_wait_s`. Empty: closed and nothing left."""
        ...

    def done(self, items: Sequence[Item]) -> None:
        """The items of one `take` have come to their end here: handed on, or given up."""
        ...

    def close(self) -> None:
        """Nothing more comes in; what is inside can still be taken."""
        ...

    def clear(self) -> list[Item]:
        """What is inside, taken out at once."""
        ...

    def __len__(self) -> int: ...


class Fifo(Generic[Item]):
    """First in, first out. Full: `wait` holds the sender back, `drop_oldest` gives up the item that waited longest."""

    def __init__(
        self, capacity: int, when_full: WhenFull = "wait", on_drop: Callable[[Item], None] | None = None
    ) -> None:
        """on_drop: told of each item given up; called without the lock, in the sender's thread."""
        if capacity < 1:
            raise ValueError(f"an inbox holds at least one item, not {capacity}")
        self.capacity = capacity
        self.when_full = when_full
        self.dropped = 0
        self._on_drop = on_drop
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        victim: list[Item] = []
        with self._changed:
            while not self._closed and len(self._items) >= self.capacity:
                if self.when_full == "drop_oldest":
                    victim.append(self._items.popleft())
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
        if self._on_drop is not None:
            for old in victim:
                self._on_drop(old)
        return True

    def take(self, max_items: int, max_wait_s: float) -> list[Item]:
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            until = time.monotonic() + max_wait_s
            while len(self._items) < max_items and not self._closed:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            batch = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
            self._changed.notify_all()
            return batch

    def done(self, items: Sequence[Item]) -> None:
        """Of no matter here."""

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Item]:
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def __len__(self) -> int:
        return len(self._items)
