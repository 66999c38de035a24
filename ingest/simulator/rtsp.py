"""An RTSP/1.0 server (RFC 2326) that plays looped streams as live cameras, interleaved over TCP."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import quote

from ingest.simulator.auth import Door
from ingest.simulator.client import Client
from ingest.simulator.errors import SimulatorUnreachable
from ingest.simulator.faults import Fault, FaultKind
from ingest.simulator.playback import Counters
from ingest.simulator.sdp import TRACK
from ingest.simulator.stream import CLOCK_HZ, Stream
from ingest.simulator.track import MediaClock, Track

MAX_CLIENTS = 256
SEND_BUFFER_BYTES = 256 * 1024
"""The kernel would hide seconds of a slow client's lag in larger ones."""


class SimulatedServer:
    """All cameras of one address, served by one thread on one media clock.

    streams: what each camera plays, by name. port 0: any free one. credentials: user and password that every client
    needs. faults: cameras that misbehave; a client may also ask for a fault by URL. rtp_start: RTP time of the media
    clock's start, random when left out.

    Position in every stream = time since `start()` modulo its duration. Raises SimulatorUnreachable where the port
    cannot be opened and ValueError for a name that fits in no URL.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        *,
        faults: Mapping[str, Fault] | None = None,
        rtp_start: int | None = None,
    ) -> None:
        for name in streams:
            if not name or "/" in name or name == TRACK:
                raise ValueError(f"{name!r} cannot name a camera: it must be one segment of a URL")
        self._host, self._port = host, port
        self._tracks = {name: Track(stream, rtp_start) for name, stream in streams.items()}
        self._faults = dict(faults or {})
        self._door = Door(credentials)
        self._clock: MediaClock | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._wake_here, self._wake_there = socket.socketpair()
        self.counters = Counters()

    def start(self) -> None:
        """Opens the port and starts the media clock. Once per server."""
        if self._thread is not None:
            raise RuntimeError("a simulated server starts once")
        listener = self._listen()
        self._clock = MediaClock()
        self._thread = threading.Thread(target=self._serve, args=(listener, self._clock), name="simulator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes every connection and the port. May be called again."""
        self._stopping = True
        if self._thread is not None and self._thread.is_alive():
            self._wake_there.send(b".")
            self._thread.join(5)
        self._wake_here.close()
        self._wake_there.close()

    def __enter__(self) -> SimulatedServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that is open; 0 before `start()` where none was given."""
        return self._port

    @property
    def started_utc_ns(self) -> int:
        """Wall clock when the media clock was 0."""
        return self._started().started_utc_ns

    @property
    def media_time_s(self) -> float:
        """Seconds on the media clock."""
        return self._started().now_90k() / CLOCK_HZ

    def url(self, name: str, fault: FaultKind | None = None) -> str:
        """Address of a camera, without credentials."""
        if name not in self._tracks:
            raise KeyError(name)
        return f"rtsp://{self._host}:{self._port}/{quote(name, safe='')}" + (f"/{fault}" if fault else "")

    def set_fault(self, name: str, fault: Fault | None) -> None:
        """Makes a camera misbehave from now on, for the clients it has as well; None heals it. From any thread."""
        if fault is None:
            self._faults.pop(name, None)
        else:
            self._faults[name] = fault

    def _started(self) -> MediaClock:
        if self._clock is None:
            raise RuntimeError("the server has not been started")
        return self._clock

    def _listen(self) -> socket.socket:
        try:
            listener = socket.create_server((self._host, self._port), backlog=64)
        except OSError as error:
            raise SimulatorUnreachable(
                f"{self._host}:{self._port}: the simulated cameras cannot be served there ({error.strerror}); "
                "choose another port, or 0 for any free one"
            ) from None
        listener.setblocking(False)
        self._port = int(listener.getsockname()[1])
        return listener

    def _serve(self, listener: socket.socket, clock: MediaClock) -> None:
        clients: dict[int, Client] = {}
        with selectors.DefaultSelector() as selector, listener:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_here, selectors.EVENT_READ)
            while not self._stopping:
                due_90k = min((client.due_90k for client in clients.values()), default=float("inf"))
                wait_s = None if due_90k == float("inf") else max(0.0, (due_90k - clock.now_90k()) / CLOCK_HZ)
                for key, events in selector.select(wait_s):
                    if key.fileobj is listener:
                        self._accept(listener, selector, clients, clock)
                    elif key.data is not None:
                        _attend(key.data, events, clock)
                now_90k = clock.now_90k()
                for client in clients.values():
                    if client.due_90k <= now_90k:
                        client.advance(now_90k)
                self._sweep(selector, clients)
            for client in clients.values():
                client.connection.close()

    def _accept(
        self, listener: socket.socket, selector: selectors.BaseSelector, clients: dict[int, Client], clock: MediaClock
    ) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if len(clients) >= MAX_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        client = Client(connection, self._tracks, self._faults, self._door, clock, self.counters)
        clients[connection.fileno()] = client
        selector.register(connection, selectors.EVENT_READ, client)
        self.counters.accepted += 1

    def _sweep(self, selector: selectors.BaseSelector, clients: dict[int, Client]) -> None:
        """Forgets clients that are gone and asks the kernel about writing only where something waits."""
        for number, client in list(clients.items()):
            if client.closed:
                selector.unregister(client.connection)
                client.connection.close()
                del clients[number]
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.wants_to_write else 0)
            if selector.get_key(client.connection).events != events:
                selector.modify(client.connection, events, client)
        self.counters.clients = len(clients)


def _attend(client: Client, events: int, clock: MediaClock) -> None:
    if events & selectors.EVENT_WRITE:
        client.flush()
        client.advance(clock.now_90k())
    if events & selectors.EVENT_READ:
        client.read()
