"""One RTSP client: the dialogue and the bytes still to be sent."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Mapping
from math import inf
from urllib.parse import urlsplit

from ingest.simulator import message, sdp
from ingest.simulator.auth import Door
from ingest.simulator.faults import Fault, split_path
from ingest.simulator.message import Request, reply
from ingest.simulator.playback import Counters, Playback
from ingest.simulator.stream import CLOCK_HZ
from ingest.simulator.track import MediaClock, Track

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_LOOK_AGAIN_90K = CLOCK_HZ // 5


class Client:
    """Driven by the server's one thread. `due_90k` says when `advance` wants to be called next."""

    def __init__(
        self,
        connection: socket.socket,
        tracks: Mapping[str, Track],
        faults: Mapping[str, Fault],
        door: Door,
        clock: MediaClock,
        counters: Counters,
    ) -> None:
        self.connection = connection
        self.closed = False
        self.due_90k: float = inf
        self._tracks, self._faults, self._door, self._clock, self._counters = tracks, faults, door, clock, counters
        self._in, self._out = bytearray(), bytearray()
        self._session = secrets.token_hex(8)
        self._name = ""
        self._url_fault: Fault | None = None
        self._channels: tuple[int, int] | None = None
        self._playback: Playback | None = None

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out) and not self.closed

    def read(self) -> None:
        """Takes what has arrived and answers the requests in it."""
        try:
            arrived = self.connection.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            arrived = b""
        if not arrived:
            self.closed = True
            return
        self._in += arrived
        leave = False
        try:
            while not leave and (request := message.take(self._in)) is not None:
                self._out += self._answer(request)
                leave = request.method == "TEARDOWN"
        except ValueError:
            self._out += reply(400, None)
            leave = True
        self.flush()
        self.closed = self.closed or leave

    def flush(self) -> None:
        """Sends as much as the connection takes."""
        self._send(len(self._out))

    def advance(self, now_90k: int) -> None:
        """Queues and sends what is due."""
        self.due_90k = inf
        if self._playback is None:
            return
        fault = self._fault()
        late = fault is not None and now_90k - self._playback.since_90k >= fault.after_s * CLOCK_HZ
        kind = fault.kind if fault and late else None
        if kind == "close":
            self.closed = True
        elif kind in ("stall", "trickle"):
            if kind == "trickle":
                self._out += b"" if self._out else b"$"
                self._send(1)
            self.due_90k = now_90k + _LOOK_AGAIN_90K  # the fault may be lifted
        else:
            self.due_90k = self._playback.queue(self._out, now_90k, fault, late)
            self.flush()

    def _send(self, size: int) -> None:
        if not size or self.closed:
            return
        try:
            sent = self.connection.send(memoryview(self._out)[:size])
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
            return
        self._counters.sent_bytes += sent
        del self._out[:sent]

    def _fault(self) -> Fault | None:
        return self._url_fault or self._faults.get(self._name)

    def _answer(self, request: Request) -> bytes:
        name, url_fault = split_path(request.path)
        if name:
            self._name, self._url_fault = name, url_fault
        fault = self._fault()
        if fault and fault.kind == "silent":
            return b""
        if request.method == "OPTIONS":
            return reply(200, request, {"Public": METHODS})
        if (fault and fault.kind == "wrong_password") or not self._door.admits(request):
            return reply(401, request, {"WWW-Authenticate": self._door.challenge()})
        track = self._tracks.get(self._name)
        if track is None:
            return reply(404, request)
        session = {"Session": f"{self._session};timeout=60"}
        match request.method:
            case "DESCRIBE":
                headers = {"Content-Type": "application/sdp", "Content-Base": request.url.rstrip("/") + "/"}
                return reply(200, request, headers, sdp.describe(self._name, track.stream))
            case "SETUP":
                return self._set_up(request, track, session)
            case "PLAY":
                return self._play(request, track, session)
            case "PAUSE":
                self._playback = None
                return reply(200, request, session)
            case "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN":
                return reply(200, request, session)
        return reply(501, request, {"Public": METHODS})

    def _set_up(self, request: Request, track: Track, session: dict[str, str]) -> bytes:
        """Interleaved in this connection only; a client that asks for UDP is told so and may ask again."""
        for transport in request.headers.get("transport", "").split(","):
            if transport.strip().upper().startswith("RTP/AVP/TCP"):
                asked = re.search(r"interleaved=(\d+)-(\d+)", transport)
                channels = (int(asked[1]), int(asked[2])) if asked else (0, 1)
                if max(channels) > 255 or channels[0] == channels[1]:
                    return reply(461, request)
                self._channels = channels
                granted = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};ssrc={track.ssrc:08X}"
                return reply(200, request, {"Transport": granted, **session})
        return reply(461, request)

    def _play(self, request: Request, track: Track, session: dict[str, str]) -> bytes:
        if self._channels is None:
            return reply(455, request)
        if self._playback is None:
            self._playback = Playback(track, self._channels, self._clock, self._counters)
            self.due_90k = 0
        playback = self._playback
        url = urlsplit(request.url)._replace(query="").geturl().removesuffix("/")
        url = url if url.endswith(sdp.TRACK) else f"{url}/{sdp.TRACK}"
        rtp_time = track.rtp_time(track.captured_90k(playback.number))
        info = f"url={url};seq={playback.sequence};rtptime={rtp_time}"
        return reply(200, request, {**session, "Range": "npt=now-", "RTP-Info": info})
