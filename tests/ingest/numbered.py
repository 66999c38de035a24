"""Test pictures that carry their own number, so that a decoded frame tells which one it is."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from ingest.ring import Packet

BITS = 12
FPS = 25
ENCODERS = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}


def draw(number: int, size: tuple[int, int] = (384, 216)) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): the upper half shows the number's bits as black and white columns, most significant first."""
    width, height = size
    picture = np.full((height, width, 3), 96, np.uint8)
    for bit in range(BITS):
        value = 235 if number >> (BITS - 1 - bit) & 1 else 20
        picture[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = value
    return picture


def read(picture: NDArray[np.uint8]) -> int:
    height, width = picture.shape[:2]
    number = 0
    for bit in range(BITS):
        middle = (2 * bit + 1) * width // (2 * BITS)
        number = number << 1 | int(picture[height // 8 : height // 3, middle - 2 : middle + 3].mean() > 128)
    return number


def play(mp4: bytes) -> list[tuple[float, int]]:
    """Seconds and number of every picture that a player shows."""
    with av.open(io.BytesIO(mp4), "r") as container:
        frames = [(frame.time, frame.to_rgb().to_ndarray()) for frame in container.decode(video=0)]
    return [(time_s or 0.0, read(picture.astype(np.uint8))) for time_s, picture in frames]


def read_jpeg(data: bytes) -> int:
    from PIL import Image

    return read(np.asarray(Image.open(io.BytesIO(data))))


def encoded(
    codec: str, count: int, gop: int = 25, size: tuple[int, int] = (384, 216), b_frames: int = 0, aspect: str = "1"
) -> list[Packet]:
    """Pictures 0 … count-1 at 25 frames/s in decode order, times in 90 kHz ticks, as RTP would bring them."""
    return [
        Packet(data, pts * 3600, dts * 3600, 3600, key)
        for data, pts, dts, key in _encoded(codec, count, gop, size, b_frames, aspect)
    ]


@cache
def _encoded(
    codec: str, count: int, gop: int, size: tuple[int, int], b_frames: int, aspect: str
) -> tuple[tuple[bytes, int, int, bool], ...]:
    context = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.sample_aspect_ratio = Fraction(aspect)
    context.options = {
        "h264": {"preset": "ultrafast", "g": str(gop), "bf": str(b_frames), "sc_threshold": "0", "threads": "1"},
        "hevc": {
            "preset": "ultrafast",
            "x265-params": f"keyint={gop}:min-keyint={gop}:bframes={b_frames}:log-level=none:pools=1:scenecut=0",
        },
        "mjpeg": {"qmin": "3", "qmax": "3"},
    }[codec]
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(draw(number, size), format="rgb24").reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    packets += context.encode(None)
    return tuple((bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets)
