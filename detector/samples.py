"""The training set: scenes rendered once, seen through a camera's memory as in serving, kept on disk as uint8."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from detector import film
from detector.config import ScorerTrainConfig
from detector.errors import TrainingError
from detector.folder import Shape
from detector.memory import CameraMemory
from detector.preprocess import CHANNELS
from ingest.simulator.world import VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    States = list[dict[str, tuple[int, NDArray[np.int8]]]]

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever the same settings would give other planes or labels, which are kept by it: `SHAPING` says which code
decides that, and tests/detector/test_samples.py notices when it changes."""
SHAPING = ("background", "film", "memory", "preprocess")
"""Modules of this room whose code and constants shape what is kept."""
ORDINARY_SHARE = 0.35
"""Share of frames kept on which neither an event nor a look-alike is seen."""
TRAIN_SEED = 1_000_000
SEEDS_PER_RUN = 10_000


@dataclass(frozen=True, slots=True)
class Samples:
    """One row per kept frame."""

    pictures: NDArray[np.uint8]
    """(n, H, W, 7), on disk."""
    names: tuple[str, ...]
    """The states, columns of the two below."""
    truth: NDArray[np.int8]
    """(n, states): 1 holds, 0 does not, -1 is not to be judged."""
    where: NDArray[np.int8]
    """(n, states, tokens): the same for each token."""

    def __len__(self) -> int:
        return len(self.pictures)


def render(seed: int, config: ScorerTrainConfig, shape: Shape) -> tuple[NDArray[np.uint8], States]:
    """The kept frames of one scene, uint8 (k, H, W, 7), and what holds on each. Depends on the arguments only."""
    rng = np.random.default_rng([seed, 79])
    scene = film.make_scene(seed, config.scene_s)
    interval = config.key_interval_s * (2 if rng.random() < config.sparse_share else 1)
    quality = int(rng.integers(35, 96)) if rng.random() < 0.7 else None
    memory = CameraMemory(shape.picture_size)
    width, height = shape.picture_size
    pictures = [np.zeros((0, height, width, CHANNELS), np.uint8)]
    kept: States = []
    for t_s in film.key_times(seed, config.scene_s, interval):
        frame = film.coarse_frame(scene, t_s, "scene", quality)
        picture = memory.look(0, frame.stamp.utc_ns, frame.image())
        busy = any(
            film.phase(event, t_s) == 1 for event in (*scene.events, *scene.lookalikes) if event.label != "walking"
        )
        if busy or rng.random() < ORDINARY_SHARE:
            pictures.append(picture[None])
            kept.append(film.states(scene, t_s, shape.grid))
    return np.concatenate(pictures), kept


def _render(job: tuple[int, ScorerTrainConfig, Shape]) -> tuple[NDArray[np.uint8], States]:
    return render(*job)


def _rendered(config: ScorerTrainConfig, shape: Shape) -> Iterator[tuple[NDArray[np.uint8], States]]:
    jobs = [(TRAIN_SEED + config.seed * SEEDS_PER_RUN + scene, config, shape) for scene in range(config.scenes)]
    if config.render_workers == 1:
        yield from map(_render, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(config.render_workers) as pool:
        yield from pool.imap(_render, jobs, chunksize=2)


def _key(config: ScorerTrainConfig, shape: Shape) -> str:
    shaping = (
        FORMAT, VERSION, config.seed, config.scenes, config.scene_s, config.key_interval_s, config.sparse_share,
        shape.picture_size, shape.patch,
    )  # fmt: skip
    return hashlib.sha256(repr(shaping).encode()).hexdigest()[:16]


def load_samples(config: ScorerTrainConfig, shape: Shape) -> Samples:
    """Renders, or opens what was rendered with the same settings. Raises TrainingError if no frame was kept."""
    folder = Path(config.cache) / _key(config, shape)
    if not (folder / "names.json").is_file():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial, _rendered(config, shape), config.scenes)
        partial.rename(folder)
    width, height = shape.picture_size
    names = tuple(msgspec.json.decode((folder / "names.json").read_bytes(), type=list[str]))
    truth = np.load(folder / "truth.npy")
    where = np.load(folder / "where.npy", mmap_mode="r")
    pictures = np.memmap(folder / "pictures.u8", np.uint8, "r", shape=(len(truth), height, width, CHANNELS))
    log.info("%d training frames, %d states, %s", len(truth), len(names), folder)
    return Samples(pictures=pictures, names=names, truth=truth, where=where)


def _write(folder: Path, rendered: Iterable[tuple[NDArray[np.uint8], States]], scenes: int) -> None:
    everything: States = []
    with (folder / "pictures.u8").open("wb") as file:
        for done, (pictures, kept) in enumerate(rendered, 1):
            file.write(pictures.tobytes())
            everything += kept
            if done % max(1, scenes // 20) == 0:
                log.info("rendered %d of %d scenes, %d frames", done, scenes, len(everything))
    if not everything:
        raise TrainingError("no frame was kept: give the training more or longer scenes")
    names = sorted({name for row in everything for name in row})
    tokens = next(mask for row in everything for _, mask in row.values()).size
    truth = np.zeros((len(everything), len(names)), np.int8)
    where = np.zeros((len(everything), len(names), tokens), np.int8)
    for index, row in enumerate(everything):
        for name, (held, mask) in row.items():
            truth[index, names.index(name)] = held
            where[index, names.index(name)] = mask
    np.save(folder / "truth.npy", truth)
    np.save(folder / "where.npy", where)
    (folder / "names.json").write_bytes(msgspec.json.encode(names))
