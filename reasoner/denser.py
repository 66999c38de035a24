"""More frames of a window around one moment, decoded from the camera's own clip. Loads PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import av.error
import msgspec
import numpy as np
from av.video.frame import VideoFrame

from detector.window import Window
from ingest.clock import Stamp
from ingest.frame import Clip, FineFrame
from reasoner.recording import encode_jpeg

STEP_S = 0.2
REACH_S = 1.2
APART_S = 0.08
"""A frame this near to one that is there already shows nothing new."""


def denser(window: Window, around_s: float) -> Window:
    """The window with frames each `STEP_S` up to `REACH_S` before and after a moment, beside those it has.

    around_s: seconds from the first fine frame. The same window where the clip is missing, cannot be decoded, or shows
    nothing of then.
    """
    clip, frames = window.cut.clip, window.cut.frames
    if clip is None or not clip.mp4:
        return window
    first_ns = frames[0].stamp.utc_ns
    last_ns = frames[-1].stamp.utc_ns
    low_ns = max(first_ns, first_ns + round((around_s - REACH_S) * 1e9))
    high_ns = min(last_ns, first_ns + round((around_s + REACH_S) * 1e9))
    there = [frame.stamp.utc_ns for frame in frames]
    added: list[FineFrame] = []
    due_ns = low_ns
    for utc_ns, picture in _decoded(clip):
        if utc_ns > high_ns:
            break
        if utc_ns < due_ns:
            continue
        due_ns = utc_ns + round(STEP_S * 0.999e9)
        if all(abs(utc_ns - other) > APART_S * 1e9 for other in there):
            added.append(_fine(utc_ns, picture, frames[0]))
    together = sorted((*frames, *added), key=lambda frame: frame.stamp.utc_ns)
    cut = msgspec.structs.replace(window.cut, frames=tuple(together), expected=window.cut.expected + len(added))
    return msgspec.structs.replace(window, cut=cut)


def _decoded(clip: Clip) -> Iterator[tuple[int, VideoFrame]]:
    """(UTC ns, frame) of the clip in order of display."""
    try:
        with av.open(io.BytesIO(clip.mp4), "r", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            first: int | None = None
            for frame in container.decode(stream):
                if frame.pts is None or stream.time_base is None:
                    continue
                first = frame.pts if first is None else first
                yield clip.start_utc_ns + round(float((frame.pts - first) * stream.time_base) * 1e9), frame
    except (av.error.FFmpegError, ValueError, IndexError):
        # A clip that breaks off shows what it holds up to there.
        return


def _fine(utc_ns: int, frame: VideoFrame, like: FineFrame) -> FineFrame:
    """At the size and with the clock of another fine frame, whose pixels are square already."""
    width, height = like.size
    picture = np.asarray(frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray(), np.uint8)
    base = frame.time_base
    stamp = Stamp(
        pts=frame.pts or 0,
        time_base=(base.numerator, base.denominator) if base else like.stamp.time_base,
        utc_ns=utc_ns,
        source=like.stamp.source,
        uncertainty_ms=like.stamp.uncertainty_ms,
    )
    return FineFrame(stamp=stamp, jpeg=encode_jpeg(picture), size=(width, height))
