"""Where records go: three methods that a message bus must have, and one in memory that has them."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from alerts.errors import BusDenied, BusUnavailable, MessageTooLarge

ALERTS = "alerts.v1"
STATE = "alert-state.v1"
HEALTH = "health.v1"
DEAD_LETTERS = "dlq.v1"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `topic` is without the site's prefix."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, str], ...]


class Publisher(Protocol):
    """Used by one event loop. A record counts as published only when `publish` returns."""

    async def connect(self) -> None:
        """Does nothing where the connection is sound. BusUnavailable, BusDenied."""

    async def publish(self, record: Record) -> None:
        """Returns after the acknowledgement. BusUnavailable, BusDenied, MessageTooLarge: there was none, though
        with BusUnavailable it may have arrived."""

    async def close(self, timeout_s: float) -> None:
        """Returns within about `timeout_s`, broker or not."""


class MemoryPublisher:
    """Keeps every record in order of acknowledgement. `available` and `denied` may be changed at any time."""

    def __init__(self, max_record_bytes: int = 1 << 20) -> None:
        self.records: list[Record] = []
        self.available = True
        self.denied = False
        self._max_record_bytes = max_record_bytes
        self._connected = False

    async def connect(self) -> None:
        self._require()
        self._connected = True

    async def publish(self, record: Record) -> None:
        await asyncio.sleep(0)
        self._require()
        if not self._connected:
            raise BusUnavailable("not connected; connect first")
        if len(record.value) > self._max_record_bytes:
            raise MessageTooLarge(f"{len(record.value)} bytes, at most {self._max_record_bytes} are taken")
        self.records.append(record)

    async def close(self, timeout_s: float) -> None:
        self._connected = False

    def _require(self) -> None:
        if self.denied:
            raise BusDenied("not allowed to write")
        if not self.available:
            self._connected = False
            raise BusUnavailable("nobody answers")
