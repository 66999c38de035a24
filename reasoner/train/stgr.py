"""One row of STGR, the training data of Open-o3 Video, with the columns of the authors' own files.

    task              which of six; decides what else a row has
    video_path        below the folder of videos; `image_path` with `image_size` for a `visual QA` row
    question, answer  an RL row of a temporal task has its span as "[12.3, 15.6]" in the answer
    key_frames        [{idx, time, path}]: seconds of the cited frames
    key_items         {"idx": {"man": [[x1, y1, x2, y2], ...]}}: what is to be seen in them
    reasoning_process the text to be thought, with claims in the output language; SFT rows only

Source: the loaders of github.com/marinero4972/Open-o3-Video (data_loader.py, sft_multi_task.py, grpo_trainer.py).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from reasoner.boxes import Box, from_model
from reasoner.numerals import read_boxes, read_spans
from reasoner.scanner import TAG

Task = Literal[
    "visual QA",
    "temporal-spatial free-form QA",
    "temporal QA",
    "temporal QA (MCQ)",
    "General video QA MCQ",
    "General video QA Free-form",
]
TASKS: tuple[Task, ...] = get_args(Task)
GROUNDED: Task = "temporal-spatial free-form QA"
"""The task whose rows cite times and boxes: what a site's own rows are."""
Numbers = tuple[float, float, float, float]
Convention = Literal["norm01", "pixels", "centre1000"]
"""What four numbers on disk mean: x1, y1, x2, y2 in 0..1 of the frame; the same in pixels of `image_size`; or centre x,
centre y, width and height in 0..1000 (rows that come from VideoEspresso)."""

_SPAN = re.compile(r"\[\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*\]")
_OPTION = re.compile(r"^\s*(?:Correct Option:)?\s*\[?([A-J])\b")


class KeyFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A cited frame."""

    idx: int
    """Names it in `key_items`."""
    time: float
    """Seconds from the start of the video."""
    path: str = ""
    """The picture, below the folder of key frames."""


class Cited(NamedTuple):
    """An object that a row points at."""

    object: str
    boxes: tuple[Box, ...]
    """None for a time without a place."""
    time_s: float


class StgrRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was found sound; boxes are as on disk, `cited` gives them as `Box`."""

    task: Task
    question: str
    answer: str
    video_path: str | None = None
    id: str | int | None = None
    source: str = ""
    image_path: str | None = None
    image_size: tuple[int, int] | None = None
    """Width and height, px."""
    key_frames: tuple[KeyFrame, ...] = ()
    key_items: Mapping[str, Mapping[str, tuple[Numbers, ...]]] = {}
    reasoning_process: str | None = None
    extra: Mapping[str, Any] = {}
    """Columns that are not known here; they are written back as they came."""
    place: int = 0
    """Number of the row in its file, from 1; never written."""

    @property
    def convention(self) -> Convention:
        """Of this row's boxes, in `key_items` and in texts: fixed by task and source, never guessed."""
        if self.task == "visual QA":
            return "pixels"
        return "centre1000" if self.source.startswith("videoespresso") else "norm01"

    def cited(self) -> tuple[Cited, ...]:
        """Everything pointed at, in order of the key frames; a key frame without items is a time alone."""
        found = []
        for frame in self.key_frames:
            items = self.key_items.get(str(frame.idx), {})
            found += [
                Cited(name, tuple(as_box(box, self.convention, self.image_size) for box in boxes), frame.time)
                for name, boxes in items.items()
            ]
            if not items:
                found.append(Cited("", (), frame.time))
        return tuple(found)

    def span_s(self) -> tuple[float, float] | None:
        """The time span that the answer states, in either of the ways the files state it."""
        listed = _SPAN.search(self.answer) if self.task.startswith("temporal QA") else None
        if listed:
            start, end = float(listed[1]), float(listed[2])
            return (start, end) if start <= end else None
        spans, _ = read_spans(TAG.sub("", self.answer))
        return (spans[0].start_s, spans[0].end_s) if spans else None

    def answer_text(self) -> str:
        """The answer as it is to be written: an RL row's list of two numbers becomes the sentence it stands for."""
        listed = _SPAN.search(self.answer) if self.task.startswith("temporal QA") else None
        if not listed:
            return self.answer
        told = f"From <t>{listed[1]}</t>s to <t>{listed[2]}</t>s"
        option = _OPTION.match(self.answer)
        return f"{told}.\nCorrect Option: {option[1]}" if option and self.task == "temporal QA (MCQ)" else told


def as_box(numbers: Numbers, convention: Convention, size: tuple[int, int] | None = None) -> Box:
    """Four numbers of a file → box; ValueError says what is wrong with them and how to mend it."""
    listed = f"box [{', '.join(f'{value:g}' for value in numbers)}]"
    x1, y1, x2, y2 = numbers
    if convention == "centre1000":
        x, y, width, height = (value / 1000 for value in numbers)
        x1, y1, x2, y2 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        box = from_model((x1, y1, x2, y2), "norm01")
        if box is None:
            raise ValueError(f"{listed} has no area; it is centre x, centre y, width, height in 0..1000")
        return box
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"{listed} has no area; write x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    if convention == "pixels":
        if size is None:
            raise ValueError(f"{listed} is in pixels of an unknown picture; add its size as [width, height]")
        if x1 < 0 or y1 < 0 or x2 > size[0] or y2 > size[1]:
            raise ValueError(f"{listed} reaches out of the {size[0]}x{size[1]} px picture; correct the box or the size")
        return Box(x1 / size[0], y1 / size[1], x2 / size[0], y2 / size[1])
    if x1 < 0 or y1 < 0 or x2 > 1 or y2 > 1:
        raise ValueError(f"{listed} is not in 0..1; divide x by the frame's width and y by its height")
    return Box(x1, y1, x2, y2)


def text_boxes(text: str) -> list[Numbers]:
    """The numbers of every `<box>` in a text; ValueError for one that cannot be read."""
    found: list[Numbers] = []

    def take(content: str) -> str:
        boxes, errors = read_boxes(content)
        if errors:
            raise ValueError(f"{errors[0]}; write <box>[x1,y1,x2,y2]</box>")
        found.extend(box.numbers for box in boxes)
        return content

    with_boxes(text, take)
    return found


def with_boxes(text: str, change: Callable[[str], str]) -> str:
    """A text in which the content of each `<box>` is changed; everything else stays to the character."""
    pieces: list[str] = []
    at = 0
    marks = [mark for mark in TAG.finditer(text) if mark[2].lower() == "box"]
    for opening, closing in itertools.pairwise(marks):
        if opening[1] or not closing[1] or opening.end() < at:
            continue
        pieces += [text[at : opening.end()], change(text[opening.end() : closing.start()])]
        at = closing.start()
    return "".join([*pieces, text[at:]])
