"""Scenes as a scorer sees them: every key frame's tokens and novelty, whatever will be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector import film
from detector.folder import Shape
from detector.memory import CameraMemory
from detector.novelty import Novelty
from ingest.simulator.world import Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import Engine


@dataclass(frozen=True, slots=True)
class Seen:
    """Every key frame of the held-out scenes, one row each."""

    scene: NDArray[np.int64]
    t_s: NDArray[np.float64]
    tokens: NDArray[np.float32]
    novelty: NDArray[np.float32]
    scenes: tuple[Scene, ...]


def look(engine: Engine, shape: Shape, scenes: Sequence[Scene], interval_s: float) -> Seen:
    """Plays the scenes as cameras, a key frame each `interval_s`, through memory, engine and novelty as in serving."""
    rows: list[tuple[int, float, NDArray[np.float32], float]] = []
    for index, scene in enumerate(scenes):
        memory, novelty = CameraMemory(shape.picture_size), Novelty()
        for t_s in film.key_times(scene.seed, scene.duration_s, interval_s):
            frame = film.coarse_frame(scene, t_s, "scene", 60)
            picture = memory.look(0, frame.stamp.utc_ns, frame.image())[..., : shape.channels]
            tokens = engine.image(np.ascontiguousarray(picture)[None])[0]
            rows.append((index, t_s, tokens.astype(np.float16), novelty.update(tokens)))
    return Seen(
        scene=np.array([row[0] for row in rows]),
        t_s=np.array([row[1] for row in rows]),
        tokens=np.stack([row[2] for row in rows]).astype(np.float32),
        novelty=np.array([row[3] for row in rows], np.float32),
        scenes=tuple(scenes),
    )


def interval_s(seen: Seen) -> float:
    """Between two key frames."""
    return float(np.median(np.diff(seen.t_s[seen.scene == 0])))
