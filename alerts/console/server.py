"""Runs the console in a thread of its own, with uvicorn, and stops it cleanly."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from alerts.console.errors import BindRefused, ConsoleError, PortInUse
from alerts.console.feed import Feed

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_CONNECTIONS = 64
_HEADER_BYTES = 16 << 10
_START_S = 10.0


class ConsoleServer:
    """`with ConsoleServer(app, feed) as server: print(server.url)`.

    The port is taken at construction, so that what stands against it is said before anything else starts.
    """

    def __init__(
        self, app: ASGIApp, feed: Feed, *, host: str = "127.0.0.1", port: int = 8600, allow_remote: bool = False
    ) -> None:
        """Port 0 takes any free one. Raises BindRefused for an address other than loopback unless `allow_remote`
        (the console asks nobody for a password), and PortInUse."""
        self._socket = _listen(host, port, allow_remote)
        self._feed = feed
        self._server = _uvicorn(app)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        host = self._socket.getsockname()[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def start(self) -> None:
        """Returns when requests are answered."""
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise ConsoleError(f"console on {self.url} did not start; see the log")
            time.sleep(0.01)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ends the live streams, lets running answers finish, frees the port. False when the time was not enough."""
        self._feed.close()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._socket.close()
        return not self._thread.is_alive()

    def __enter__(self) -> ConsoleServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _uvicorn(app: ASGIApp) -> Any:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
    )


def _listen(host: str, port: int, allow_remote: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError):
        raise BindRefused(f"console host {host!r} is no address of this machine; use 127.0.0.1") from None
    family, kind, protocol, _, address = found[0]
    if not allow_remote and not all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found):
        raise BindRefused(
            f"console on {host!r} would be open to the network without a password; "
            "use 127.0.0.1, or allow it explicitly behind a proxy that asks for one"
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_CONNECTIONS)
    except OSError as error:
        listener.close()
        refused = PortInUse if error.errno == errno.EADDRINUSE else BindRefused
        raise refused(f"console cannot listen on {host} port {port}: {error.strerror}; choose another port") from None
    return listener
