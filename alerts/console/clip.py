"""Sends a stored clip, whole or the part that a player asks for, to a bounded number of players at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.console.byte_range import ByteRange, RangeRefused, parse

_CHUNK_BYTES = 64 << 10


class Slots:
    """At most `limit` answers at a time; the next one is told to come back. Used from one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0
        self.refused = 0

    def hold(self, answer: ASGIApp) -> ASGIApp:
        """`answer`, sent only if a slot is free when it begins."""

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            if self._taken >= self._limit:
                self.refused += 1
                busy = PlainTextResponse("Too many clips are playing; try again.\n", 503, {"retry-after": "1"})
                await busy(scope, receive, send)
                return
            self._taken += 1
            try:
                await answer(scope, receive, send)
            finally:
                self._taken -= 1

        return held


def answer(request: Request, path: Path) -> Response:
    """200 with the whole file, 206 with one part, 416 for a range that is refused."""
    size = path.stat().st_size
    headers = {"accept-ranges": "bytes"}
    # Two Range headers are as good as one list of ranges, and refused like it.
    asked = request.headers.getlist("range")
    try:
        part = parse(",".join(asked) if asked else None, size)
    except RangeRefused as reason:
        return PlainTextResponse(f"{reason}\n", 416, {**headers, "content-range": f"bytes */{size}"})
    start, stop = part or ByteRange(0, size)
    headers["content-length"] = str(stop - start)
    if part:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    if request.method == "HEAD":
        return Response(None, 206 if part else 200, headers, "video/mp4")
    return StreamingResponse(_bytes(path, start, stop), 206 if part else 200, headers, "video/mp4")


def _bytes(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(_CHUNK_BYTES, stop - start))):
            start += len(chunk)
            yield chunk
