"""The last seconds of one camera as compressed packets, kept and evicted by whole GOPs. Pure: no I/O, no clock."""

from collections import deque
from collections.abc import Iterator

import msgspec

from ingest.clock import Timeline


class Packet(msgspec.Struct, gc=False):
    """One coded picture in decode order. Not frozen only because one is born per picture and freezing costs."""

    data: bytes
    pts: int
    dts: int | None
    duration: int
    key: bool

    @property
    def order(self) -> int:
        """DTS, or PTS where the stream gives no DTS: no later packet holds a picture shown before it."""
        return self.pts if self.dts is None else self.dts


class Gop:
    """A key frame and what depends on it. `began_s` is its steady arrival time, s."""

    __slots__ = ("began_s", "packets", "size", "timeline")

    def __init__(self, timeline: Timeline, began_s: float) -> None:
        self.timeline = timeline
        self.began_s = began_s
        self.packets: list[Packet] = []
        self.size = 0

    def add(self, packet: Packet) -> None:
        self.packets.append(packet)
        self.size += len(packet.data)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Packets of one epoch, the first one a key frame, that together give every picture of a span."""

    timeline: Timeline
    packets: tuple[Packet, ...]
    start_pts: int
    end_pts: int


class Ring:
    """Bounded in seconds of arrival and in bytes; the oldest GOP goes first and goes whole.

    The newest GOP stays whatever its length, unless it alone exceeds the bytes: then it is dropped and packets are
    refused until the next key frame, for nothing after the gap could be decoded.
    """

    def __init__(self, max_s: float, max_bytes: int) -> None:
        self._max_s = max_s
        self._max_bytes = max_bytes
        self._gops: deque[Gop] = deque()
        self._open: Gop | None = None
        self.size = 0
        """Bytes of packets held."""
        self._newest_s = 0.0
        self.refused = 0
        """Packets without a key frame before them, or of a GOP that outgrew the ring."""

    def append(self, packet: Packet, timeline: Timeline, arrival_s: float) -> bool:
        """Takes a packet in decode order; False: refused and counted."""
        gop = self._open
        if packet.key:
            gop = self._open = Gop(timeline, arrival_s)
            self._gops.append(gop)
        elif gop is None or gop.timeline is not timeline:
            self._open = None
            self.refused += 1
            return False
        gop.add(packet)
        self.size += len(packet.data)
        self._newest_s = arrival_s
        if self.size > self._max_bytes or arrival_s - self._gops[0].began_s > self._max_s:
            self._evict()
        return self._open is not None

    def relabel(self, timeline: Timeline) -> None:
        """Moves the newest GOP, just begun, into another epoch."""
        if self._open is not None:
            self._open.timeline = timeline

    def open_gop(self) -> tuple[Packet, ...]:
        """The newest GOP so far, in decode order."""
        return tuple(self._open.packets) if self._open else ()

    @property
    def seconds(self) -> float:
        return self._newest_s - self._gops[0].began_s if self._gops else 0.0

    def __len__(self) -> int:
        return sum(len(gop.packets) for gop in self._gops)

    def newest_utc_ns(self) -> int | None:
        """UTC up to which the newest epoch is held complete."""
        if not self._gops:
            return None
        gop = self._gops[-1]
        return gop.timeline.utc_ns(gop.packets[-1].order)

    def select(self, start_utc_ns: int, end_utc_ns: int) -> Run | None:
        """The packets needed for a span, from the key frame at or before its start; the epoch that holds most of it."""
        best: list[Gop] = []
        best_overlap = -1
        for gops in self._epochs():
            first, last = gops[0].packets[0], gops[-1].packets[-1]
            timeline = gops[0].timeline
            begin, finish = timeline.utc_ns(first.pts), timeline.utc_ns(last.pts)
            overlap = min(finish, end_utc_ns) - max(begin, start_utc_ns)
            if overlap > best_overlap or (overlap >= 0 and overlap == best_overlap):
                best, best_overlap = gops, overlap
        if not best:
            return None
        timeline = best[0].timeline
        start_pts, end_pts = timeline.pts(start_utc_ns), timeline.pts(end_utc_ns)
        before = [index for index, gop in enumerate(best) if gop.packets[0].pts <= start_pts]
        packets = [packet for gop in best[before[-1] if before else 0 :] for packet in gop.packets]
        stop = next((index for index, packet in enumerate(packets) if packet.order > end_pts), len(packets))
        return Run(timeline=timeline, packets=tuple(packets[:stop]), start_pts=start_pts, end_pts=end_pts)

    def _epochs(self) -> Iterator[list[Gop]]:
        held: list[Gop] = []
        for gop in self._gops:
            if held and held[-1].timeline is not gop.timeline:
                yield held
                held = []
            held.append(gop)
        if held:
            yield held

    def _evict(self) -> None:
        gops = self._gops
        while len(gops) > 1 and (self.size > self._max_bytes or self._newest_s - gops[0].began_s > self._max_s):
            self.size -= gops.popleft().size
        if self.size > self._max_bytes:
            self.refused += len(gops[0].packets)
            gops.clear()
            self.size = 0
            self._open = None
