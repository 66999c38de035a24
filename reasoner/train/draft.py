"""A folder of clips that is being rendered: what was finished of it survives when the rendering is killed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasoner.train.about import About
from reasoner.train.errors import BadClips

log = logging.getLogger(__name__)

PROGRESS = "progress.json"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`progress.json`: gone when the clips are complete."""

    rows: int
    seed: int
    """The next scene's."""


class Draft:
    """`pictures.npy`, `clips.jsonl`, `about.json`. A context manager; `keep` after whole blocks, `finish` at last."""

    def __init__(self, folder: Path, about: About, shape: tuple[int, ...]) -> None:
        """shape: of `pictures.npy`, uint8. Goes on where the same clips were begun before, else begins anew."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.rows, self.seed = 0, about.render.first_seed
        found = _begun(folder, about, shape)
        if found is not None:
            self.rows, self.seed = found.rows, found.seed
            log.info("%s: going on at clip %d of %d, scene %d", folder, self.rows, shape[0], self.seed)
        else:
            if any(folder.iterdir()):
                log.info("%s: was begun with other settings or cut short too early, and begins anew", folder)
            (folder / PROGRESS).unlink(missing_ok=True)
            about.write(folder)
        self._pictures: Any = np.lib.format.open_memmap(
            folder / "pictures.npy", mode="w+" if found is None else "r+", dtype=np.uint8, shape=shape
        )
        self._lines = (folder / "clips.jsonl").open("wb" if found is None else "ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def add(self, picture: NDArray[np.uint8], row: dict[str, Any]) -> None:
        self._pictures[self.rows, : len(picture)] = picture
        self._lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self.rows += 1

    def keep(self, seed: int) -> None:
        """All scenes before `seed` are in: a rendering that is killed goes on from here."""
        self.seed = seed
        self._pictures.flush()
        self._lines.flush()
        os.fsync(self._lines.fileno())
        fresh = self.folder / f"{PROGRESS}.new"
        fresh.write_bytes(msgspec.json.encode(Progress(rows=self.rows, seed=seed)))
        fresh.replace(self.folder / PROGRESS)

    def finish(self) -> None:
        self.keep(self.seed)
        (self.folder / PROGRESS).unlink()


def _begun(folder: Path, about: About, shape: tuple[int, ...]) -> Progress | None:
    """How far the same clips were rendered; rows behind that are cut off. None: not at all, or not the same."""
    lines = folder / "clips.jsonl"
    try:
        found = msgspec.json.decode((folder / PROGRESS).read_bytes(), type=Progress)
        before = About.read(folder)
        pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        whole = lines.read_bytes().split(b"\n")[: found.rows]
    except (OSError, ValueError, msgspec.DecodeError, BadClips):
        return None
    if before is None or not before.same(about) or pictures.shape != shape or len(whole) < found.rows:
        return None
    lines.write_bytes(b"".join(line + b"\n" for line in whole))
    return found
