"""Pictures out of packets: single key frames for the ViT, fine frames of a run. Loads PyAV, and Pillow for JPEGs."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import msgspec
from av.codec import CodecContext
from av.packet import Packet as AvPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation

from ingest.errors import SourceUndecodable
from ingest.frame import FineFrame
from ingest.ring import Packet, Run

FINE_LONGEST_PX = 1280
JPEG_QUALITY = 90
HD_HEIGHT_PX = 720
"""Untagged pictures of this height and above are taken as BT.709, below as BT.601, as players do."""
NEAR_NS = 60_000_000
"""A frame this near to a wanted instant, or nearer than it lasts, may be the nearest one."""
_UNSPECIFIED_COLORSPACE = 2


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded frame as RGB rows without padding: uint8, size[1] x size[0] x 3."""

    pts: int
    rgb: bytes
    size: tuple[int, int]
    source_size: tuple[int, int]


def displayed_size(width: int, height: int, sample_aspect: Fraction | None) -> tuple[int, int]:
    """Size with square pixels, px: the side that is too short grows, so no detail is lost."""
    if not sample_aspect or sample_aspect <= 0 or not Fraction(1, 8) <= sample_aspect <= 8:
        return width, height
    if sample_aspect >= 1:
        return round(width * sample_aspect), height
    return width, round(height / sample_aspect)


def fitted(size: tuple[int, int], bound: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same aspect within `bound`, never larger than `size`, px."""
    scale = min(1.0, bound[0] / size[0], bound[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class Decoder:
    """One codec context on one thread. Raises SourceUndecodable for what the codec refuses; usable again afterwards."""

    def __init__(self, codec: str, extradata: bytes | None, max_pixels: int, *, sparse: bool = False) -> None:
        """`sparse`: pictures that no other one leans on are left out, which is cheaper where there are B-frames."""
        self._codec, self._extradata, self._max_pixels, self._sparse = codec, extradata, max_pixels, sparse
        self._context = self._create()

    def _create(self) -> VideoCodecContext:
        context = CodecContext.create(self._codec, "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_type = "NONE"  # threads cost latency and memory, and one core is ours
        context.thread_count = 1
        context.options = {"max_pixels": str(self._max_pixels)}
        if self._sparse:
            context.skip_frame = "NONREF"
        if self._extradata:
            context.extradata = self._extradata
        return context

    def feed(self, packet: Packet | None) -> list[VideoFrame]:
        """Frames that this packet completes, in display order; None drains the decoder."""
        try:
            if packet is None:
                return self._context.decode(None)
            coded = AvPacket(packet.data)
            coded.pts, coded.dts = packet.pts, packet.dts
            return self._context.decode(coded)
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, MemoryError) as error:
            self._context = self._create()
            raise SourceUndecodable(f"{self._codec} decoder: {type(error).__name__}") from None

    def skip_leaves(self, skip: bool) -> None:
        """Whether from the next packet on pictures are left out that no other one leans on."""
        self._context.skip_frame = "NONREF" if skip else "DEFAULT"

    def single(self, packet: Packet) -> VideoFrame | None:
        """The picture of one key frame, without its neighbours. The decoder forgets what it saw before and after."""
        frames = self.feed(packet) + self.feed(None)
        self._context.flush_buffers()
        return frames[0] if frames else None

    def displayed(self, frame: VideoFrame) -> tuple[int, int]:
        return displayed_size(frame.width, frame.height, self._context.sample_aspect_ratio)

    def picture(self, frame: VideoFrame, bound: tuple[int, int]) -> Picture:
        """The displayed picture, reduced to fit `bound`."""
        source_size = self.displayed(frame)
        width, height = fitted(source_size, bound)
        matrix = frame.colorspace
        if matrix == _UNSPECIFIED_COLORSPACE:
            matrix = Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601
        try:
            reduced = frame.reformat(
                width, height, "rgb24", src_colorspace=matrix, interpolation=Interpolation.AREA, threads=1
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceUndecodable(f"{self._codec} picture: {type(error).__name__}") from None
        plane = reduced.planes[0]
        rows, row = memoryview(plane), width * 3
        if plane.line_size == row:
            rgb = bytes(rows[: row * height])
        else:
            rgb = b"".join(rows[start : start + row] for start in range(0, plane.line_size * height, plane.line_size))
        return Picture(pts=frame.pts or 0, rgb=rgb, size=(width, height), source_size=source_size)


def jpeg(picture: Picture) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.frombuffer("RGB", picture.size, picture.rgb, "raw", "RGB", 0, 1).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


class Fine(msgspec.Struct, kw_only=True):
    """Fine frames of a run and what was seen while decoding it."""

    frames: list[FineFrame] = []
    source_size: tuple[int, int] = (0, 0)
    decoded: int = 0
    corrupt: int = 0
    undecodable: int = 0


def grid(start_utc_ns: int, end_utc_ns: int, step_s: float) -> list[int]:
    """Instants at which a span wants a fine frame: its start and every step up to its end, UTC ns."""
    step_ns = round(step_s * 1e9)
    return [start_utc_ns + index * step_ns for index in range((end_utc_ns - start_utc_ns) // step_ns + 1)]


def fine_frames(decoder: Decoder, run: Run, wanted_utc_ns: list[int]) -> Fine:
    """For each wanted instant the decoded frame nearest to it, at most half a step away; no frame twice.

    Between the key frame and the end every frame is decoded that others lean on, and every one near a wanted instant;
    only the chosen ones are converted. A frame of another size than the first ends the run's use: its boxes would mean
    something else.
    """
    fine = Fine()
    timeline = run.timeline
    reach_ns = (wanted_utc_ns[1] - wanted_utc_ns[0]) // 2 if len(wanted_utc_ns) > 1 else 500_000_000
    wanted = iter(wanted_utc_ns)
    want = next(wanted, None)
    best: VideoFrame | None = None
    best_away = reach_ns + 1
    for frame in _displayed_frames(decoder, run, wanted_utc_ns, fine):
        size = decoder.displayed(frame)
        if fine.source_size == (0, 0):
            fine.source_size = size
        elif size != fine.source_size:
            break
        assert frame.pts is not None
        utc_ns = timeline.utc_ns(frame.pts)
        while want is not None and best is not None and abs(utc_ns - want) >= best_away:
            _take(fine, decoder, run, best)
            best, best_away = None, reach_ns + 1
            want = next(wanted, None)
        while want is not None and utc_ns - want > reach_ns:
            want = next(wanted, None)
        if want is None:
            break
        if abs(utc_ns - want) < best_away:
            best, best_away = frame, abs(utc_ns - want)
    if best is not None and want is not None:
        _take(fine, decoder, run, best)
    return fine


def _displayed_frames(decoder: Decoder, run: Run, wanted_utc_ns: list[int], fine: Fine) -> Iterator[VideoFrame]:
    """Frames in display order, without those before the key frame that would lean on what is not held."""
    first = run.packets[0].pts
    last = first - 1
    for packet in (*run.packets, None):
        if packet is not None:
            decoder.skip_leaves(not _near(run, packet, wanted_utc_ns))
        try:
            frames = decoder.feed(packet)
        except SourceUndecodable:
            fine.undecodable += 1
            continue
        for frame in frames:
            if frame.pts is None or frame.pts <= last or frame.pts < first:
                continue
            last = frame.pts
            fine.decoded += 1
            fine.corrupt += frame.is_corrupt
            yield frame


def _near(run: Run, packet: Packet, wanted_utc_ns: list[int]) -> bool:
    utc_ns = run.timeline.utc_ns(packet.pts)
    margin_ns = max(NEAR_NS, run.timeline.media_ns(packet.duration))
    index = bisect_left(wanted_utc_ns, utc_ns - margin_ns)
    return index < len(wanted_utc_ns) and wanted_utc_ns[index] <= utc_ns + margin_ns


def _take(fine: Fine, decoder: Decoder, run: Run, frame: VideoFrame) -> None:
    assert frame.pts is not None
    picture = decoder.picture(frame, (FINE_LONGEST_PX, FINE_LONGEST_PX))
    fine.frames.append(FineFrame(stamp=run.timeline.stamp(frame.pts), jpeg=jpeg(picture), size=picture.size))
