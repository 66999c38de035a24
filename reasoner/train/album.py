"""The folder of training clips: rows of `clips.jsonl` and their pictures, mapped from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasoner.train.about import About
from reasoner.train.config import Render
from reasoner.train.errors import BadClips
from reasoner.train.row import Row
from reasoner.train.vocabulary import target


class Album:
    """Rows with their pictures, uint8 (N, groups, 2, H, W, 3): slot 0 RGB, slot 1 luma, change, change 0.5 s later."""

    def __init__(self, pictures: NDArray[np.uint8], rows: list[Row]) -> None:
        if len(pictures) < len(rows):
            raise BadClips(
                f"{len(rows)} rows but pictures of {len(pictures)} clips; remove the folder, and it is rendered again"
            )
        self.pictures = pictures
        self.rows = rows
        usable = [index for index, row in enumerate(rows) if can_be_told(row)]
        self.train = np.array([index for index in usable if rows[index].split == "train"], np.int64)
        self.val = np.array([index for index in usable if rows[index].split == "val"], np.int64)
        self.untold = len(rows) - len(usable)
        """Rows left out: true, but no actor is visible enough to point at."""

    @classmethod
    def open(cls, folder: Path, wanted: Render | None = None) -> Album:
        """Raises BadClips naming the file, and the line of a row that cannot be read.

        wanted: what the clips must have been rendered with; a folder that does not say it is taken as it is.
        """
        about = About.read(folder)
        if about is not None and wanted is not None:
            about.check(folder, wanted)
        try:
            pictures: Any = np.load(folder / "pictures.npy", mmap_mode="r")
            lines = (folder / "clips.jsonl").read_bytes().splitlines()
        except (OSError, ValueError) as error:
            raise BadClips(
                f"clips in {folder} cannot be read: {error}; remove it, and they are rendered again"
            ) from error
        if pictures.ndim != 6 or pictures.dtype != np.uint8:
            raise BadClips(
                f"{folder / 'pictures.npy'} is {pictures.dtype} {pictures.shape}; "
                "remove the folder, and it is rendered again"
            )
        decoder = msgspec.json.Decoder(Row)
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(decoder.decode(line))
            except msgspec.DecodeError as error:
                raise BadClips(
                    f"{folder / 'clips.jsonl'} line {number}: {error}; remove the folder, and it is rendered again"
                ) from error
        return cls(pictures, rows)

    @classmethod
    def render(cls, folder: Path, what: Render) -> None:
        """Renders the clips of a folder that does not exist. One cut short lies in FOLDER.partial, and the same
        settings go on with it."""
        from reasoner.train.clips import write

        partial = folder.with_name(f"{folder.name}.partial")
        write(partial, what)
        partial.rename(folder)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture, px."""
        return self.pictures.shape[4], self.pictures.shape[3]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of happening in the rows, sorted."""
        return tuple(sorted({row.kind for row in self.rows}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of an object in the rows, sorted."""
        return tuple(sorted({thing.label for row in self.rows for things in row.objects for thing in things}))

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category that is asked about, sorted."""
        return tuple(sorted({row.category for row in self.rows}))

    def validation(self, count: int) -> list[int]:
        """At most `count` rows of the first half of the validation split, evenly spread: to choose weights by."""
        return _spread(self.val[: (len(self.val) + 1) // 2], count)

    def evaluation(self, count: int) -> list[int]:
        """At most `count` rows of its other half: windows of one scene lie together, so hardly one serves both."""
        return _spread(self.val[(len(self.val) + 1) // 2 :], count)

    def clip(self, index: int) -> NDArray[np.uint8]:
        """uint8 (groups, 2, H, W, 3) of one row's valid groups."""
        return np.asarray(self.pictures[index, : self.rows[index].groups])


def _spread(indices: NDArray[np.int64], count: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(np.int64)
    return [int(index) for index in indices[places]]


def can_be_told(row: Row) -> bool:
    """Whether the right answer can be written: a yes has to point at an actor who is visible enough."""
    try:
        target(row)
    except ValueError:
        return False
    return True
