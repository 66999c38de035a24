"""The live updates as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Events: `hello` {"resumed": bool} once; `alert` {"alert_id", "revision"} for each change; `status` (the status record)
at the start and whenever it differs; `beat` {} when nothing else was said for a while, so that a page can tell silence
from a dead connection. The first two carry an id, with which the browser resumes.
"""

import asyncio
import time

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from alerts.console.feed import Feed, Subscription
from alerts.console.status import StatusBoard

_BEAT_S = 10.0
"""The page gives the connection up after two and a half of these without a word."""
_RETRY_MS = 1000


class EventStream:
    """An ASGI response that lasts as long as the client."""

    def __init__(self, feed: Feed, subscription: Subscription, board: StatusBoard, status_every_s: float = 1.0) -> None:
        self._feed, self._subscription, self._board = feed, subscription, board
        self._status_every_s = status_every_s
        self._status = b""
        self._sent_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = self._subscription
        gone = asyncio.ensure_future(_disconnected(receive))
        gone.add_done_callback(lambda _: client.poke())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._write(send, self._hello())
            while not gone.done():
                await self._write(send, self._changes() + await self._changed_status())
                if client.ended:
                    break
                await client.wait(self._status_every_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            client.close()

    def _hello(self) -> bytes:
        client = self._subscription
        event = _event("hello", {"resumed": client.resumed}, self._feed.event_id(client.start))
        return f"retry: {_RETRY_MS}\n".encode() + event

    def _changes(self) -> bytes:
        return b"".join(
            _event("alert", {"alert_id": c.alert_id, "revision": c.revision}, self._feed.event_id(c.number))
            for c in self._subscription.take()
        )

    async def _changed_status(self) -> bytes:
        status = await run_in_threadpool(self._board.json)
        if status == self._status:
            return b""
        self._status = status
        return b"event: status\ndata: " + status + b"\n\n"

    async def _write(self, send: Send, body: bytes) -> None:
        now_s = time.monotonic()
        if not body and now_s - self._sent_s < _BEAT_S:
            return
        self._sent_s = now_s
        await send({"type": "http.response.body", "body": body or b"event: beat\ndata: {}\n\n", "more_body": True})


_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


def _event(name: str, data: dict[str, object], event_id: str) -> bytes:
    # JSON has no line breaks outside its strings and escapes those inside: one data line always suffices.
    return f"id: {event_id}\nevent: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
