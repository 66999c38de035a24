"""Simulated cameras: labelled scenes, rendered and encoded once, with the truth of what happens in them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import msgspec

from ingest.simulator.episode import EventTruth
from ingest.simulator.errors import SceneFailed
from ingest.simulator.scene_cache import SceneCache
from ingest.simulator.stream import Stream, encode
from ingest.simulator.world import VERSION, Scene

GOP_S = 1.0
WORKERS = 2
PART_S = 15
"""Seconds of one scene that are rendered in one go: whole GOPs, so that the parts join."""
ENCODING = 1
"""Raised whenever the same pictures would be encoded otherwise."""
FIRST_SEED = 1 << 54
"""The scenes of live cameras have seeds from here on. Trainings and calibrations count theirs from 0, in millions, and
the accuracy benchmark ends at half of this: nobody watches live what a model has learnt from."""
SEEDS_PER_RUN = 1000
_log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


class SimulatedCamera(msgspec.Struct, frozen=True, kw_only=True):
    """A looped scene as a camera plays it. Times of the truth are seconds of one loop."""

    name: str
    stream: Stream
    events: tuple[EventTruth, ...]
    lookalikes: tuple[EventTruth, ...]


class WallClockEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a camera when it truly happened, nanoseconds of UTC."""

    camera: str
    label: str
    start_utc_ns: int
    evident_utc_ns: int
    end_utc_ns: int
    loop: int
    actors: tuple[int, ...]


def simulated_cameras(
    count: int,
    seed: int,
    seconds: float,
    size: tuple[int, int] = (640, 360),
    fps: float = 10,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[SimulatedCamera]:
    """Cameras "cam-1", "cam-2", ... which loop scenes of `seconds`; the same seed gives the same cameras.

    size: width and height, px, even. cache: folder of rendered scenes, ~/.cache/witness/scenes without. Scenes that
    are not there are rendered by two processes. Raises ValueError for sizes and lengths that make no camera and
    SceneFailed where rendering breaks off.
    """
    if count < 1 or seconds <= 0 or fps <= 0 or min(size) < 16 or any(side % 2 for side in size):
        raise ValueError(f"{count} cameras of {size[0]}x{size[1]} px, {fps} frames/s, {seconds} s: cannot be simulated")
    shelf = SceneCache(cache)
    keys = [_key(seed, index, seconds, size, fps) for index in range(count)]
    cameras = {index: camera for index, key in enumerate(keys) if (camera := shelf.get(key, SimulatedCamera))}
    missing = [index for index in range(count) if index not in cameras]
    for index, camera in _rendered(missing, seed, seconds, size, fps, progress).items():
        cameras[index] = camera
        try:
            shelf.put(keys[index], camera)
        except OSError as error:
            _log.warning("scenes are not kept for the next start: %s", error)
    return [cameras[index] for index in range(count)]


def events_on_wall_clock(
    camera: SimulatedCamera, server_started_utc_ns: int, until_utc_ns: int
) -> tuple[WallClockEvent, ...]:
    """Everything that began before `until_utc_ns`, through all loops, in order. The camera plays since the start."""
    loops = math.ceil(max(0, until_utc_ns - server_started_utc_ns) / 1e9 / camera.stream.duration_s)
    events = []
    for loop in range(loops):
        loop_ns = server_started_utc_ns + round(loop * camera.stream.duration_s * 1e9)
        for truth in camera.events:
            start, evident, end = (loop_ns + round(s * 1e9) for s in (truth.start_s, truth.evident_s, truth.end_s))
            if start < until_utc_ns:
                events.append(
                    WallClockEvent(
                        camera=camera.name,
                        label=truth.label,
                        start_utc_ns=start,
                        evident_utc_ns=evident,
                        end_utc_ns=end,
                        loop=loop,
                        actors=truth.actors,
                    )
                )
    return tuple(sorted(events, key=lambda event: event.start_utc_ns))


def scene_of(seed: int, index: int, seconds: float, size: tuple[int, int]) -> Scene:
    """The scene of camera number `index`, counted from 0."""
    return Scene(scene_seed(seed, index), seconds, size)


def scene_seed(seed: int, index: int) -> int:
    """The seed of the world for camera number `index`, counted from 0, of a run with `seed`."""
    return FIRST_SEED + seed * SEEDS_PER_RUN + index


def _key(seed: int, index: int, seconds: float, size: tuple[int, int], fps: float) -> str:
    return f"world{VERSION}-{ENCODING}-scene{scene_seed(seed, index)}-{seconds:g}s-{size[0]}x{size[1]}-{fps:g}fps"


def _rendered(
    indices: list[int], seed: int, seconds: float, size: tuple[int, int], fps: float, progress: Progress | None
) -> dict[int, SimulatedCamera]:
    frames, step = max(1, round(seconds * fps)), max(1, round(PART_S * fps))
    spans = [(first, min(first + step, frames)) for first in range(0, frames, step)]
    jobs = [(index, span) for index in indices for span in spans]
    parts: dict[tuple[int, tuple[int, int]], Stream] = {}
    if jobs:
        # Forking would copy threads and locks of whoever calls; fresh processes only load the renderer.
        pool = ProcessPoolExecutor(min(WORKERS, len(jobs)), mp_context=get_context("spawn"))
        try:
            futures = {pool.submit(_part, seed, index, seconds, size, fps, span): (index, span) for index, span in jobs}
            for future in as_completed(futures):
                parts[futures[future]] = future.result()
                if progress is not None:
                    progress(len(parts) / len(jobs))
        except BrokenProcessPool:
            raise SceneFailed("a scene's renderer ended before its work; is there enough memory?") from None
        finally:
            pool.shutdown(cancel_futures=True)
    cameras = {}
    for index in indices:
        scene = scene_of(seed, index, seconds, size)
        cameras[index] = SimulatedCamera(
            name=f"cam-{index + 1}",
            stream=Stream.joined([parts[index, span] for span in spans]),
            events=scene.events,
            lookalikes=scene.lookalikes,
        )
    return cameras


def _part(seed: int, index: int, seconds: float, size: tuple[int, int], fps: float, span: tuple[int, int]) -> Stream:
    """Frames span[0] to span[1] of a scene, encoded. Runs in a process of its own."""
    import cv2

    cv2.setNumThreads(1)
    scene = scene_of(seed, index, seconds, size)
    return encode((scene.frame(number / fps) for number in range(*span)), fps, GOP_S)
