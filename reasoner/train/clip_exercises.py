"""Rows of rendered clips as exercises, in the prompt style and with the pictures that the model is served."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import Box, Coordinates
from reasoner.folder import ModelFolder
from reasoner.grade import GATE_S, TrueObject, Truth
from reasoner.prompt import Style, messages
from reasoner.train.album import Album
from reasoner.train.augment import asked, augmented
from reasoner.train.errors import BadClips
from reasoner.train.exercise import Exercise, coordinates_of
from reasoner.train.questions import language
from reasoner.train.row import Row
from reasoner.train.vocabulary import VISIBLE_FROM, no_sentence, yes_sentence


class Manner(NamedTuple):
    """How a model is asked about a clip."""

    motion: bool
    """It takes motion pairs; any other sees the frames alone."""
    style: Style
    coordinates: Coordinates

    @classmethod
    def of(cls, folder: ModelFolder) -> Manner:
        notes = folder.notes
        motion, style = (notes.pairing == "motion", notes.prompt) if notes else (False, "full")
        return cls(motion, style, coordinates_of(folder))

    def ask(self, clip: NDArray[np.uint8], row: Row) -> Exercise:
        """clip: uint8 (groups, 2, H, W, 3)."""
        lang = language(row.question)
        prompt = messages(row.question, row.times, lang, style=self.style, coordinates=self.coordinates)
        # Slot 0 of a pair is the frame itself: what a model without motion pictures sees.
        return Exercise(prompt, list(clip if self.motion else clip[:, 0]), truth_of(row))


class ClipExercises:
    """The rows whose category the model knows."""

    def __init__(self, album: Album, folder: ModelFolder, seed: int, true_share: float) -> None:
        """true_share: of the rows drawn, before a part of them is asked another category's question
        (`augment.asked`). Raises BadClips when that leaves no training or no validation row."""
        self.album, self.seed, self.true_share = album, seed, true_share
        notes = folder.notes
        self.manner = Manner.of(folder)
        known = notes.categories if notes and notes.categories else album.categories
        self.categories = [category for category in album.categories if category in known]
        self.train = [int(index) for index in album.train if album.rows[index].category in self.categories]
        self.val = [int(index) for index in album.val if album.rows[index].category in self.categories]
        if not self.train or len(self.val) < 2:
            raise BadClips(
                f"{len(self.train)} training and {len(self.val)} validation rows ask about what the model knows "
                f"({', '.join(known)}); render more clips, of these categories"
            )

    def drawn(self, count: int) -> list[int]:
        """Evenly over categories, `true_share` of them true: only those have evidence to point at."""
        pools: dict[tuple[str, bool], list[int]] = {}
        for index in self.train:
            row = self.album.rows[index]
            pools.setdefault((row.category, row.answer), []).append(index)
        random = np.random.default_rng((self.seed, 21))
        categories = sorted({category for category, _ in pools})
        drawn = []
        for _ in range(count):
            category, true = categories[int(random.integers(len(categories)))], bool(random.random() < self.true_share)
            pool = pools.get((category, true)) or pools[category, not true]
            drawn.append(pool[int(random.integers(len(pool)))])
        return drawn

    def practice(self, index: int, turn: int) -> Exercise:
        """With small changes that leave the truth intact; the same turn makes the same ones."""
        random = np.random.default_rng((self.seed, 22, turn))
        pictures, row = augmented(self.album.clip(index), self.album.rows[index], random)
        return self.of(np.ascontiguousarray(pictures), asked(row, self.categories, random))

    def held_out(self, validation: int, evaluation: int) -> tuple[list[int], list[int]]:
        """Of either half of the validation split: windows of one scene lie together, so hardly one serves both."""
        middle = (len(self.val) + 1) // 2
        return spread(self.val[:middle], validation), spread(self.val[middle:], evaluation)

    def plain(self, index: int) -> Exercise:
        return self.of(self.album.clip(index), self.album.rows[index])

    def identity(self) -> str:
        parts = (self.seed, self.categories, len(self.album.rows), self.album.rows[0], self.album.rows[-1])
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def of(self, clip: NDArray[np.uint8], row: Row) -> Exercise:
        """clip: uint8 (groups, 2, H, W, 3)."""
        return self.manner.ask(clip, row)


def truth_of(row: Row) -> Truth:
    """What grading knows of a row: its actors where they are visible enough to be pointed at, during the event."""
    if not row.answer:
        return Truth(yes=False, answer=no_sentence(row), duration_s=row.times[-1])
    start_s = row.times[0] if row.start is None else row.start
    end_s = row.times[-1] if row.end is None else row.end
    return Truth(
        yes=True,
        span=(start_s, end_s),
        objects=tuple(
            TrueObject(label=thing.label, time_s=time_s, box=_clamped(thing.box))
            for time_s, things in zip(row.times, row.objects, strict=True)
            if start_s - GATE_S <= time_s <= end_s + GATE_S
            for thing in things
            if thing.actor and thing.visible > VISIBLE_FROM
        ),
        answer=yes_sentence(row),
        duration_s=row.times[-1],
    )


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly."""
    places = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return [int(indices[place]) for place in places]


def _clamped(box: tuple[float, float, float, float]) -> Box:
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in box)
    return Box(x1, y1, x2, y2)
