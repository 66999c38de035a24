"""A synthetic scene as a camera would show it to the scorer: coarse frames, and what is true of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector import preprocess
from ingest.clock import Stamp
from ingest.frame import CoarseFrame
from ingest.simulator.episode import EVENTS, LOOKALIKES, PLACES, EventTruth, place_for, playable
from ingest.simulator.world import ObjectTruth, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

COARSE_SIZE = (320, 180)
JITTER_S = 0.02
START_NS = 1_700_000_000_000_000_000
"""UTC of a scene's first instant: any will do, the scorer only looks at differences."""
AFTERGLOW_S = 0.7
LASTING_S = 12.0
"""A thing that has been there longer is about to become part of the background: neither asked for nor held against."""
SEEN = 0.15
"""Share of an actor that must be visible for the frame to be judged by it."""


def make_scene(seed: int, duration_s: float) -> Scene:
    """Every other scene is the simulator's own mixture; the rest have as many look-alikes as events."""
    if seed % 2 == 0:
        return Scene(seed, duration_s)
    rng = np.random.default_rng([seed, 77])
    alike = [play.__name__ for plays in LOOKALIKES.values() for play in plays]
    place = str(rng.choice(list(PLACES)))
    pools = [playable(pool, place) for pool in (EVENTS, alike, ["walking", "nothing"])]
    # What only this kind of place can show comes as often as all the rest, or it would hardly be seen.
    pools[:2] = [pool + [kind for kind in pool if place_for([kind])] * 4 for pool in pools[:2]]
    kinds = [str(rng.choice(pools[0 if draw < 0.42 else 1 if draw < 0.88 else 2])) for draw in rng.random(12)]
    return Scene(seed, duration_s, kinds=kinds)


def eventless_scene(seed: int, duration_s: float) -> Scene:
    """A scene without an event: look-alikes, as often people who walk by, and nothing at all."""
    rng = np.random.default_rng([seed, 82])
    alike = [play.__name__ for plays in LOOKALIKES.values() for play in plays]
    place = str(rng.choice(list(PLACES)))
    pools = [playable(pool, place) for pool in (alike, ["walking", "nothing"])]
    kinds = [str(rng.choice(pools[int(draw)])) for draw in rng.integers(0, 2, 12)]
    return Scene(seed, duration_s, kinds=kinds)


def key_times(seed: int, duration_s: float, interval_s: float) -> Iterator[float]:
    """Instants of a camera's key frames: a random phase, a little jitter."""
    rng = np.random.default_rng([seed, 78])
    t = float(rng.uniform(0, interval_s))
    while t < duration_s - JITTER_S:
        yield max(0.0, t + float(rng.uniform(-JITTER_S, JITTER_S)))
        t += interval_s


def coarse_frame(scene: Scene, t_s: float, camera_id: str, quality: int | None = None) -> CoarseFrame:
    """The scene at `t_s` as ingest would hand it over; `quality`: JPEG quality that stands for a codec's losses."""
    picture = preprocess.reduce(scene.frame(t_s), COARSE_SIZE)
    if quality is not None:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    stamp = Stamp(
        pts=round(t_s * 90_000),
        time_base=(1, 90_000),
        utc_ns=START_NS + round(t_s * 1e9),
        source="file",
        uncertainty_ms=0.0,
    )
    return CoarseFrame(
        camera_id=camera_id, epoch=0, stamp=stamp, source_size=scene.size, size=COARSE_SIZE, rgb=picture.tobytes()
    )


def phase(event: EventTruth, t_s: float) -> int:
    """1: it can be seen now; 0: it is not there; -1: do not judge (begun but not evident, just over, or long there)."""
    if t_s < event.start_s or t_s > event.end_s + AFTERGLOW_S:
        return 0
    return 1 if event.evident_s <= t_s <= min(event.end_s, event.evident_s + LASTING_S) else -1


def subject(scene: Scene, event: EventTruth) -> frozenset[int]:
    """What an event is about: the thing where there is one (the bag, not its owner), else its people."""
    things = frozenset(event.actors) - {person.id for person in scene.stage.people}
    return things or frozenset(event.actors)


def shown(scene: Scene, event: EventTruth, t_s: float) -> bool:
    """Whether a frame shows enough of what the event is about: a pillar may hide all of it."""
    about = subject(scene, event)
    return any(each.id in about and each.visible >= SEEN for each in scene.truth(t_s))


def cover(box: tuple[float, float, float, float], grid: tuple[int, int]) -> NDArray[np.int8]:
    """int8 (columns * rows,): 1 where a 0..1 box fills much of a token's cell (its best cell always), -1 where it only
    touches it, 0 elsewhere."""
    columns, rows = grid
    x = np.clip(
        np.minimum(box[2] * columns, np.arange(1, columns + 1)) - np.maximum(box[0] * columns, np.arange(columns)), 0, 1
    )
    y = np.clip(np.minimum(box[3] * rows, np.arange(1, rows + 1)) - np.maximum(box[1] * rows, np.arange(rows)), 0, 1)
    share = np.outer(y, x).reshape(-1)
    out = np.where(share >= 0.25, 1, np.where(share > 0, -1, 0)).astype(np.int8)
    out[int(share.argmax())] = 1
    return out


def _where(objects: Sequence[ObjectTruth], grid: tuple[int, int]) -> NDArray[np.int8]:
    """Union of covers; sure beats touched."""
    out = np.zeros(grid[0] * grid[1], np.int8)
    for each in objects:
        mask = cover(each.box, grid)
        out = np.where((out == 1) | (mask == 1), 1, np.minimum(out, mask)).astype(np.int8)
    return out


def states(scene: Scene, t_s: float, grid: tuple[int, int]) -> dict[str, tuple[int, NDArray[np.int8]]]:
    """State name to (1 holds, -1 not to be judged; what does not hold is left out) and its mask over tokens."""
    objects = [each for each in scene.truth(t_s) if each.visible >= SEEN]
    out: dict[str, tuple[int, NDArray[np.int8]]] = {}
    for event in (*scene.events, *scene.lookalikes):
        held = phase(event, t_s)
        if held == 0:
            continue
        about = subject(scene, event)
        actors = [each for each in objects if each.id in about]
        if out.get(event.label, (-1, None))[0] == -1:
            out[event.label] = (held if actors else -1, _where(actors, grid))
    for label in {each.label for each in objects} - set(EVENTS) - out.keys():
        out[label] = (1, _where([each for each in objects if each.label == label], grid))
    if not scene.truth(t_s):
        out["empty"] = (1, np.full(grid[0] * grid[1], -1, np.int8))
    return out
