"""Recorded files as cameras: their packets where RTP can carry them, else decoded and encoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal, cast

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.clip import decode_times
from ingest.simulator import jpeg, nal
from ingest.simulator.encoder import encode_timed
from ingest.simulator.errors import FootageRefused
from ingest.simulator.stream import CLOCK_HZ, Packet, Stream, StreamCodec

REENCODED_GOP_S = 2.0
LONGEST_GOP_S = 12.0
"""A client who joins is sent everything since the key frame before; with longer GOPs that would be stale pictures."""


class _UnsuitableError(Exception):
    """These packets cannot be sent as they are; their pictures can."""


def read(path: Path, limit_s: float) -> Stream:
    """See `Stream.from_file`."""
    if not path.is_file():
        raise FootageRefused(f"{path}: there is no such file; check the path")
    try:
        try:
            with av.open(str(path), metadata_errors="replace") as container:
                return _copy(container, _pictures(container, path), limit_s)
        except _UnsuitableError:
            with av.open(str(path), metadata_errors="replace") as container:
                return _encode_again(container, _pictures(container, path), limit_s)
    except FootageRefused:
        raise
    except av.FFmpegError as error:
        raise FootageRefused(f"{path}: cannot be read as a video ({error.strerror}); give a video file") from None
    except ValueError as error:
        raise FootageRefused(f"{path}: cannot be played as a camera ({error}); give another video") from None


def _pictures(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise FootageRefused(f"{path}: there are no pictures in it; give a video file")
    return container.streams.video[0]


def _copy(container: InputContainer, source: VideoStream, limit_s: float) -> Stream:
    """The file's own packets. Raises _UnsuitableError for what RTP cannot carry or a late client could not decode."""
    name = source.codec_context.name
    if name not in ("h264", "hevc", "mjpeg"):
        raise _UnsuitableError
    codec = cast(StreamCodec, name)
    convert = _jpeg_as_it_is if codec == "mjpeg" else _to_annex_b(codec, source.codec_context.extradata or b"")
    units: list[tuple[bytes, bool]] = []
    pts_90k: list[int] = []
    for packet in container.demux(source):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None:
            raise _UnsuitableError
        at_90k = round(packet.pts * packet.time_base * CLOCK_HZ)
        if pts_90k and at_90k - pts_90k[0] >= limit_s * CLOCK_HZ:
            break
        units.append((convert(bytes(packet), packet.is_keyframe), packet.is_keyframe))
        pts_90k.append(at_90k)
    first = min(pts_90k, default=0)
    pts_90k = [pts - first for pts in pts_90k]
    # Containers may leave DTS out (Matroska) or begin below 0: those of the order itself are always valid.
    packets = tuple(
        Packet(data, pts, dts, key) for (data, key), pts, dts in zip(units, pts_90k, decode_times(pts_90k), strict=True)
    )
    return _loop(codec, (source.width, source.height), packets)


def _to_annex_b(codec: Literal["h264", "hevc"], extradata: bytes) -> Callable[[bytes, bool], bytes]:
    """Converts a packet of the container; key frames are given the parameter sets where they have none."""
    try:
        length_size, sets = nal.read_record(codec, extradata)
    except IndexError:
        raise _UnsuitableError from None

    def convert(data: bytes, key: bool) -> bytes:
        try:
            nals = nal.split_lengths(data, length_size) if length_size else nal.split_annex_b(data)
        except ValueError:
            raise _UnsuitableError from None
        if key and not nal.has_parameter_sets(codec, nals):
            # An access unit delimiter stays first (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
            delimiter = [unit for unit in nals[:1] if nal.kind(codec, unit) == (9 if codec == "h264" else 35)]
            nals = [*delimiter, *sets, *nals[len(delimiter) :]]
        return nal.join_annex_b(nals)

    return convert


def _jpeg_as_it_is(data: bytes, key: bool) -> bytes:
    try:
        jpeg.scan(data)
    except ValueError:
        raise _UnsuitableError from None
    return data


def _loop(codec: StreamCodec, size: tuple[int, int], packets: tuple[Packet, ...]) -> Stream:
    """Gives a loop its length. Raises _UnsuitableError where the end does not join the beginning."""
    if not packets:
        raise _UnsuitableError
    sets: tuple[bytes, ...] = ()
    if codec != "mjpeg":
        head = nal.split_annex_b(packets[0].data)
        sets = nal.parameter_sets(codec, head)
        if not nal.is_idr(codec, head) or not nal.has_parameter_sets(codec, head):
            raise _UnsuitableError
    shown = sorted(packet.pts_90k for packet in packets)
    steps = [later - earlier for earlier, later in pairwise(shown)]
    duration_90k = shown[-1] + round(median(steps) if steps else CLOCK_HZ / 25)
    keys = [packet.pts_90k for packet in packets if packet.key]
    gop = max(later - earlier for earlier, later in zip(keys, [*keys[1:], duration_90k], strict=True)) if keys else 0
    if gop > (LONGEST_GOP_S if len(keys) > 1 else REENCODED_GOP_S) * CLOCK_HZ:
        raise _UnsuitableError
    try:
        return Stream(
            codec=codec,
            width=size[0],
            height=size[1],
            duration_90k=duration_90k,
            packets=packets,
            extradata=nal.join_annex_b(sets),
        )
    except ValueError:
        raise _UnsuitableError from None


def _encode_again(container: InputContainer, source: VideoStream, limit_s: float) -> Stream:
    fps = float(source.average_rate or source.guessed_rate or 25)
    source.thread_type = "AUTO"
    return encode_timed(_decode(container, source, limit_s, fps), fps, REENCODED_GOP_S)


def _decode(
    container: InputContainer, source: VideoStream, limit_s: float, fps: float
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames of one size with rising times in 90 kHz ticks; what the decoder refuses is left out, as a player does."""
    size = (0, 0)
    first: int | None = None
    last = -1
    for packet in container.demux(source):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            size = size if any(size) else (frame.width, frame.height)
            at = last + round(CLOCK_HZ / fps) if frame.time is None else round(frame.time * CLOCK_HZ)
            first = at if first is None else first
            if (frame.width, frame.height) != size or at <= last:
                continue
            if at - first >= limit_s * CLOCK_HZ:
                return
            last = at
            yield at, frame
