"""Kept-alive HTTP connections to one server: one request, one reply, none later than its deadline."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from reasoner.errors import ModelUnsupported

MAX_REPLY = 8 << 20
"""Bytes of a reply that are read."""
FAULTS = (OSError, http.client.HTTPException)
"""What `Wire.send` lets through."""
BROKEN_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, http.client.IncompleteRead)
"""The server was there and went away in the middle: another attempt may succeed."""


class Reply(NamedTuple):
    """A whole reply."""

    status: int
    retry_after_s: float | None
    body: bytes


class Wire:
    """Safe for any number of threads; each request has a connection for itself, given back for the next."""

    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        """Raises ModelUnsupported for an address that is none."""
        parts = urlsplit(base_url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ModelUnsupported("[reasoner] base_url is no http(s) address, as http://127.0.0.1:8000/v1")
        self._host, self._port, self._tls = parts.hostname, port, parts.scheme == "https"
        self._base = parts.path.rstrip("/")
        self._headers = headers
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self.opened = 0
        """Connections that were made."""

    @property
    def where(self) -> str:
        return f"{self._host}:{self._port or (443 if self._tls else 80)}"

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline_s: float) -> Reply:
        """deadline_s: on the monotonic clock, for all of it. Raises TimeoutError, OSError, HTTPException."""
        while True:
            connection, used = self._take()
            try:
                return self._exchange(connection, method, self._base + path, body, headers, deadline_s)
            except FAULTS as error:
                connection.close()
                if time.monotonic() >= deadline_s:
                    raise TimeoutError from error
                # A server closes connections that were idle; that is noticed only when one is used again.
                if not (used and isinstance(error, ConnectionError)):
                    raise

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
            self.opened += 1
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        return kind(self._host, self._port), False

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        deadline_s: float,
    ) -> Reply:
        with _cut_off_at(connection, deadline_s):
            connection.request(method, path, body, self._headers | headers)
            response = connection.getresponse()
            content = response.read(MAX_REPLY + 1)
        if len(content) > MAX_REPLY:
            raise http.client.HTTPException("reply too long")
        if response.length:
            raise http.client.IncompleteRead(content, response.length)
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return Reply(response.status, _seconds(response.headers.get("Retry-After")), content)


@contextlib.contextmanager
def _cut_off_at(connection: http.client.HTTPConnection, deadline_s: float) -> Iterator[None]:
    """A time-out of a socket starts anew with every byte, so one that drips would never end: here all of it ends."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    if connection.sock is None:
        connection.timeout = left_s
        connection.connect()
    sock = connection.sock
    left_s = max(0.001, deadline_s - time.monotonic())
    sock.settimeout(left_s)
    timer = threading.Timer(left_s, _shut, (sock,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _seconds(retry_after: str | None) -> float | None:
    """The header in seconds; a date is not worth reading from a server that answers in milliseconds."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None
