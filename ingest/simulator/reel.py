"""Scenes as MP4 files with their truth beside them, for servers and players that are not ours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
from av.packet import Packet as FilePacket

from ingest.simulator.cameras import Progress
from ingest.simulator.episode import EVENTS, LOOKALIKES, EventTruth
from ingest.simulator.stream import CLOCK_HZ, Stream, encode
from ingest.simulator.world import Scene

SHORTEST_S, LONGEST_S = 20.0, 40.0
AFTERMATH_S = 8.0
"""A clip goes on for so long after its event can be told; one that was asked to be short for a fifth of its length."""
EPISODE_S = 20.0
"""An event of a clip whose length was asked for comes after at most one ordinary episode for each so many seconds."""
BOX_STEP_S = 0.5


class BoxTruth(msgspec.Struct, frozen=True, kw_only=True):
    """Where an actor of an event is. `t`: seconds of the clip; `box`: x1, y1, x2, y2 in 0..1 of the picture."""

    t: float
    label: str
    box: tuple[float, float, float, float]


class ClipEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of the clip."""

    label: str
    start: float
    end: float
    boxes: tuple[BoxTruth, ...]


class ClipTruth(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of truth.json."""

    file: str
    events: tuple[ClipEvent, ...]


def render_clips(
    folder: Path,
    clips: int,
    seed: int,
    *,
    seconds: float | None = None,
    size: tuple[int, int] = (640, 360),
    fps: float = 10,
    progress: Progress | None = None,
) -> Path:
    """Writes `clips` H.264 files, of `seconds` each or of 20 to 40 s, and truth.json, whose path it gives back.

    The first, third, ... clip has one event; in the others something looks like one, or nothing happens. Raises OSError
    where the folder cannot be written and ValueError without clips, or where a clip is too short for its event.
    """
    if clips < 1:
        raise ValueError(f"{clips} clips cannot be rendered: give at least one")
    folder.mkdir(parents=True, exist_ok=True)
    truths = []
    for number in range(clips):
        scene, length_s = clip_scene(seed, number, size, seconds)
        file = f"clip-{number + 1:03d}.mp4"
        write_mp4(encode((scene.frame(i / fps) for i in range(round(length_s * fps))), fps), folder / file)
        events = tuple(_truth(scene, event, length_s) for event in scene.events)
        truths.append(ClipTruth(file=file, events=events))
        if progress is not None:
            progress((number + 1) / clips)
    path = folder / "truth.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(truths), indent=1) + b"\n")
    return path


def clip_scene(seed: int, number: int, size: tuple[int, int], seconds: float | None = None) -> tuple[Scene, float]:
    """The scene of a clip and the seconds of it that are shown. Clips go through all kinds before one comes again.

    seconds: the length that was asked for; such a clip has people who walk, or nobody, before and after what happens.
    Raises ValueError where it is too short for the event.
    """
    order = np.random.default_rng([seed, 41]).permutation(list(EVENTS))
    if number % 2 == 0:
        label = str(order[number // 2 % len(order)])
        if seconds is None:
            return _with_event(seed, number, size, label)
        return _asked_for(seed, number, size, label, seconds), seconds
    quiet = [play.__name__ for label in order for play in LOOKALIKES[str(label)]]
    quiet.insert(2, "nothing")
    alike = quiet[number // 2 % len(quiet)]
    if seconds is not None:
        return _asked_for(seed, number, size, alike, seconds), seconds
    kinds = [alike, "walking"]
    seconds = float(np.random.default_rng([seed, number, 42]).uniform(SHORTEST_S, LONGEST_S))
    return Scene(_scene_seed(seed, number, 0), seconds, size, kinds), seconds


def _with_event(seed: int, number: int, size: tuple[int, int], label: str) -> tuple[Scene, float]:
    """The first scene of this event that is over, or at least plain to see, early enough for the longest clip."""
    for attempt in range(100):
        scene = Scene(_scene_seed(seed, number, attempt), LONGEST_S, size, [label, "walking"])
        if not scene.events:  # its event would begin after the longest clip
            continue
        needed = scene.events[0].evident_s + AFTERMATH_S
        if needed <= LONGEST_S:
            return scene, min(LONGEST_S, max(SHORTEST_S, needed, scene.events[0].end_s + 2))
    raise ValueError(f"no scene of {label!r} fits in {LONGEST_S:g} s")


def _asked_for(seed: int, number: int, size: tuple[int, int], kind: str, seconds: float) -> Scene:
    """The first scene of so many seconds in which this event can be told, or this look-alike has begun, early enough;
    `nothing` is in every one."""
    for attempt in range(100):
        scene_seed = _scene_seed(seed, number, attempt)
        rng = np.random.default_rng([scene_seed, 43])
        before = int(rng.integers(1 + int(seconds / EPISODE_S)))
        # More than can be played: the end of the scene cuts them off.
        ordinary = [str(each) for each in rng.choice(("walking", "nothing"), before + int(seconds) + 1)]
        scene = Scene(scene_seed, seconds, size, [*ordinary[:before], kind, *ordinary[before:]])
        told = [event.evident_s for event in scene.events if event.label == kind]
        told += [alike.start_s for alike in scene.lookalikes if alike.label == kind]
        if kind == "nothing" or (told and told[0] + min(AFTERMATH_S, seconds / 5) <= seconds):
            return scene
    raise ValueError(f"no scene of {kind!r} fits in {seconds:g} s")


def _scene_seed(seed: int, number: int, attempt: int) -> int:
    # Away from the seeds of trainings and of the live cameras: a rendered clip never shows one of their scenes.
    return 1_000_000_007 + (seed * 100_000 + number) * 128 + attempt


def _truth(scene: Scene, event: EventTruth, seconds: float) -> ClipEvent:
    end = min(event.end_s, seconds)
    boxes = []
    for step in range(int((end - event.start_s) / BOX_STEP_S) + 1):
        t = event.start_s + step * BOX_STEP_S
        boxes += [
            BoxTruth(t=round(t, 3), label=thing.label, box=_rounded(thing.box))
            for thing in scene.truth(t)
            if thing.id in event.actors
        ]
    return ClipEvent(label=event.label, start=round(event.start_s, 3), end=round(end, 3), boxes=tuple(boxes))


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(side), 4) for side in box)
    return x1, y1, x2, y2


def write_mp4(stream: Stream, path: Path) -> None:
    """One loop of the stream as an MP4 file, packets as they are."""
    time_base = Fraction(1, CLOCK_HZ)
    ends = [packet.dts_90k for packet in stream.packets[1:]] + [stream.packets[0].dts_90k + stream.duration_90k]
    with av.open(str(path), "w", format="mp4") as container:
        track = container.add_mux_stream(stream.codec, width=stream.width, height=stream.height, time_base=time_base)
        for packet, end in zip(stream.packets, ends, strict=True):
            coded = FilePacket(packet.data)
            coded.pts, coded.dts, coded.duration = packet.pts_90k, packet.dts_90k, end - packet.dts_90k
            coded.time_base, coded.is_keyframe, coded.stream = time_base, packet.key, track
            container.mux_one(coded)
