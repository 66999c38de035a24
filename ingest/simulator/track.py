"""A stream on the media clock: which packet is due when, and what it looks like on the wire."""

from __future__ import annotations

import secrets
import time
from bisect import bisect_right

from ingest.simulator import rtp
from ingest.simulator.stream import CLOCK_HZ, Stream


class MediaClock:
    """The time that all cameras of a server share. It starts once and follows the monotonic clock from there."""

    def __init__(self) -> None:
        self._start_ns = time.monotonic_ns()
        self.started_utc_ns = time.time_ns()

    def now_90k(self) -> int:
        """Ticks since the start."""
        return (time.monotonic_ns() - self._start_ns) * CLOCK_HZ // 1_000_000_000

    def utc_ns(self, at_90k: int) -> int:
        return self.started_utc_ns + at_90k * 1_000_000_000 // CLOCK_HZ


class Track:
    """One looped stream. Packets are numbered through all loops: number n is packet n mod N of loop n div N.

    A picture is captured at its PTS and sent as soon as its turn in decode order comes, but never before it was
    captured: with B-frames everything is sent later by the largest distance between PTS and DTS, as encoders do.
    """

    def __init__(self, stream: Stream, rtp_start: int | None = None) -> None:
        self.stream = stream
        self.ssrc = secrets.randbits(32)
        self._rtp_start = secrets.randbits(32) if rtp_start is None else rtp_start
        delay = max(packet.pts_90k - packet.dts_90k for packet in stream.packets)
        self._due = [packet.dts_90k + delay for packet in stream.packets]
        self._payloads: list[rtp.Payload | None] = [None] * len(stream.packets)

    def due_90k(self, number: int) -> int:
        """When the packet is sent."""
        loop, index = divmod(number, len(self._due))
        return loop * self.stream.duration_90k + self._due[index]

    def is_key(self, number: int) -> bool:
        return self.stream.packets[number % len(self._due)].key

    def newest_key(self, now_90k: int) -> int:
        """The last key frame that was due by now; the first of all before that."""
        loop = max(0, (now_90k - self._due[0]) // self.stream.duration_90k)
        number = loop * len(self._due) + bisect_right(self._due, now_90k - loop * self.stream.duration_90k) - 1
        while number > 0 and not self.is_key(number):
            number -= 1
        return max(0, number)

    def captured_90k(self, number: int) -> int:
        """Media time of the picture."""
        loop, index = divmod(number, len(self._due))
        return loop * self.stream.duration_90k + self.stream.packets[index].pts_90k

    def rtp_time(self, at_90k: int) -> int:
        """Media time as it stands in RTP headers: 32 bits from a start nobody may guess (RFC 3550 §5.1)."""
        return (self._rtp_start + at_90k) & 0xFFFFFFFF

    def payload(self, number: int) -> rtp.Payload:
        """RTP payloads of the packet, cut once and kept for all clients and loops."""
        index = number % len(self._due)
        ready = self._payloads[index]
        if ready is None:
            ready = self._payloads[index] = rtp.payload(self.stream.codec, self.stream.packets[index])
        return ready
