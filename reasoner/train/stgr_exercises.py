"""Rows of STGR, or of a site's own videos, as exercises: what the same rows are for supervised training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from reasoner.boxes import Box, to_view
from reasoner.folder import ModelFolder
from reasoner.grade import TrueObject, Truth
from reasoner.numerals import read_boxes
from reasoner.pixels import resize_image
from reasoner.polarity import yes_or_no
from reasoner.prompt import messages
from reasoner.scanner import TAG
from reasoner.train.clip_exercises import spread
from reasoner.train.exercise import Exercise, coordinates_of
from reasoner.train.questions import language
from reasoner.train.shown import Pick, Shown, show
from reasoner.train.stgr import StgrRow, as_box, with_boxes

_PLAIN = re.compile(r"\s*(?:yes|no|是的?|否|没有|不是)\s*(?:[.,;:!。，；：！]|$)", re.IGNORECASE)
"""An answer that is a yes or a no and not merely begins like one."""


class StgrExercises:
    """Training rows in an order of their own, validation rows in theirs."""

    def __init__(
        self,
        rows: Sequence[StgrRow],
        validation: Sequence[StgrRow],
        folder: ModelFolder,
        fitted: Callable[[int, int], tuple[int, int]],
        videos: Path,
        pick: Pick,
        seed: int,
    ) -> None:
        """fitted: width and height, px, at which the model sees a picture of some size."""
        self.rows, self.validation, self.videos, self.pick, self.seed = rows, validation, videos, pick, seed
        self.style = folder.notes.prompt if folder.notes else "full"
        self.coordinates = coordinates_of(folder)
        self.fitted = fitted

    def drawn(self, count: int) -> list[int]:
        """Each row once, then each once more."""
        random = np.random.default_rng((self.seed, 21))
        turns = -(-count // len(self.rows))
        return [int(index) for _ in range(turns) for index in random.permutation(len(self.rows))][:count]

    def practice(self, index: int, turn: int) -> Exercise:
        return self.of(self.rows[index], self.pick, self.seed + turn)

    def held_out(self, validation: int, evaluation: int) -> tuple[list[int], list[int]]:
        places = range(len(self.validation))
        middle = (len(places) + 1) // 2
        return spread(places[:middle], validation), spread(places[middle:], evaluation)

    def plain(self, index: int) -> Exercise:
        """With the frames that serving would show, which does not know what is cited: an even grid."""
        return self.of(self.validation[index], self.pick._replace(cited=False), self.seed)

    def identity(self) -> str:
        parts = (self.seed, [msgspec.to_builtins(row) for row in (*self.rows, *self.validation)])
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def of(self, row: StgrRow, pick: Pick, seed: int) -> Exercise:
        """Raises BadRows where its video cannot be shown."""
        shown = show(row, self.videos, pick, seed)
        prompt = messages(
            row.question,
            shown.times_s,
            language(row.question),
            style=self.style,
            coordinates=self.coordinates,
            duration_s=shown.duration_s,
        )
        # At the model's own size: a block of questions waits in memory.
        pictures = [resize_image(one, self.fitted(one.shape[1], one.shape[0])) for one in shown.pictures]
        return Exercise(prompt, pictures, truth_of(row, shown))


def truth_of(row: StgrRow, shown: Shown) -> Truth:
    """What grading knows of a row, its boxes in the view that is shown."""
    yes = yes_or_no(row.answer) if _PLAIN.match(row.answer) else None
    objects = [
        TrueObject(label=one.object, time_s=one.time_s, box=box)
        for one in row.cited()
        for box in (to_view(whole, shown.view) for whole in one.boxes)
        if box is not None
    ]
    span = row.span_s()
    # A time without a place says when and leaves where open.
    alone = () if objects or row.task == "visual QA" else tuple(one.time_s for one in row.cited())
    return Truth(
        yes=yes,
        span=None if yes is False else span,
        objects=() if yes is False else tuple(objects),
        moments_s=() if yes is False else alone,
        answer=TAG.sub("", row.answer_text()),
        answer_box=_answer_box(row, shown) if row.task == "visual QA" else None,
        duration_s=shown.duration_s,
        task=row.task,
    )


def _answer_box(row: StgrRow, shown: Shown) -> Box | None:
    found: list[Box] = []

    def take(content: str) -> str:
        found.extend(as_box(box.numbers, row.convention, row.image_size) for box in read_boxes(content)[0])
        return content

    with_boxes(row.answer, take)
    return to_view(found[0], shown.view) if found else None
