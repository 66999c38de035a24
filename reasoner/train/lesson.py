"""A conversation as tokens: what is shown, what is to be learnt, and which of it says when and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reasoner.boxes import Coordinates
from reasoner.processor import Processor
from reasoner.scanner import TAG
from reasoner.train.conversation import Conversation, converse
from reasoner.train.shown import Pick, show
from reasoner.train.stgr import StgrRow

IGNORED = -100
"""Label of a token that is not learnt."""
Lesson = dict[str, Tensor]
"""`input_ids`, `attention_mask`, `mm_token_type_ids`, `labels` int64 (1, L), `grounded` bool (1, L), `pixel_values`
uint8 (patches, 3 * 2 * patch * patch), `image_grid_thw` int64 (n, 3). In a batch the rows are padded at the left."""


class Course(NamedTuple):
    """Everything that makes a lesson of a row."""

    processor: Processor
    coordinates: Coordinates
    videos: Path
    pick: Pick
    seed: int


class Lessons(torch.utils.data.Dataset[Lesson]):
    """Rows, turned into lessons when they are asked for: the videos do not fit into memory."""

    def __init__(self, rows: Sequence[StgrRow], course: Course) -> None:
        self.rows, self.course = rows, course

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Lesson:
        course, row = self.course, self.rows[index]
        shown = show(row, course.videos, course.pick, course.seed)
        height, width = shown.pictures[0].shape[:2]
        notes = course.processor.notes
        size = course.processor.fitted(width, height)
        talk = converse(row, shown, course.coordinates, size, notes.prompt if notes else "full")
        return lesson(course.processor, talk, shown.pictures)


def lesson(processor: Processor, talk: Conversation, pictures: Sequence[Any]) -> Lesson:
    """The prompt's tokens are the serving side's own; the target ends with the end of the turn."""
    tensors = processor.encode(talk.prompt, pictures, normalised=False)
    text = talk.target
    if processor.render(talk.prompt).rstrip().endswith("<think>"):
        text = text.removeprefix("<think>")  # a template of a thinking model has opened it already
    ids, inside = tokens_of(processor.tokenizer, text)
    wanted = torch.tensor([[*ids, processor.tokenizer.eos_token_id]])
    prompt = tensors["input_ids"]
    extended = {
        "input_ids": torch.cat([prompt, wanted], 1),
        "attention_mask": torch.ones(1, prompt.shape[1] + wanted.shape[1], dtype=torch.int64),
        "mm_token_type_ids": torch.cat([tensors["mm_token_type_ids"], torch.zeros_like(wanted)], 1),
        "labels": torch.cat([torch.full_like(prompt, IGNORED), wanted], 1),
        "grounded": torch.cat([torch.zeros_like(prompt), torch.tensor([[*inside, False]])], 1).bool(),
    }
    return {**tensors, **extended}


def tokens_of(tokenizer: Any, text: str) -> tuple[list[int], list[bool]]:
    """Token ids of a target, and whether each touches the content of a `<box>` or a `<t>`."""
    spans = grounded_spans(text)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    inside = [any(start < e and s < end for s, e in spans) for start, end in encoded["offset_mapping"]]
    return list(encoded["input_ids"]), inside


def grounded_spans(text: str) -> list[tuple[int, int]]:
    """Offsets of the content of each `<box>` and each `<t>`."""
    spans = []
    opened: tuple[str, int] | None = None
    for mark in TAG.finditer(text):
        name, closes = mark[2].lower(), bool(mark[1])
        if name not in ("box", "t"):
            opened = None
        elif not closes:
            opened = (name, mark.end())
        elif opened is not None and opened[0] == name:
            spans.append((opened[1], mark.start()))
            opened = None
    return spans


class Collate:
    """Lessons → one batch, padded at the left so that all targets end together."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
        length = max(one["input_ids"].shape[1] for one in lessons)
        fills = {
            "input_ids": self.pad_id, "attention_mask": 0, "mm_token_type_ids": 0, "labels": IGNORED, "grounded": 0,
        }  # fmt: skip
        batch = {
            name: torch.cat(
                [
                    torch.nn.functional.pad(one[name], (length - one[name].shape[1], 0), value=value)
                    for one in lessons
                ]
            )
            for name, value in fills.items()
        }  # fmt: skip
        return batch | {name: torch.cat([one[name] for one in lessons]) for name in ("pixel_values", "image_grid_thw")}
