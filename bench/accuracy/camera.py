"""A recording played as a camera, faster than its time: the same demultiplexer, clock, ring, decoder and cuts as live.

Only the network is missing, and the clock of arrival is the recording's own. Loads PyAV.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType

import av
from av.packet import Packet as FilePacket

from ingest.config import CameraConfig, IngestConfig
from ingest.cutter import Coding, cut_of
from ingest.demux import Coded
from ingest.frame import CoarseFrame, Cut
from ingest.simulator.stream import CLOCK_HZ, Stream
from ingest.watch import Watch

EPOCH_NS = 1_750_000_000_000_000_000
"""UTC of a recording's first picture."""


class Recording:
    """A simulated camera's stream in a transport stream, which like RTP carries Annex B at 90 kHz; has what `Watch`
    wants of a demultiplexer. Use as a context manager."""

    def __init__(self, stream: Stream) -> None:
        # A transport stream has no place for JPEG.
        self._format = "matroska" if stream.codec == "mjpeg" else "mpegts"
        self._file = io.BytesIO(_contained(stream, self._format))

    def __enter__(self) -> Recording:
        self._container = av.open(self._file, "r", format=self._format)
        self._video = self._container.streams.video[0]
        context = self._video.codec_context
        self.codec, self.extradata = context.name, context.extradata
        self.size = (context.width, context.height)
        base = self._video.time_base or Fraction(1, CLOCK_HZ)
        self.time_base = (base.numerator, base.denominator)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._container.close()

    def packets(self) -> Iterator[Coded]:
        for packet in self._container.demux(self._video):
            if packet.size:
                yield packet


class RecordedCamera:
    """Plays a recording packet by packet; `seen` fills with coarse frames, `cut` answers from the ring."""

    def __init__(self, config: CameraConfig, ingest: IngestConfig, recording: Recording) -> None:
        self._config, self._ingest, self._recording = config, ingest, recording
        self._now_ns = 0
        self.seen: list[CoarseFrame] = []
        """Coarse frames since the caller last emptied it."""
        self._watch = Watch(
            config,
            ingest,
            recording,
            "a recording",
            0,
            self._take,
            lambda beat: None,
            steady_ns=lambda: self._now_ns,
            wall_ns=lambda: EPOCH_NS + self._now_ns,
        )

    def _take(self, frame: CoarseFrame) -> bool:
        self.seen.append(frame)
        return True

    def play(self) -> Iterator[int]:
        """Takes packet after packet, each at the recording's time; gives the UTC, ns, up to which the ring is full."""
        ticks_num, ticks_den = self._recording.time_base
        first: int | None = None
        for packet in self._recording.packets():
            pts = packet.pts if packet.pts is not None else packet.dts
            if pts is None:
                continue
            first = pts if first is None else first
            self._now_ns = (pts - first) * ticks_num * 1_000_000_000 // ticks_den
            self._watch.take(packet, self._now_ns)
            yield self._watch.ring.newest_utc_ns() or 0

    def cut(self, start_utc_ns: int, end_utc_ns: int, timeout_s: float = 0.0) -> Cut:
        """What the ring holds of a span now; nothing is waited for. Raises CutUnavailable."""
        coding = Coding(self._recording.codec, self._recording.extradata or b"", self._recording.size)
        run = self._watch.ring.select(start_utc_ns, end_utc_ns)
        return cut_of(self._config.id, run, coding, start_utc_ns, end_utc_ns, self._ingest)


def _contained(stream: Stream, container_format: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container_format) as container:
        track = container.add_mux_stream(
            stream.codec, width=stream.width, height=stream.height, time_base=Fraction(1, CLOCK_HZ)
        )
        for packet in stream.packets:
            coded = FilePacket(packet.data)
            coded.pts, coded.dts, coded.is_keyframe = packet.pts_90k, packet.dts_90k, packet.key
            coded.time_base, coded.stream = Fraction(1, CLOCK_HZ), track
            container.mux_one(coded)
    return out.getvalue()
