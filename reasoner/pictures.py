"""Window → what the reasoner is shown: decoded frames, change maps, the view, and pictures at the model's input.

Imports OpenCV; reached only from functions. `look_at` is pure and is the one way from frames to model pictures, in
serving and in training data alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.window import Window
from reasoner.boxes import WHOLE, Box
from reasoner.change import activity, change_maps
from reasoner.errors import PictureUnreadable
from reasoner.view import crop, view_of

Pixels = NDArray[np.uint8]

MOTION_SIZE = (160, 96)
"""Width and height of a motion picture, px, when a model's notes give none."""
SWAY = 0.003
"""Share of the width by which a camera may sway."""
MAP_WIDTH = 640
"""Change maps are computed on frames at most this wide, px."""


class Target(NamedTuple):
    """What a model wants to be shown."""

    motion: bool
    """Pairs of frames as one image (uint8 (2, H, W, 3)) instead of single frames."""
    input_size: tuple[int, int] | None
    """Width and height of every picture, px; None: the view as it is, the processor resizes it."""
    max_pictures: int
    """Most pictures (single frames or pairs) of one window."""
    contiguous: bool = False
    """A window with more is shown around its peak at full rate, instead of whole at a wider spacing."""
    whole: bool = False
    """Show the whole picture instead of the region that changed."""


class Look(NamedTuple):
    """What the model is shown, and the independent signals of the same frames."""

    pictures: tuple[Pixels, ...]
    """uint8 (H, W, 3) RGB each, or (2, H, W, 3) motion pairs."""
    shown: tuple[int, ...]
    """Index of the window's fine frame whose time each picture carries."""
    times_s: tuple[float, ...]
    """Seconds of each picture from the first fine frame."""
    view: Box
    size: tuple[int, int]
    """Width and height of the first picture, px, before the processor's resizing."""
    maps: Pixels
    """Change maps of all fine frames, uint8 (T, h, w), of the whole frame, at most MAP_WIDTH wide."""
    activity: NDArray[np.float32]
    """(T,) share of pixels that moved."""


def look(window: Window, target: Target) -> Look:
    """Decode and look at a window. Raises PictureUnreadable for a broken JPEG or a window without frames."""
    if not window.cut.frames:
        raise PictureUnreadable(f"window {window.window_id} of {window.cut.camera_id} has no frames to look at")
    where = f"of window {window.window_id}"
    frames = [decode(frame.jpeg, f"frame {index} {where}") for index, frame in enumerate(window.cut.frames)]
    background = decode(window.background, f"background {where}") if window.background else None
    times_s = [window.seconds(index) for index in range(len(frames))]
    peak_s = (window.span.peak_utc_ns - window.cut.frames[0].stamp.utc_ns) / 1e9
    return look_at(_alike(frames), background, times_s, target, peak_s)


def look_again(window: Window, target: Target, seen: Look, view: Box) -> tuple[Pixels, ...]:
    """The pictures of a look once more, of the same moments, of another view. Raises as `look` does."""
    where = f"of window {window.window_id}"
    frames = _alike([decode(frame.jpeg, f"frame {index} {where}") for index, frame in enumerate(window.cut.frames)])
    background = decode(window.background, f"background {where}") if window.background else None
    return _shown(frames, background, view, seen.shown, target)


def steady_maps(window: Window) -> Pixels:
    """Change maps as those of a look, of a camera that may sway: edges of what is always there are no change in them.

    Raises as `look` does.
    """
    where = f"of window {window.window_id}"
    frames = _alike([decode(frame.jpeg, f"frame {index} {where}") for index, frame in enumerate(window.cut.frames)])
    background = decode(window.background, f"background {where}") if window.background else None
    small, still = _comparable(frames, background)
    return change_maps(small, still, max(1, round(SWAY * small.shape[2])))


def decode(jpeg: bytes, what: str) -> Pixels:
    """JPEG bytes → uint8 (H, W, 3) RGB."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if picture is None:
        raise PictureUnreadable(f"{what} is no picture ({len(jpeg)} bytes); the stored evidence is damaged")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def look_at(
    frames: Pixels, background: Pixels | None, times_s: Sequence[float], target: Target, peak_s: float | None = None
) -> Look:
    """uint8 (T, H, W, 3) RGB, background of any size or None, seconds of each frame → pictures and signals."""
    width = frames.shape[2]
    view = WHOLE
    if not target.whole:
        wanted = target.input_size[0] if target.input_size else width
        view = view_of(frames, background, min(1.0, wanted / width))
    step = 2 if target.motion else 1
    starts = _chosen(len(frames), step, target, times_s, peak_s)
    pictures = _shown(frames, background, view, starts, target)
    small, still = _comparable(frames, background)
    return Look(
        pictures=pictures,
        shown=tuple(starts),
        times_s=tuple(times_s[at] for at in starts),
        view=view,
        size=(pictures[0].shape[-2], pictures[0].shape[-3]),
        maps=change_maps(small, still),
        activity=activity(small),
    )


def _shown(
    frames: Pixels, background: Pixels | None, view: Box, starts: Sequence[int], target: Target
) -> tuple[Pixels, ...]:
    """What the model is shown of the view at each start."""
    if target.motion:
        pairs = [index for at in starts for index in (at, min(at + 1, len(frames) - 1))]
        return tuple(motion_pictures(frames[pairs], background, view, target.input_size or MOTION_SIZE))
    return tuple(_part(frames[at], view, target.input_size) for at in starts)


def motion_pictures(
    frames: Pixels, background: Pixels | None, view: Box, size: tuple[int, int] = MOTION_SIZE
) -> Pixels:
    """Frames uint8 (2G, H, W, 3), two by two → uint8 (G, 2, h, w, 3).

    Of each pair: the first frame in RGB, and [its luma, its change map, the second frame's change map].
    """
    small = np.stack([crop(frame, view, size) for frame in frames])
    maps = change_maps(small, None if background is None else crop(background, view, size))
    pictures = np.empty((len(frames) // 2, 2, size[1], size[0], 3), np.uint8)
    for group, first in enumerate(range(0, len(frames) - 1, 2)):
        pictures[group, 0] = small[first]
        pictures[group, 1, ..., 0] = cv2.cvtColor(small[first], cv2.COLOR_RGB2GRAY)
        pictures[group, 1, ..., 1] = maps[first]
        pictures[group, 1, ..., 2] = maps[first + 1]
    return pictures


def _comparable(frames: Pixels, background: Pixels | None) -> tuple[Pixels, Pixels | None]:
    """Frames and background at one size: MAP_WIDTH, or the background's where that is coarser.

    Against a coarse picture every sharp edge would differ.
    """
    height, width = frames.shape[1:3]
    wide = min(MAP_WIDTH, width) if background is None else min(MAP_WIDTH, width, background.shape[1])
    size = (wide, max(2, round(height * wide / width)))
    small = np.stack([_sized(frame, size) for frame in frames])
    return small, None if background is None else _sized(background, size)


def _chosen(count: int, step: int, target: Target, times_s: Sequence[float], peak_s: float | None) -> list[int]:
    """Frames (or first frames of pairs) that are shown."""
    starts = list(range(0, count, step))
    most = target.max_pictures
    if len(starts) <= most:
        return starts
    if not target.contiguous:
        return [starts[round(i * (len(starts) - 1) / max(1, most - 1))] for i in range(most)]
    middle = times_s[-1] / 2 if peak_s is None else peak_s
    nearest = min(range(len(starts)), key=lambda i: abs(times_s[starts[i]] - middle))
    first = min(max(0, nearest - most // 2), len(starts) - most)
    return starts[first : first + most]


def _part(frame: Pixels, view: Box, size: tuple[int, int] | None) -> Pixels:
    if size is not None:
        return crop(frame, view, size)
    x1, y1, x2, y2 = view.pixels((frame.shape[1], frame.shape[0]))
    return frame[y1:y2, x1:x2]


def _alike(frames: Sequence[Pixels]) -> Pixels:
    """All frames at the size of the first: a camera that changes its resolution starts a new epoch, but be safe."""
    size = (frames[0].shape[1], frames[0].shape[0])
    return np.stack([_sized(frame, size) for frame in frames])


def _sized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    shrinks = picture.shape[1] > size[0]
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
