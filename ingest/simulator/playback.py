"""What one client is being sent: its place in the stream and the numbers that RTP counts for it."""

from __future__ import annotations

import secrets
from math import inf

from ingest.simulator import rtp
from ingest.simulator.faults import Fault
from ingest.simulator.stream import CLOCK_HZ
from ingest.simulator.track import MediaClock, Track

UNSENT_BYTES = 1 << 20
"""Nothing more is queued for a client with this much unsent."""
MAX_LAG_S = 4.0
"""A client further behind than this goes on from the newest key frame; what lies between is counted as dropped."""
REPORT_INTERVAL_S = 3.0
_HOUR_90K = 3600 * CLOCK_HZ


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


class Playback:
    """Starts at the newest key frame: the first picture comes at once, and its time says truly how old it is."""

    def __init__(self, track: Track, channels: tuple[int, int], clock: MediaClock, counters: Counters) -> None:
        self.track = track
        self.since_90k = clock.now_90k()
        self.number = track.newest_key(self.since_90k)
        self.sequence = secrets.randbits(16)
        self._channels, self._clock, self._counters = channels, clock, counters
        self._report_90k = self.since_90k
        self._packets = self._octets = 0

    def queue(self, out: bytearray, now_90k: int, fault: Fault | None, late: bool) -> float:
        """Appends what is due to `out`; gives the time at which to be called again, inf when `out` is full.

        late: whether a fault that starts some time after PLAY has started.
        """
        self._report(out, now_90k, fault)
        while len(out) < UNSENT_BYTES and (due_90k := self.track.due_90k(self.number)) <= now_90k:
            if now_90k - due_90k > MAX_LAG_S * CLOCK_HZ:
                newest = max(self.number, self.track.newest_key(now_90k))
                self._counters.dropped_packets += newest - self.number
                self.number = newest
            self._packet(out, fault.kind if fault and late else None)
            self.number += 1
        if len(out) >= UNSENT_BYTES:
            return inf
        return min(self.track.due_90k(self.number), self._report_90k)

    def _packet(self, out: bytearray, fault: str | None) -> None:
        if fault == "rtcp_only":
            return
        payload = self.track.payload(self.number)
        at_90k = self.track.captured_90k(self.number) + (_HOUR_90K if fault == "time_jump" else 0)
        wire = payload.wire(
            self._channels[0], self.track.stream.codec, self.sequence, self.track.rtp_time(at_90k), self.track.ssrc
        )
        if fault == "garbage":
            rtp.garble(wire, payload.starts, secrets.token_bytes)
        out += wire
        self.sequence = (self.sequence + len(payload.starts)) & 0xFFFF
        self._packets += len(payload.starts)
        self._octets += len(wire) - len(payload.starts) * rtp.HEADER.size
        self._counters.sent_packets += 1

    def _report(self, out: bytearray, now_90k: int, fault: Fault | None) -> None:
        """A sender report when it is time for one: before the first picture, then every few seconds."""
        if now_90k < self._report_90k:
            return
        self._report_90k = now_90k + round(REPORT_INTERVAL_S * CLOCK_HZ)
        if fault and fault.kind == "no_rtcp":
            return
        ahead_ns = 3_600_000_000_000 if fault and fault.kind == "wrong_clock" else 0
        out += rtp.sender_report(
            self._channels[1],
            self.track.ssrc,
            self._clock.utc_ns(now_90k) + ahead_ns,
            self.track.rtp_time(now_90k),
            self._packets,
            self._octets,
        )
