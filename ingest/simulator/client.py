"""One RTSP client: its requests, its place in the stream, its share of unsent bytes."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from math import inf

from ingest.simulator import message, rtp, sdp
from ingest.simulator.auth import Door
from ingest.simulator.faults import Fault, split_path
from ingest.simulator.message import Request
from ingest.simulator.stream import CLOCK_HZ
from ingest.simulator.track import MediaClock, Track

UNSENT_BYTES = 1 << 20
"""Nothing more is queued for a client with this much unsent."""
MAX_LAG_S = 4.0
"""A client further behind than this goes on from the newest key frame; what lies between is counted as dropped."""
REPORT_INTERVAL_S = 3.0
_TRICKLE_S = 0.2
_HOUR_90K = 3600 * CLOCK_HZ
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"


class Counters:
    """What a server has done since its start."""

    def __init__(self) -> None:
        self.clients = 0
        """Connections that are open now."""
        self.accepted = 0
        self.sent_packets = 0
        """Access units."""
        self.sent_bytes = 0
        self.dropped_packets = 0
        """Access units that slow clients were not sent."""


class Client:
    """Spoken to by the server's one thread. `due_90k` says when `advance` wants to be called next."""

    def __init__(
        self,
        connection: socket.socket,
        tracks: Mapping[str, Track],
        door: Door,
        clock: MediaClock,
        faults: Mapping[str, Fault],
        counters: Counters,
    ) -> None:
        self.connection = connection
        self.closed = False
        self.due_90k: float = inf
        self._tracks, self._door, self._clock, self._faults, self._counters = tracks, door, clock, faults, counters
        self._in, self._out = bytearray(), bytearray()
        self._session = secrets.token_hex(8)
        self._name = ""
        self._url_fault: Fault | None = None
        self._track: Track | None = None
        self._channels = (0, 1)
        self._playing_since_90k: int | None = None
        self._number = 0
        self._sequence = secrets.randbits(16)
        self._report_90k = 0
        self._packets = self._octets = 0

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
        try:
            while not self.closed and (request := message.take(self._in)) is not None:
                self._answer(request)
        except ValueError:
            self._out += message.reply(400, None)
            self.flush()
            self.closed = True
        self.flush()

    def flush(self) -> None:
        """Sends as much as the connection takes."""
        try:
            if self._out and not self.closed:
                sent = self.connection.send(self._out)
                self._counters.sent_bytes += sent
                del self._out[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.closed = True

    def advance(self, now_90k: int) -> None:
        """Queues and sends everything that is due."""
        if self._track is None or self._playing_since_90k is None:
            self.due_90k = inf
            return
        fault = self._fault()
        late = fault is not None and now_90k - self._playing_since_90k >= fault.after_s * CLOCK_HZ
        kind = fault.kind if fault is not None and late else None
        if kind == "close":
            self.closed = True
        elif kind == "stall":
            self.due_90k = now_90k + CLOCK_HZ // 10  # looks again: the fault may be lifted
        elif kind == "trickle":
            self._trickle(now_90k)
        else:
            self._report(now_90k)
            self._send_due(self._track, now_90k, kind)
            self.flush()

    def _send_due(self, track: Track, now_90k: int, kind: str | None) -> None:
        while len(self._out) < UNSENT_BYTES and (due := track.due_90k(self._number)) <= now_90k:
            if now_90k - due > MAX_LAG_S * CLOCK_HZ:
                newest = track.newest_key(now_90k)
                if newest > self._number:
                    self._counters.dropped_packets += newest - self._number
                    self._number = newest
            if kind != "rtcp_only":
                self._queue(track, kind)
            self._number += 1
        full = len(self._out) >= UNSENT_BYTES
        self.due_90k = inf if full else min(track.due_90k(self._number), self._report_90k)

    def _queue(self, track: Track, kind: str | None) -> None:
        payload = track.payload(self._number)
        at_90k = track.captured_90k(self._number) + (_HOUR_90K if kind == "time_jump" else 0)
        wire = payload.wire(
            self._channels[0], track.stream.codec, self._sequence, track.rtp_time(at_90k), track.ssrc
        )
        if kind == "garbage":
            rtp.garble(wire, payload.starts, secrets.token_bytes)
        self._out += wire
        self._sequence = (self._sequence + len(payload.starts)) & 0xFFFF
        self._packets += len(payload.starts)
        self._octets += len(wire) - len(payload.starts) * rtp.HEADER.size
        self._counters.sent_packets += 1

    def _report(self, now_90k: int) -> None:
        """A sender report when it is time for one: before the first picture, then every few seconds."""
        fault = self._fault()
        if now_90k < self._report_90k or self._track is None or (fault is not None and fault.kind == "no_rtcp"):
            return
        self._report_90k = now_90k + round(REPORT_INTERVAL_S * CLOCK_HZ)
        ahead_ns = 3_600_000_000_000 if fault is not None and fault.kind == "wrong_clock" else 0
        self._out += rtp.sender_report(
            self._channels[1],
            self._track.ssrc,
            self._clock.utc_ns(now_90k) + ahead_ns,
            self._track.rtp_time(now_90k),
            self._packets,
            self._octets,
        )

    def _trickle(self, now_90k: int) -> None:
        self._out += b"$" if not self._out else b""
        try:
            sent = self.connection.send(self._out[:1])
            del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        self.due_90k = now_90k + round(_TRICKLE_S * CLOCK_HZ)

    def _fault(self) -> Fault | None:
        return self._url_fault or self._faults.get(self._name)
