"""Time of a frame: container PTS, the UTC it stands for, where that UTC came from and how far it may be off.

Within one epoch UTC is an exact linear function of PTS, so the spacing of frames is the camera's own. Only the constant
moves: it follows the camera's sender reports, or else the smallest delay with which packets arrived lately.
"""

from collections import deque
from typing import Literal

import msgspec

ClockSource = Literal["rtcp_sr", "arrival", "file"]

JUMP_S = 2.0
"""A step of DTS beyond this is a jump of the camera's clock."""
TRUST_S = 5.0
"""Sender reports further than this from arrival are a wrong clock, not a delay: arrival is used instead."""
STEP_NS = 500_000_000
"""A move of the mapping beyond this starts a new epoch (one fine step); smaller ones are corrections."""
SETTLING_NS = 1_000_000_000
"""In an epoch's first second of arrival the mapping moves freely: cameras send their backlog in a burst."""
BACKLOG_S = 60.0
"""While settling, sender reports may lie this far before arrival."""
BUCKET_NS, BUCKETS = 10_000_000_000, 6
"""Smallest delays are kept per bucket for the last minute, so that a drifting crystal is followed."""
ARRIVAL_UNCERTAINTY_MS = 250.0
"""Encoding and network delay that arrival time cannot tell from lateness."""
SETTLING_UNCERTAINTY_MS = 2250.0
REPORT_UNCERTAINTY_MS = 10.0


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When a frame was captured. PTS are counted in `time_base` ticks since the start of the stream epoch."""

    pts: int
    time_base: tuple[int, int]
    """Numerator and denominator of one tick in seconds, as (1, 90000)."""
    utc_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    source: ClockSource
    """`rtcp_sr`: the camera's sender reports; `arrival`: when we read it; `file`: seconds from the file's start."""
    uncertainty_ms: float
    """Half-width of the interval in which the true instant lies."""

    def __post_init__(self) -> None:
        if self.time_base[0] <= 0 or self.time_base[1] <= 0:
            raise ValueError(f"time base {self.time_base} is not positive")
        if self.uncertainty_ms < 0:
            raise ValueError(f"uncertainty {self.uncertainty_ms} ms is negative")


class Timeline:
    """The mapping of one epoch. `offset_ns` is the UTC of PTS 0."""

    __slots__ = ("epoch", "offset_ns", "source", "time_base", "uncertainty_ms")

    def __init__(self, epoch: int, time_base: tuple[int, int], offset_ns: int) -> None:
        self.epoch = epoch
        self.time_base = time_base
        self.offset_ns = offset_ns
        self.source: ClockSource = "arrival"
        self.uncertainty_ms = SETTLING_UNCERTAINTY_MS

    def media_ns(self, pts: int) -> int:
        """Nanoseconds from PTS 0."""
        return pts * self.time_base[0] * 1_000_000_000 // self.time_base[1]

    def utc_ns(self, pts: int) -> int:
        return self.offset_ns + self.media_ns(pts)

    def pts(self, utc_ns: int) -> int:
        """The tick nearest to an instant."""
        ticks, half = self.time_base[0] * 1_000_000_000, self.time_base[0] * 500_000_000
        return ((utc_ns - self.offset_ns) * self.time_base[1] + half) // ticks

    def stamp(self, pts: int) -> Stamp:
        return Stamp(
            pts=pts,
            time_base=self.time_base,
            utc_ns=self.utc_ns(pts),
            source=self.source,
            uncertainty_ms=round(self.uncertainty_ms, 3),
        )


class CameraClock:
    """Follows one connection's packets in decode order. `timeline` is the current epoch's; it is replaced by a jump.

    Arrival times must come from one steady clock in UTC nanoseconds (a wall-clock reading plus monotonic time since),
    so that a step of this machine's clock does not look like one of the camera's.
    """

    def __init__(self, time_base: tuple[int, int], epoch: int) -> None:
        self.camera_offset_ms: float | None = None
        """Sender reports' clock minus arrival, ms; None: no report yet."""
        self.timeline = Timeline(epoch, time_base, 0)
        self._jump_ticks = round(JUMP_S * time_base[1] / time_base[0])
        self._tick_num, self._tick_den = time_base[0] * 1_000_000_000, time_base[1]
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._settled_ns = 0
        self._delays: deque[tuple[int, int]] = deque(maxlen=BUCKETS)
        self._least_ns = 0
        self._bucket_ends_ns = 0

    def feed(
        self, pts: int, dts: int | None, arrival_ns: int, reported_ns: int | None = None, key: bool = True
    ) -> Timeline:
        """Takes one packet, `reported_ns` being its UTC by sender report where known, and gives the epoch it is in.

        A new Timeline object means a new epoch: DTS stood still, went back or jumped by more than 2 s, or, at a key
        frame, the mapping to UTC moved by more than half a second.
        """
        last = self._last_dts
        if last is None or dts is None or not 0 < dts - last <= self._jump_ticks:
            self._look_closer(pts, dts, arrival_ns)
        self._last_pts = pts
        self._last_dts = dts
        media_ns = pts * self._tick_num // self._tick_den
        if key or arrival_ns - media_ns < self._least_ns or media_ns >= self._bucket_ends_ns:
            self._follow(media_ns, arrival_ns, reported_ns, key)  # most packets have nothing to tell
        return self.timeline

    def _look_closer(self, pts: int, dts: int | None, arrival_ns: int) -> None:
        if self._last_pts is None:
            self._begin(self.timeline, pts, arrival_ns)
        elif (dts is not None and self._last_dts is not None) or abs(pts - self._last_pts) > self._jump_ticks:
            self._begin(self._next(), pts, arrival_ns)

    def renew(self) -> Timeline:
        """Starts an epoch for a reason the clock cannot see (the picture's size changed); the mapping is kept."""
        before, timeline = self.timeline, self._next()
        timeline.offset_ns, timeline.source = before.offset_ns, before.source
        timeline.uncertainty_ms = before.uncertainty_ms
        return timeline

    def _next(self) -> Timeline:
        self.timeline = Timeline(self.timeline.epoch + 1, self.timeline.time_base, 0)
        return self.timeline

    def _begin(self, timeline: Timeline, pts: int, arrival_ns: int) -> None:
        timeline.offset_ns = arrival_ns - timeline.media_ns(pts)
        self._settled_ns = arrival_ns + SETTLING_NS
        self._delays.clear()
        self._bucket_ends_ns = -(1 << 62)

    def _follow(self, media_ns: int, arrival_ns: int, reported_ns: int | None, key: bool) -> None:
        self._note_delay(media_ns, arrival_ns - media_ns)
        settling = arrival_ns < self._settled_ns
        if reported_ns is not None:
            offset_ns = reported_ns - media_ns
            self.camera_offset_ms = (offset_ns - self._least_ns) / 1e6
            earliest_s = -BACKLOG_S if settling else -TRUST_S
            if earliest_s * 1e3 <= self.camera_offset_ms <= TRUST_S * 1e3:
                uncertainty = max(REPORT_UNCERTAINTY_MS, abs(self.camera_offset_ms))
                self._move(offset_ns, "rtcp_sr", uncertainty, key, settling)
                return
        elif self.timeline.source == "rtcp_sr":
            return
        uncertainty = SETTLING_UNCERTAINTY_MS if settling else ARRIVAL_UNCERTAINTY_MS
        self._move(self._least_ns, "arrival", uncertainty, key, settling)

    def _note_delay(self, media_ns: int, delay_ns: int) -> None:
        bucket = media_ns // BUCKET_NS
        if not self._delays or self._delays[-1][0] != bucket:
            self._delays.append((bucket, delay_ns))
        elif delay_ns < self._delays[-1][1]:
            self._delays[-1] = (bucket, delay_ns)
        self._least_ns = min(delay for _, delay in self._delays)
        self._bucket_ends_ns = (bucket + 1) * BUCKET_NS

    def _move(self, offset_ns: int, source: ClockSource, uncertainty_ms: float, key: bool, settling: bool) -> None:
        if not settling and abs(offset_ns - self.timeline.offset_ns) > STEP_NS:
            if not key:  # an epoch without a key frame could not be decoded: the next one will do
                return
            self._next()
        self.timeline.offset_ns = offset_ns
        self.timeline.source = source
        self.timeline.uncertainty_ms = uncertainty_ms
