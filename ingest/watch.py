"""One connection to a camera: what happens to each packet. Runs on one thread of the camera's process. Loads PyAV."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from av.video.frame import VideoFrame

from ingest.clock import CameraClock, Timeline
from ingest.config import CameraConfig, IngestConfig
from ingest.decode import Decoder, Picture
from ingest.demux import Coded, reported_ns
from ingest.errors import SourceUndecodable
from ingest.follower import Follower
from ingest.frame import CoarseFrame
from ingest.ring import Packet, Ring
from ingest.wire import Beat

COARSE_LIMIT_S = 5.0
"""Coarse frames are never further apart (but for one picture): in a longer GOP those between are decoded as well."""
LONG_GOP_LOOK_S = 1.0
"""How often a camera is looked at whose key frames are further apart than that, where the machine keeps up."""
NO_PICTURE_S = 10.0
"""Packets without a single picture for this long: the camera is reconnected."""
MAX_PACKETS_PER_S = 600
"""Ten times what cameras send. More is a flood."""
BEAT_NS = 1_000_000_000
PACE_S = 0.25
"""After a packet that had to be waited for, we sleep this long and then take what has come in one go.
Waking for each packet would cost half as much again."""
_WAITED_NS = 2_000_000


class Packets(Protocol):
    """Where packets come from: a `Demuxer`, or a recording of one."""

    codec: str
    extradata: bytes | None
    time_base: tuple[int, int]

    def packets(self) -> Iterator[Coded]: ...


class Watch:
    """Ring, clock and coarse frames of one connection.

    Per packet: one copy into the ring and a few integer comparisons. All else happens per key frame or per second.
    `lock` guards the ring for the thread that makes cuts.
    """

    def __init__(
        self,
        camera: CameraConfig,
        ingest: IngestConfig,
        demuxer: Packets,
        shown: str,
        first_epoch: int,
        on_coarse: Callable[[CoarseFrame], bool],
        on_beat: Callable[[Beat], None],
        *,
        steady_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`steady_ns` and `wall_ns` are the clocks of arrival; a recording is played by others than the machine's."""
        self.lock = threading.Lock()
        self.ring = Ring(ingest.ring_s, ingest.ring_mib * 1024 * 1024)
        self._camera, self._ingest, self._demuxer, self._shown = camera, ingest, demuxer, shown
        self._clock = CameraClock(demuxer.time_base, first_epoch)
        self._decoder = Decoder(demuxer.codec, demuxer.extradata, ingest.max_pixels)
        self._follower = Follower(
            lambda: Decoder(demuxer.codec, demuxer.extradata, ingest.max_pixels, sparse=True), self._found
        )
        self._emitting = threading.Lock()
        self._on_coarse, self._on_beat = on_coarse, on_beat
        ticks_per_s = demuxer.time_base[1] / demuxer.time_base[0]
        self._coarse_ticks = ingest.coarse_interval_s * ticks_per_s
        self._limit_ticks = self._look_ticks = COARSE_LIMIT_S * ticks_per_s
        self._long_gop_ticks = max(LONG_GOP_LOOK_S, ingest.coarse_interval_s) * ticks_per_s
        self._last_coarse_pts: int | None = None
        self._picture_size: tuple[int, int] | None = None
        self._steady_ns = steady_ns
        self._wall_minus_steady_ns = wall_ns() - steady_ns()
        self._last_picture_ns = self._last_beat_ns = steady_ns()
        self._beat_packets = 0
        self._packets = self._bytes = self._key_frames = self._coarse = 0
        self._dropped: Counter[str] = Counter()
        self._next_pts = self._gop_pts = self._last_looked_pts = 0

    def run(self) -> None:
        """Until the camera ends the stream. Raises the errors of ingest."""
        steady_ns = self._steady_ns
        asked_ns = steady_ns()
        for packet in self._demuxer.packets():
            came_ns = steady_ns()
            self.take(packet, came_ns)
            if came_ns - asked_ns > _WAITED_NS:  # nothing was left to read: never sleeps on a backlog
                time.sleep(PACE_S)
            asked_ns = steady_ns()

    def take(self, coded: Coded, steady_ns: int) -> None:
        """One packet, in decode order, that came at `steady_ns`. Raises SourceUndecodable for a flood or blindness."""
        key = coded.is_keyframe
        pts, dts = coded.pts, coded.dts
        if pts is None:  # FFmpeg leaves it out of the first packet of an RTSP stream
            pts = self._next_pts if dts is None else dts
        duration = coded.duration or 0
        packet = Packet(bytes(coded), pts, dts, duration, key)
        self._next_pts = pts + duration
        self._packets += 1
        self._bytes += len(packet.data)
        arrival_ns = steady_ns + self._wall_minus_steady_ns
        before = self._clock.timeline
        timeline = self._clock.feed(pts, dts, arrival_ns, reported_ns(coded) if key else None, key)
        if timeline is not before:
            self._last_coarse_pts = None
        with self.lock:
            kept = self.ring.append(packet, timeline, steady_ns / 1e9)
        if key:
            self._key_frame(packet)
        elif pts - self._last_looked_pts > self._look_ticks and kept and self._follower.idle:
            self._look_into_gop(pts, timeline)
        if steady_ns - self._last_beat_ns >= BEAT_NS:
            self._beat(steady_ns)

    def _key_frame(self, packet: Packet) -> None:
        self._key_frames += 1
        gop_ticks = packet.pts - self._gop_pts
        self._gop_pts = packet.pts
        self._look_ticks = self._limit_ticks if gop_ticks <= self._limit_ticks else self._long_gop_ticks
        last = self._last_coarse_pts
        next_is_soon = last is not None and packet.pts + gop_ticks - last <= self._limit_ticks
        if next_is_soon and self._too_soon(packet.pts):
            self._dropped["interval"] += 1
            return
        self._last_looked_pts = packet.pts
        try:
            frame = self._decoder.single(packet)
        except SourceUndecodable:
            frame = None
        if frame is None:
            self._dropped["undecodable"] += 1
            return
        if frame.is_corrupt:
            self._dropped["corrupt"] += 1
        self._emit(packet.pts, self._decoder.picture(frame, self._ingest.coarse_size), self._clock.timeline, key=True)

    def _look_into_gop(self, pts: int, timeline: Timeline) -> None:
        self._look_ticks = self._long_gop_ticks
        self._last_looked_pts = pts
        with self.lock:
            gop = self.ring.open_gop()
        self._follower.look(gop, timeline)

    def _found(self, decoder: Decoder, frame: VideoFrame, timeline: Timeline) -> None:
        """On the follower's thread."""
        if frame.pts is not None:
            self._emit(frame.pts, decoder.picture(frame, self._ingest.coarse_size), timeline, key=False)

    def _too_soon(self, pts: int) -> bool:
        return self._last_coarse_pts is not None and pts - self._last_coarse_pts < self._coarse_ticks

    def _emit(self, pts: int, picture: Picture, timeline: Timeline, key: bool) -> None:
        with self._emitting:
            if not key and (timeline is not self._clock.timeline or pts <= (self._last_coarse_pts or 0)):
                self._dropped["late"] += 1
                return
            if key and self._picture_size not in (None, picture.source_size):
                timeline = self._clock.renew()  # boxes mean something else from here on
                with self.lock:
                    self.ring.relabel(timeline)
            self._picture_size = picture.source_size
            self._last_coarse_pts = self._last_looked_pts = pts
            self._last_picture_ns = self._steady_ns()
            frame = CoarseFrame(
                camera_id=self._camera.id,
                epoch=timeline.epoch,
                stamp=timeline.stamp(pts),
                source_size=picture.source_size,
                size=picture.size,
                rgb=picture.rgb,
            )
            self._coarse += 1
            if not self._on_coarse(frame):
                self._dropped["not_taken"] += 1

    def _beat(self, steady_ns: int) -> None:
        elapsed_s = (steady_ns - self._last_beat_ns) / 1e9
        rate = (self._packets - self._beat_packets) / elapsed_s
        self._last_beat_ns, self._beat_packets = steady_ns, self._packets
        dropped = dict(self._dropped)
        if self.ring.refused:
            dropped["no_key_frame"] = self.ring.refused
        self._on_beat(
            Beat(
                epoch=self._clock.timeline.epoch,
                packets=self._packets,
                bytes=self._bytes,
                key_frames=self._key_frames,
                coarse=self._coarse,
                dropped=dropped,
                ring_s=round(self.ring.seconds, 3),
                ring_bytes=self.ring.size,
                camera_offset_ms=self._clock.camera_offset_ms,
            )
        )
        if rate > MAX_PACKETS_PER_S:
            raise SourceUndecodable(f"{self._shown} floods us with {rate:.0f} packets a second")
        if steady_ns - self._last_picture_ns > NO_PICTURE_S * 1e9:
            raise SourceUndecodable(
                f"{self._shown} sends packets but no picture for {NO_PICTURE_S:g} s; check its key frame interval"
            )
