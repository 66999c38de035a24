"""Carries the outbox to the bus: in order for each camera, acknowledged before it is marked, as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import msgspec

from alerts.bus import ALERTS, DEAD_LETTERS, STATE, Publisher, Record
from alerts.errors import BusDenied, BusError, BusUnavailable, MessageTooLarge, StoreError
from alerts.outbox import OutboxRow
from alerts.store import Store

log = logging.getLogger("witness.alerts.relay")
BATCH = 200
_FIRST_PAUSE_S = 0.25
_POLL_S = 1.0
_DRAIN_PAUSE_S = 0.5


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    connected: bool
    pending: int
    sent: int
    """Revisions acknowledged in this run."""
    undeliverable: int
    last_error: str
    """One line, without secrets; empty while all is well."""


class Relay:
    """A thread with its own event loop. Its queue is the outbox on the disk: it never pushes back on the pipeline."""

    def __init__(
        self,
        store: Store,
        make_publisher: Callable[[], Publisher],
        *,
        retry_max_s: float = 10.0,
        denied_retry_s: float = 30.0,
    ) -> None:
        """`make_publisher` is called inside the relay's event loop."""
        self._store, self._make_publisher = store, make_publisher
        self._retry_max_s, self._denied_retry_s = retry_max_s, denied_retry_s
        self._thread = threading.Thread(target=self._run, name="alert-relay", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._wake, self._halt = asyncio.Event(), asyncio.Event()
        self._draining = False
        self._connected, self._sent, self._last_error = False, 0, ""

    def start(self) -> None:
        self._store.watch(lambda _: self._signal(self._wake))
        self._thread.start()
        self._started.wait()

    def drain(self, timeout_s: float) -> int:
        """Waits until the outbox is empty, at most `timeout_s`; how many revisions are left for the next start."""
        self._draining = True
        self._signal(self._wake)
        deadline = time.monotonic() + timeout_s
        while (left := self._store.outbox_counts().pending) and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.02)
        self._draining = False
        return left

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the thread within about `timeout_s`; what is in flight stays in the outbox."""
        self._signal(self._halt)
        self._thread.join(timeout_s)

    @property
    def status(self) -> RelayStatus:
        counts = self._store.outbox_counts()
        return RelayStatus(
            connected=self._connected and self._thread.is_alive(),
            pending=counts.pending,
            sent=self._sent,
            undeliverable=counts.undeliverable,
            last_error=self._last_error,
        )

    def _signal(self, event: asyncio.Event) -> None:
        """From any thread; nothing happens once the relay's loop has ended."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            log.debug("the relay has ended")

    def _run(self) -> None:
        asyncio.run(self._carry())

    async def _carry(self) -> None:
        """Delivers until told to stop, then gives up what is in flight."""
        self._loop = asyncio.get_running_loop()
        self._started.set()
        publisher = self._make_publisher()
        work, halt = asyncio.create_task(self._deliver(publisher)), asyncio.create_task(self._halt.wait())
        try:
            await asyncio.wait({work, halt}, return_when=asyncio.FIRST_COMPLETED)
            halt.cancel()
            work.cancel()
            await work
        except asyncio.CancelledError:
            log.debug("stopped")
        finally:
            self._connected = False
            await publisher.close(1.0)

    async def _deliver(self, publisher: Publisher) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                rows = self._store.outbox_pending(BATCH)
                await publisher.connect()
                self._note_connected()
                await self._send(publisher, rows)
            except (BusError, StoreError) as error:
                self._note_failure(error)
                await self._rest(self._denied_retry_s if isinstance(error, BusDenied) else pause_s, backing_off=True)
                pause_s = min(pause_s * 2, self._retry_max_s)
            else:
                pause_s = _FIRST_PAUSE_S
                if len(rows) < BATCH:
                    await self._rest(_POLL_S, backing_off=False)

    async def _send(self, publisher: Publisher, rows: list[OutboxRow]) -> None:
        """Cameras side by side, each camera's revisions one after the other. Marks what was acknowledged, then raises
        the first error of any camera."""
        by_camera: defaultdict[str, list[OutboxRow]] = defaultdict(list)
        for row in rows:
            by_camera[row.camera_id].append(row)
        newest = {row.alert_id: row.revision for row in rows}
        acknowledged: list[int] = []

        async def send_camera(queue: list[OutboxRow]) -> None:
            for row in queue:
                await self._send_row(publisher, row, row.revision == newest[row.alert_id], acknowledged)

        try:
            results = await asyncio.gather(*map(send_camera, by_camera.values()), return_exceptions=True)
        finally:
            if acknowledged:
                self._store.outbox_sent(acknowledged)
                self._sent += len(acknowledged)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send_row(self, publisher: Publisher, row: OutboxRow, newest: bool, acknowledged: list[int]) -> None:
        """A row is acknowledged when the alert topic and, for the newest revision, the state topic have it."""
        await publisher.connect()
        try:
            await publisher.publish(Record(topic=ALERTS, key=row.camera_id, value=row.value, headers=row.headers))
            if newest:
                await publisher.publish(Record(topic=STATE, key=row.alert_id, value=row.value, headers=row.headers))
        except MessageTooLarge as error:
            await self._bury(publisher, row, str(error))
        else:
            acknowledged.append(row.seq)

    async def _bury(self, publisher: Publisher, row: OutboxRow, reason: str) -> None:
        """A record that no broker will take leaves the queue; a dead letter says so where the bus allows it."""
        letter = {"alert_id": row.alert_id, "revision": row.revision, "bytes": len(row.value), "reason": reason}
        record = Record(topic=DEAD_LETTERS, key=row.camera_id, value=msgspec.json.encode(letter), headers=row.headers)
        try:
            await publisher.connect()
            await publisher.publish(record)
        except BusDenied as error:
            log.warning("no dead letter for alert %s: %s", row.alert_id, error)
        self._store.outbox_undeliverable(row.seq, reason)
        log.error("alert %s revision %d is undeliverable: %s", row.alert_id, row.revision, reason)

    async def _rest(self, seconds: float, *, backing_off: bool) -> None:
        """Ends early for new alerts (unless backing off) and for a stop; while draining, a pause is short."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._draining:
                left = min(left, _DRAIN_PAUSE_S if backing_off else 0.0)
                end = time.monotonic() + left
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            if not backing_off:
                return

    def _note_connected(self) -> None:
        if not self._connected and self._last_error:
            log.info("the broker answers again")
        self._connected, self._last_error = True, ""

    def _note_failure(self, error: BusError | StoreError) -> None:
        """One line for each new kind of trouble, however often it is met."""
        text = str(error)
        if text != self._last_error:
            log.warning("%s", text)
        self._last_error = text
        if isinstance(error, BusUnavailable | BusDenied):
            self._connected = False
