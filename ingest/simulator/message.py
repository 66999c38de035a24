"""RTSP/1.0 requests and replies on a byte stream (RFC 2326 §4, §6, §7)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

MAX_REQUEST_BYTES = 16_384
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    505: "RTSP Version Not Supported",
}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    url: str
    headers: dict[str, str]
    """Keys in lower case."""

    @property
    def path(self) -> tuple[str, ...]:
        """Segments of the URL's path, decoded."""
        return tuple(unquote(part) for part in urlsplit(self.url).path.split("/") if part)


def take(buffer: bytearray) -> Request | None:
    """Removes the next request from the buffer; None while it is incomplete. Interleaved packets are passed over.

    Raises ValueError for what is no RTSP/1.0 request or longer than MAX_REQUEST_BYTES.
    """
    while buffer[:1] == b"$":
        if len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[2:4], "big"):
            return None
        del buffer[: 4 + int.from_bytes(buffer[2:4], "big")]
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_REQUEST_BYTES:
            raise ValueError("the request does not end")
        return None
    first, *lines = buffer[:end].decode("utf-8", "replace").lstrip("\r\n").split("\r\n")
    headers = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header without a colon")
        headers[key.strip().lower()] = value.strip()
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("RTSP/"):
        raise ValueError("no RTSP request line")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
        raise ValueError("a body of a length that no request has")
    if len(buffer) < end + 4 + int(length):
        return None
    del buffer[: end + 4 + int(length)]
    return Request(method=words[0], url=words[1], headers=headers)


def reply(status: int, request: Request | None, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    sequence = request.headers.get("cseq", "0") if request else "0"
    lines = [f"RTSP/1.0 {status} {REASONS[status]}", f"CSeq: {sequence}", "Server: witness-simulator"]
    lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
