"""Pictures to packets by the encoders that come with PyAV. The only place where the simulator encodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.packet import Packet as EncodedPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from ingest.simulator import nal
from ingest.simulator.stream import CLOCK_HZ, Packet, Stream, StreamCodec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TICK = Fraction(1, CLOCK_HZ)
ENCODERS: dict[StreamCodec, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "threads": "1"}),
    "hevc": (
        "libx265",
        "yuv420p",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": "28",
            "x265-params": "log-level=none:repeat-headers=1:open-gop=0:pools=1:frame-threads=1",
        },
    ),
    # RFC 2435 leaves the Huffman tables out of the stream: they have to be the standard ones.
    "mjpeg": ("mjpeg", "yuvj420p", {"huffman": "default", "force_duplicated_matrix": "1"}),
}
"""Encoder, pixel format and options of each codec."""


def encode_even(frames: Iterable[NDArray[np.uint8]], fps: float, gop_s: float, codec: StreamCodec) -> Stream:
    """See `ingest.simulator.stream.encode`."""
    if fps <= 0 or gop_s <= 0:
        raise ValueError(f"{fps} frames/s and a GOP of {gop_s} s: both must be above 0")

    def timed() -> Iterator[tuple[int, VideoFrame]]:
        for i, rgb in enumerate(frames):
            yield round(i * CLOCK_HZ / fps), VideoFrame.from_ndarray(rgb, format="rgb24")

    return encode_timed(timed(), fps, gop_s, codec)


def encode_timed(
    frames: Iterable[tuple[int, VideoFrame]], fps: float, gop_s: float, codec: StreamCodec = "h264"
) -> Stream:
    """Encodes frames with their times in 90 kHz ticks, which rise; a key frame starts every `gop_s` seconds.

    The last frame lasts 1/`fps` seconds. Raises ValueError without frames or when the size changes on the way.
    """
    encoder: VideoCodecContext | None = None
    packets: list[Packet] = []
    next_key, first, last, size = 0, 0, 0, (0, 0)
    for at, frame in frames:
        if encoder is None:
            first, size = at, (frame.width, frame.height)
            encoder = _open(codec, (frame.width & ~1, frame.height & ~1), fps, gop_s)
        elif size != (frame.width, frame.height):
            raise ValueError(f"a frame of {frame.width}x{frame.height} px in a stream of {size[0]}x{size[1]} px")
        last = at - first
        picture = frame.reformat(encoder.width, encoder.height, encoder.pix_fmt)
        picture.pts, picture.time_base = last, TICK
        picture.pict_type = PictureType.NONE
        if last >= next_key:
            # Half a frame of slack: the key frame of second 2 may come at 1.9999 s.
            next_key = round((int((last + CLOCK_HZ / fps / 2) / CLOCK_HZ / gop_s) + 1) * gop_s * CLOCK_HZ)
            next_key -= round(CLOCK_HZ / fps / 2)
            picture.pict_type = PictureType.I
        packets.extend(_records(encoder.encode(picture), codec))
    if encoder is None:
        raise ValueError("no frames to encode")
    packets.extend(_records(encoder.encode(None), codec))
    duration = last + round(CLOCK_HZ / fps)
    sets: tuple[bytes, ...] = ()
    if codec != "mjpeg":
        sets = nal.parameter_sets(codec, nal.split_annex_b(packets[0].data))
    return Stream(
        codec=codec,
        width=encoder.width,
        height=encoder.height,
        duration_90k=duration,
        packets=tuple(packets),
        extradata=nal.join_annex_b(sets),
    )


def _open(codec: StreamCodec, size: tuple[int, int], fps: float, gop_s: float) -> VideoCodecContext:
    name, pix_fmt, options = ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = size[0], size[1], pix_fmt
    encoder.time_base = TICK
    encoder.framerate = Fraction(fps).limit_denominator(1001)
    encoder.thread_count = 1
    if codec == "mjpeg":
        encoder.qmin = encoder.qmax = 4
    else:
        # Key frames are forced one by one, so the encoder's own interval only has to stay out of the way.
        encoder.gop_size = max(1, round(fps * gop_s) * 2)
        encoder.max_b_frames = 0
        options = (
            {**options, "forced-idr": "1", "sc_threshold": "0"} if codec == "h264" else {**options, "forced-idr": "1"}
        )
    encoder.options = options
    encoder.open()
    return encoder


def _records(encoded: Iterable[EncodedPacket[VideoStream]], codec: StreamCodec) -> Iterator[Packet]:
    for packet in encoded:
        assert packet.pts is not None
        data = bytes(packet)
        if codec != "mjpeg":
            data = nal.join_annex_b(nal.split_annex_b(data))
        yield Packet(data=data, pts_90k=packet.pts, dts_90k=packet.pts, key=packet.is_keyframe)
