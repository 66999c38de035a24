"""What stands before every route: who may ask, how, and what every answer forbids the browser to do."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Collection

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_MAX_HEADER_BYTES = 16 << 10
_MAX_AUTHORITY_CHARS = 260
_AUTHORITY = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/?#@\s]+))(?::[0-9]{0,5})?")
_LOOPBACK_NAMES = frozenset({"localhost"})


class Guard:
    """ASGI middleware.

    * One Host header, and it names this console: a page elsewhere that lets its own name point here (DNS rebinding)
      gets 421. IP literals of the network are taken only when the console is meant to be reached from there.
    * At most 16 KiB of headers, whatever way they arrive.
    * GET and HEAD only; no request body is read, no WebSocket accepted.
    * A client that takes no byte for `send_timeout_s` is let go.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] = (),
        any_address: bool = False,
        send_timeout_s: float = 15.0,
    ) -> None:
        self._app = app
        self._hosts = _LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._any_address = any_address
        self._send_timeout_s = send_timeout_s
        self.let_go = 0
        """Clients that stopped reading."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(send, self._send_timeout_s)
        try:
            await (self._refusal(scope) or self._app)(scope, receive, outgoing)
        except _StoppedReading:
            self.let_go += 1

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if sum(len(key) + len(value) for key, value in scope["headers"]) > _MAX_HEADER_BYTES:
            return PlainTextResponse("The headers are too long.\n", 431)
        named = [value for key, value in scope["headers"] if key == b"host"]
        if len(named) != 1 or not self._serves(named[0].decode("latin-1")):
            return PlainTextResponse("This console is not served under that name.\n", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET and HEAD.\n", 405, {"allow": "GET, HEAD"})
        return None

    def _serves(self, authority: str) -> bool:
        host = _host(authority)
        if host is None:
            return False
        if host in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self._any_address


class _StoppedReading(Exception):
    """The client takes nothing any more."""


class _Outgoing:
    """`send` with the headers of every answer and a limit on its patience."""

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send, self._timeout_s = send, timeout_s

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {key.lower() for key, _ in message["headers"]}
            extra = {"cache-control": "no-store", **_HEADERS}
            added = [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(message)
        except TimeoutError:
            raise _StoppedReading from None


def _host(authority: str) -> str | None:
    """The host of `host[:port]`, lower case, without brackets; None when it is no such thing."""
    found = _AUTHORITY.fullmatch(authority) if len(authority) <= _MAX_AUTHORITY_CHARS else None
    return (found["address"] or found["name"]).lower() if found else None
