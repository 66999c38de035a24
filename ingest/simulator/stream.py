"""What one simulated camera plays: encoded packets, looped for ever."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

StreamCodec = Literal["h264", "hevc", "mjpeg"]
CLOCK_HZ = 90_000
"""Ticks of RTP video in a second (RFC 6184 §8.2.1, RFC 7798 §7.1, RFC 2435 §3)."""


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """One access unit. Times are 90 kHz ticks since the stream's first picture."""

    data: bytes
    """Annex B for H.264 and H.265, a JFIF file for JPEG."""
    pts_90k: int
    dts_90k: int
    """Order of decoding; below `pts_90k`, and below 0 at first, where pictures are reordered."""
    key: bool

    @property
    def pts_s(self) -> float:
        return self.pts_90k / CLOCK_HZ


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Encoded pictures in decode order; the first packet is a key frame, so that the end joins the beginning."""

    codec: StreamCodec
    width: int
    height: int
    duration_90k: int
    """Length of one loop; the first picture of the next loop is shown this long after the first of this one."""
    packets: tuple[Packet, ...]
    extradata: bytes = b""
    """Parameter sets in Annex B; empty for JPEG. Key frames carry them as well."""

    def __post_init__(self) -> None:
        if not self.packets or not self.packets[0].key:
            raise ValueError("a stream starts with a key frame")
        dts = [packet.dts_90k for packet in self.packets]
        if any(later <= earlier for earlier, later in pairwise(dts)):
            raise ValueError("decode times of a stream rise from packet to packet")
        if self.duration_90k <= dts[-1] - dts[0]:
            raise ValueError(f"{self.duration_90k} ticks are too short for these packets")

    @property
    def duration_s(self) -> float:
        return self.duration_90k / CLOCK_HZ

    @property
    def fps(self) -> float:
        """Mean frame rate; recorded files may vary around it."""
        return len(self.packets) / self.duration_s

    @property
    def keys(self) -> tuple[int, ...]:
        """Indices of the key frames."""
        return tuple(i for i, packet in enumerate(self.packets) if packet.key)

    @property
    def size_bytes(self) -> int:
        return sum(len(packet.data) for packet in self.packets)

    @classmethod
    def from_file(cls, path: Path | str, *, limit_s: float = 600.0) -> Stream:
        """The first `limit_s` seconds of a recorded video as a camera.

        H.264, H.265 and JPEG packets are used as they are where RTP can carry them and a client who joins late finds a
        key frame; everything else is decoded and encoded again as H.264. Raises FootageRefused for what is no video.
        """
        from ingest.simulator.footage import read

        return read(Path(path), limit_s)

    @classmethod
    def joined(cls, parts: Sequence[Stream]) -> Stream:
        """Streams of one encoder played one after the other, as one. ValueError where codec, size or sets differ."""
        if len({(part.codec, part.width, part.height, part.extradata) for part in parts}) != 1:
            raise ValueError("only streams of one codec, one size and the same parameter sets can be joined")
        packets: list[Packet] = []
        start_90k = 0
        for part in parts:
            packets += (
                Packet(packet.data, packet.pts_90k + start_90k, packet.dts_90k + start_90k, packet.key)
                for packet in part.packets
            )
            start_90k += part.duration_90k
        return msgspec.structs.replace(parts[0], packets=tuple(packets), duration_90k=start_90k)

    def save(self, path: Path) -> None:
        """Writes MessagePack, all or nothing: a reader never sees half a file."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
        try:
            draft.write_bytes(msgspec.msgpack.encode(self))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Stream:
        """Raises OSError where the file cannot be read and ValueError where it is no saved stream."""
        return msgspec.msgpack.decode(path.read_bytes(), type=cls)


def encode(
    frames: Iterable[NDArray[np.uint8]], fps: float, gop_s: float = 1.0, *, codec: StreamCodec = "h264"
) -> Stream:
    """Encodes pictures as a surveillance camera does: no B-frames, closed GOPs of `gop_s` seconds.

    frames: uint8 (H, W, 3) RGB, one size for all, at even intervals of 1/`fps` seconds. Odd widths and heights lose
    their last column or row. Raises ValueError without frames or when the size changes.
    """
    from ingest.simulator.encoder import encode_even

    return encode_even(frames, fps, gop_s, codec)
