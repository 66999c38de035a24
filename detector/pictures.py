"""Pictures as a scorer sees them, to calibrate its quantisation on: a site's own frames, or the synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detector.errors import ExportError
from detector.folder import Shape
from detector.memory import CameraMemory

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
INTERVAL_S = 1.0
"""Between two pictures of a folder."""
SCENE_S = 24.0
SETTLED = 4
"""Frames of a scene that only fill the camera's memory."""
SEED = 6_000_000
"""Scenes that no training, calibration or report uses."""


def of_scenes(shape: Shape, count: int) -> Iterator[NDArray[np.uint8]]:
    """`count` pictures uint8 (H, W, channels) of synthetic scenes, every second key frame."""
    from detector import film

    def play() -> Iterator[NDArray[np.uint8]]:
        seed = SEED
        while True:
            scene, memory = film.make_scene(seed, SCENE_S), CameraMemory(shape.picture_size)
            for index, t_s in enumerate(film.key_times(seed, SCENE_S, INTERVAL_S)):
                frame = film.coarse_frame(scene, t_s, "scene", 60)
                picture = memory.look(0, frame.stamp.utc_ns, frame.image())[..., : shape.channels]
                if index >= SETTLED and index % 2:
                    yield np.ascontiguousarray(picture)
            seed += 1

    return islice(play(), count)


def of_frames(path: Path, shape: Shape, count: int) -> Iterator[NDArray[np.uint8]]:
    """At most `count` pictures uint8 (H, W, channels), evenly from a video's key frames, or from a folder of images and
    videos. The images of one folder are taken as one camera's, in order of name.

    Raises ExportError, one line, where there is nothing to see.
    """
    if not path.exists():
        raise ExportError(f"--frames {path}: there is no such file or folder")
    found = {each.parent if each.suffix.lower() in IMAGES else each for each in _files(path)}
    # Files first: one that is no video leaves its share to those after it.
    sources = sorted(found, key=lambda source: (source.is_dir(), source))
    seen = 0
    for place, source in enumerate(sources):
        share = -(-(count - seen) // (len(sources) - place))
        memory = CameraMemory(shape.picture_size)
        # Counted first and then looked at one by one: the key frames of a day would not fit into memory.
        number = len(_image_files(source)) if source.is_dir() else _count_key_frames(source)
        wanted = set(np.linspace(0, number - 1, min(share, number)).round().astype(int).tolist())
        for index, (utc_ns, rgb) in enumerate(_images(source) if source.is_dir() else _key_frames(source)):
            picture = memory.look(0, utc_ns, rgb)[..., : shape.channels]
            if index in wanted:
                seen += 1
                yield np.ascontiguousarray(picture)
    if not seen:
        raise ExportError(f"--frames {path}: no picture in it; give a video, or a folder of images or videos")


def batches(pictures: Iterator[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
    """uint8 (N, H, W, channels) with N up to `size`."""
    while group := list(islice(pictures, size)):
        yield np.stack(group)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]


def _image_files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in IMAGES)


def _images(folder: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    import cv2

    for index, file in enumerate(_image_files(folder)):
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is not None:
            yield round((index + 1) * INTERVAL_S * 1e9), np.ascontiguousarray(picture[..., ::-1])


def _count_key_frames(file: Path) -> int:
    """Without decoding; 0 for a file that is no video, and what comes before the damage of one that is damaged."""
    import av
    import av.error

    number = 0
    try:
        with av.open(str(file)) as container:
            if container.streams.video:
                for packet in container.demux(container.streams.video[0]):
                    number += packet.is_keyframe
    except av.error.FFmpegError:
        return number
    return number


def _key_frames(file: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Time in ns and RGB of each key frame, reduced as coarse frames are; nothing of a file that is no video."""
    import av
    import av.error

    from ingest.config import IngestConfig
    from ingest.decode import fitted

    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                return
            stream = container.streams.video[0]
            stream.codec_context.skip_frame = "NONKEY"
            for frame in container.decode(stream):
                width, height = fitted((frame.width, frame.height), IngestConfig().coarse_size)
                rgb = frame.reformat(width, height, "rgb24").to_ndarray()
                yield round((frame.time or 0.0) * 1e9) + 1, np.asarray(rgb, np.uint8)
    except av.error.FFmpegError:
        return
