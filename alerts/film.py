"""Stored frames as a video: the very JPEGs, each at its own time. Loads PyAV."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from fractions import Fraction

from ingest.frame import FineFrame

_MILLISECOND = Fraction(1, 1000)


def film(frames: Sequence[FineFrame]) -> bytes:
    """An MP4 with one Motion JPEG picture per frame, not encoded again; its clock starts with the first frame.

    ValueError: no frames.
    """
    import av
    from av.packet import Packet

    if not frames:
        raise ValueError("no frames to make a film of")
    times_ms = [(frame.stamp.utc_ns - frames[0].stamp.utc_ns) // 1_000_000 for frame in frames]
    steps_ms = [b - a for a, b in itertools.pairwise(times_ms)] or [500]
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        width, height = frames[0].size
        stream = container.add_mux_stream("mjpeg", width=width, height=height, time_base=_MILLISECOND)
        for frame, time_ms, step_ms in zip(frames, times_ms, [*steps_ms, steps_ms[-1]], strict=False):
            packet = Packet(frame.jpeg)
            packet.pts = packet.dts = time_ms
            packet.duration, packet.time_base = step_ms, _MILLISECOND
            packet.is_keyframe, packet.stream = True, stream
            container.mux_one(packet)
    return out.getvalue()
