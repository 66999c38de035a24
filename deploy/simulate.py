"""`witness simulate`: just the cameras, from scenes or recorded files, well-behaved or not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from deploy.errors import UsageError
from deploy.node import stop_on_signals
from deploy.progress import Progress

if TYPE_CHECKING:
    from ingest.simulator.faults import Fault
    from ingest.simulator.stream import Stream

SCENE_S = 60.0
HOST = "127.0.0.1"
DEFAULT_CLIPS = 4

Say = Callable[[str], None]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `witness simulate`."""

    port: int
    cameras: int
    seed: int
    seconds: float | None
    """How long to serve; None: until Ctrl-C."""
    files: tuple[Path, ...] = ()
    """Recordings to serve instead of scenes, named after their files."""
    fault: str | None = None


def serve(wanted: Wanted, say: Say, note: Say) -> None:
    """Says the address of each camera, then serves them until the time is over, Ctrl-C or SIGTERM."""
    from ingest.simulator.rtsp import SimulatedServer

    fault = _fault(wanted.fault)
    streams = _recordings(wanted.files) if wanted.files else _scenes(wanted, note)
    faults = dict.fromkeys(streams, fault) if fault else None
    with stop_on_signals() as stop, SimulatedServer(streams, HOST, wanted.port, faults=faults) as server:
        for name in streams:
            say(server.url(name))
        note("serving; Ctrl-C ends")
        stop.wait(wanted.seconds)


def render_scenes(folder: Path, clips: int | None, seed: int, seconds: float | None, note: Say) -> list[str]:
    """Scenes as MP4 files and `truth.json`; returns a line about each file that was written. seconds: of each; None: 20
    to 40. Raises UsageError where that is too short for what is to happen."""
    from ingest.simulator.reel import render_clips

    with Progress("rendering clips", note) as progress:
        try:
            truth = render_clips(folder, clips or DEFAULT_CLIPS, seed, seconds=seconds, progress=progress)
        except ValueError as error:
            raise UsageError(f"--render {folder}: {error}; give more --seconds") from None
    return [str(path) for path in (*sorted(folder.glob("*.mp4")), truth)]


def _scenes(wanted: Wanted, note: Say) -> dict[str, Stream]:
    from ingest.simulator.cameras import simulated_cameras

    with Progress("rendering scenes", note) as progress:
        cameras = simulated_cameras(wanted.cameras, wanted.seed, SCENE_S, progress=progress)
    return {camera.name: camera.stream for camera in cameras}


def _recordings(files: Sequence[Path]) -> dict[str, Stream]:
    """Each file under its own name, made fit for a URL; a number tells files of one name apart."""
    from ingest.simulator.stream import Stream

    streams: dict[str, Stream] = {}
    for file in files:
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-.") or "file"
        name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, len(files) + 2))) if name not in streams)
        streams[name] = Stream.from_file(file)
    return streams


def _fault(kind: str | None) -> Fault | None:
    from ingest.simulator.faults import FAULTS, Fault

    for known in FAULTS:
        if known == kind:
            return Fault(known)
    if kind is None:
        return None
    raise UsageError(f"--fault {kind}: known are {', '.join(FAULTS)}")
