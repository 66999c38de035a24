"""A run of packets as an MP4 in memory, without re-encoding. Loads PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import av.error
from av.packet import Packet as AvPacket

from ingest.frame import Clip
from ingest.ring import Packet, Run

MAX_CLIP_BYTES = 64 * 1024 * 1024
_PARAMETER_SETS = {"h264": (0x1F, 0, 7), "hevc": (0x3F, 1, 33)}
"""Of a NAL unit's first byte: mask, shift, the type of a sequence parameter set (H.264 §7.4.1, H.265 §7.4.2.2)."""
_START_CODE = b"\0\0\1"


def decode_times(pts: Sequence[int]) -> list[int]:
    """DTS for pictures given in decode order: strictly rising and never after the picture's own PTS.

    The sorted PTS, moved back by the largest reordering. Unlike a camera's own DTS these are always valid.
    """
    ordered = sorted(pts)
    delay = max((dts - own for dts, own in zip(ordered, pts, strict=True)), default=0)
    return [dts - delay for dts in ordered]


def mux(run: Run, codec: str, extradata: bytes | None, size: tuple[int, int]) -> Clip | None:
    """The run as a clip that starts at its key frame; None when FFmpeg cannot store it or it would exceed 64 MiB.

    `size` is the coded width and height, px. `codec` is FFmpeg's name: h264, hevc or mjpeg.
    """
    packets = _unique(run.packets)
    if not packets or sum(len(packet.data) for packet in packets) > MAX_CLIP_BYTES:
        return None
    timeline = run.timeline
    first = min(packet.pts for packet in packets)
    last = max(packets, key=lambda packet: packet.pts)
    time_base = Fraction(*timeline.time_base)
    out = io.BytesIO()
    try:
        with av.open(out, "w", format="mp4") as container:
            stream = container.add_mux_stream(codec, width=size[0], height=size[1], time_base=time_base)
            head = _missing_parameter_sets(packets[0].data, codec, extradata)
            for packet, dts in zip(packets, decode_times([packet.pts - first for packet in packets]), strict=True):
                coded = AvPacket(head + packet.data)
                head = b""
                coded.pts, coded.dts, coded.duration = packet.pts - first, dts, packet.duration
                coded.time_base, coded.is_keyframe, coded.stream = time_base, packet.key, stream
                container.mux_one(coded)
    except (av.error.FFmpegError, ValueError):
        return None
    return Clip(
        mp4=out.getvalue(),
        start_utc_ns=timeline.utc_ns(first),
        end_utc_ns=timeline.utc_ns(last.pts + last.duration),
        codec=codec,
    )


def _unique(packets: Sequence[Packet]) -> list[Packet]:
    """Without pictures that claim an instant already taken: a container cannot hold two."""
    seen: set[int] = set()
    kept = []
    for packet in packets:
        if packet.pts not in seen:
            seen.add(packet.pts)
            kept.append(packet)
    return kept


def _missing_parameter_sets(data: bytes, codec: str, extradata: bytes | None) -> bytes:
    """What has to stand before the first key frame: the description's parameter sets, if the frame brings none itself.

    The muxer builds the MP4's header from those in front of the first picture (Annex B on both sides).
    """
    if codec not in _PARAMETER_SETS or not extradata or not extradata.startswith((_START_CODE, b"\0" + _START_CODE)):
        return b""
    mask, shift, wanted = _PARAMETER_SETS[codec]
    at = data.find(_START_CODE, 0, 4096)
    while 0 <= at < len(data) - 3:
        if (data[at + 3] >> shift) & mask == wanted:
            return b""
        at = data.find(_START_CODE, at + 3, 4096)
    return extradata
