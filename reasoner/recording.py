"""A recorded file: its length, sparse coarse pictures, and fine frames as a window. Loads PyAV.

Seconds are counted from the first video frame, by PTS; nothing is ever an index divided by a rate.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from detector.window import Span, Window, window_id
from ingest.clock import Stamp
from ingest.decode import displayed_size, fitted
from ingest.frame import Cut, FineFrame
from reasoner.errors import VideoUnreadable

COARSE_WIDTH = 320
FINE_LONGEST_PX = 1280
JPEG_QUALITY = 92


class Coarse(NamedTuple):
    """Sparse small pictures of the whole file."""

    times_s: list[float]
    pictures: NDArray[np.uint8]
    """uint8 (T, H, W, 3) RGB, COARSE_WIDTH wide."""


class Recording:
    """An opened file. A context manager; raises VideoUnreadable in one line for what is no video."""

    def __init__(self, path: Path, fps: float | None = None) -> None:
        """fps: frames per second of the container if its own figure is wrong; only frame numbers depend on it."""
        if not path.is_file():
            raise VideoUnreadable(f"{path}: there is no such file; check the path")
        self.path = path
        self._container: InputContainer
        try:
            self._container = av.open(str(path), metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unreadable(error) from None
        if not self._container.streams.video:
            self._container.close()
            raise VideoUnreadable(f"{path}: there are no pictures in it; give a video file")
        self._stream: VideoStream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = fps or float(rate or 25)
        self._keys_s, self._first, self.duration_s = self._scan()
        self.size = (self._stream.codec_context.width, self._stream.codec_context.height)
        """Width and height of a decoded frame, px: the pixels that boxes are given in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _unreadable(self, error: Exception) -> VideoUnreadable:
        why = getattr(error, "strerror", None) or type(error).__name__
        return VideoUnreadable(f"{self.path}: cannot be read as a video ({why}); give a video file")

    def _scan(self) -> tuple[list[float], int, float]:
        """Demux once: seconds of the key frames, PTS of the first frame, length in seconds."""
        base = self._stream.time_base
        keys: list[int] = []
        first: int | None = None
        last = 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is None:
                    continue
                first = packet.pts if first is None else min(first, packet.pts)
                last = max(last, packet.pts + (packet.duration or 0))
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except av.error.FFmpegError as error:
            if first is None:
                raise self._unreadable(error) from None
        if first is None or base is None:
            raise VideoUnreadable(f"{self.path}: holds no frame that can be decoded; give a video file")
        return [float((pts - first) * base) for pts in keys], first, float((last - first) * base)

    def coarse(self, step_s: float) -> Coarse:
        """One picture each `step_s` seconds: key frames alone where they are dense enough, else by decoding all."""
        keys_s = every(self._keys_s, step_s, self.duration_s)
        times: list[float] = []
        pictures: list[NDArray[np.uint8]] = []
        due = 0.0
        for t, frame in self._frames(0.0, keys_only=keys_s is not None):
            if t + 1e-6 < due or (keys_s is not None and round(t, 3) not in keys_s):
                continue
            due = t + step_s * 0.999 if keys_s is None else 0.0
            picture = self._picture(frame, (COARSE_WIDTH, 10_000))
            if pictures and picture.shape != pictures[0].shape:
                continue
            times.append(t)
            pictures.append(picture)
        if not pictures:
            raise VideoUnreadable(f"{self.path}: holds no frame that can be decoded; give a video file")
        return Coarse(times, np.stack(pictures))

    def window(self, start_s: float, end_s: float, step_s: float, background: NDArray[np.uint8] | None) -> Window:
        """Fine frames nearest to each `step_s` of a span, as a window whose UTC counts from the file's start."""
        wanted = [start_s + step_s * k for k in range(int((end_s - start_s) / step_s + 1e-6) + 1)]
        frames: list[FineFrame] = []
        before: tuple[float, VideoFrame] | None = None
        for t, frame in self._frames(start_s):
            while wanted and t >= wanted[0]:
                use = (t, frame) if before is None or t - wanted[0] < wanted[0] - before[0] - 1e-6 else before
                if not frames or use[0] * 1e9 - frames[-1].stamp.utc_ns > 1e6:
                    frames.append(self._fine(*use))
                wanted.pop(0)
            before = (t, frame)
            if not wanted:
                break
        if wanted and before is not None and (not frames or before[0] - frames[-1].stamp.utc_ns / 1e9 > step_s / 2):
            frames.append(self._fine(*before))
        if not frames:
            raise VideoUnreadable(f"{self.path}: no frame can be decoded from {start_s:.1f} s to {end_s:.1f} s")
        return _window(frames, self.size, background, step_s)

    def at(self, times_s: Sequence[float]) -> Coarse:
        """The frame nearest to each of these seconds, each frame once, in order of display, at most FINE_LONGEST_PX."""
        wanted = sorted(times_s)
        found: dict[float, NDArray[np.uint8]] = {}
        while wanted:
            key_s = max((t for t in self._keys_s if t <= wanted[0] + 1e-6), default=0.0)
            after = min((t for t in self._keys_s if t > key_s + 1e-6), default=float("inf"))
            count = sum(t < after for t in wanted)  # those behind the next key frame are nearer to that one
            for t, frame in self._nearest(wanted[:count]):
                found.setdefault(t, self._picture(frame, (FINE_LONGEST_PX, FINE_LONGEST_PX)))
            del wanted[:count]
        if not found:
            raise VideoUnreadable(f"{self.path}: holds no frame that can be decoded; give a video file")
        shape = found[min(found)].shape
        times = sorted(t for t, picture in found.items() if picture.shape == shape)
        return Coarse(times, np.stack([found[t] for t in times]))

    def _nearest(self, wanted: Sequence[float]) -> Iterator[tuple[float, VideoFrame]]:
        """(seconds, frame) nearest to each time, ascending, decoded in one go."""
        left = list(wanted)
        before: tuple[float, VideoFrame] | None = None
        for t, frame in self._frames(left[0]):
            while left and t >= left[0]:
                yield (t, frame) if before is None or t - left[0] < left[0] - before[0] - 1e-6 else before
                left.pop(0)
            before = (t, frame)
            if not left:
                return
        if before is not None:
            yield from [before] * len(left)

    def _fine(self, t: float, frame: VideoFrame) -> FineFrame:
        base = self._stream.time_base
        picture = self._picture(frame, (FINE_LONGEST_PX, FINE_LONGEST_PX))
        stamp = Stamp(
            pts=frame.pts or 0,
            time_base=(base.numerator, base.denominator) if base else (1, 1000),
            utc_ns=round(t * 1e9),
            source="file",
            uncertainty_ms=0.0,
        )
        return FineFrame(stamp=stamp, jpeg=encode_jpeg(picture), size=(picture.shape[1], picture.shape[0]))

    def _frames(self, start_s: float, keys_only: bool = False) -> Iterator[tuple[float, VideoFrame]]:
        """(seconds, frame) from the key frame at or before `start_s`, in order of display, those before left out."""
        base = self._stream.time_base
        assert base is not None
        self._stream.codec_context.skip_frame = "NONKEY" if keys_only else "DEFAULT"
        key_s = max((t for t in self._keys_s if t <= start_s + 1e-6), default=0.0)
        try:
            self._container.seek(self._first + int(key_s / base), stream=self._stream, backward=True)
            for frame in self._container.decode(self._stream):
                if frame.pts is None:
                    continue
                t = float((frame.pts - self._first) * base)
                if t >= start_s - 0.5:
                    yield t, frame
        except (av.error.FFmpegError, ValueError):
            # A file that breaks off shows what it holds up to there; whoever finds nothing in it says so.
            return

    def _picture(self, frame: VideoFrame, bound: tuple[int, int]) -> NDArray[np.uint8]:
        """The displayed picture (square pixels) within `bound`, uint8 (H, W, 3) RGB."""
        displayed = displayed_size(frame.width, frame.height, self._stream.sample_aspect_ratio)
        width, height = fitted(displayed, bound)
        return np.asarray(frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray(), np.uint8)


def every(keys_s: Sequence[float], step_s: float, duration_s: float) -> set[float] | None:
    """Fewest key frames (seconds to 1 ms) with no gap over `step_s`; None where some gap is wider anyway."""
    chosen: list[float] = []
    for index, t in enumerate(keys_s):
        after = keys_s[index + 1] if index + 1 < len(keys_s) else duration_s
        if after - t > step_s + 1e-3:
            return None
        if not chosen or after - chosen[-1] > step_s + 1e-3:
            chosen.append(t)
    return {round(t, 3) for t in chosen} if chosen else None


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB → JPEG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def _window(
    frames: list[FineFrame], source_size: tuple[int, int], background: NDArray[np.uint8] | None, step_s: float
) -> Window:
    start, end = frames[0].stamp.utc_ns, frames[-1].stamp.utc_ns + round(step_s * 1e9)
    middle = (start + end) // 2
    span = Span(
        window_id=window_id("file", "ask", start, end),
        camera_id="file",
        rule_id="ask",
        epoch=0,
        start_utc_ns=start,
        end_utc_ns=end,
        first_hot_utc_ns=start,
        peak_utc_ns=middle,
        score=0.5,
        scores=(),
        flagged_utc_ns=end,
    )
    cut = Cut(camera_id="file", epoch=0, source_size=source_size, frames=tuple(frames), clip=None, expected=len(frames))
    return Window(span=span, cut=cut, background=b"" if background is None else encode_jpeg(background))
