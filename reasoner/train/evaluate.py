"""What an exported model is worth: real greedy generation by the stock class on rows it was not trained on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoner.grade import GATE_S, grade, overlaps, read
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.train.album import Album
from reasoner.train.clip_exercises import truth_of
from reasoner.train.questions import language
from reasoner.train.row import Row

log = logging.getLogger(__name__)

MAX_NEW_TOKENS = 160
LOG_EVERY = 50
"""Rows between two lines of progress."""
RIGHT_FROM = 0.5
POINTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities of a yes at which precision and recall are reported."""


@dataclass(frozen=True)
class Outcome:
    """One row answered."""

    row: Row
    output: str
    said: bool
    probability: float
    """Of the first word of the thinking being a yes's."""
    ious: tuple[float, ...]
    """Of each claim of a right yes, with its own true object."""
    onset_error_s: float | None
    seconds: float


def evaluate(folder: Path, album: Album, indices: Sequence[int]) -> dict[str, Any]:
    """Figures of `summary` over the rows of these indices."""
    return summary(answer(folder, album, indices))


def answer(folder: Path, album: Album, indices: Sequence[int]) -> list[Outcome]:
    """Each row asked through the serving processor and transformers' own generate, one at a time."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    processor = Processor.load(folder)
    stock: Any = Qwen3VLForConditionalGeneration
    model = stock.from_pretrained(folder, dtype=torch.float32).eval()
    first = processor.tokenizer.convert_tokens_to_ids(["<think>"])[0]
    yes, no = (processor.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("The", "Nothing"))
    outcomes = []
    for done, index in enumerate(indices):
        if done and done % LOG_EVERY == 0:
            log.info("evaluating: %d of %d rows", done, len(indices))
        row = album.rows[index]
        prompt = messages(row.question, row.times, language(row.question), style="brief")
        started = time.perf_counter()
        inputs = processor.encode(prompt, list(album.clip(index)))
        with torch.inference_mode():
            made = model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        ids = made.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        place = ids.index(first) + 1 if first in ids[:-1] else 0
        logits = made.logits[place][0].float()
        probability = float(torch.sigmoid(logits[yes] - logits[no]))
        outcomes.append(graded(row, processor.decode(ids), probability, time.perf_counter() - started))
    return outcomes


def graded(row: Row, output: str, probability: float, seconds: float) -> Outcome:
    """An output held against the truth of its row, by `reasoner.grade`."""
    claimed, truth = read(output), truth_of(row)
    said = claimed.yes is True
    right = said and row.answer
    return Outcome(
        row=row,
        output=output,
        said=said,
        probability=probability,
        ious=tuple(overlaps(claimed, truth)) if right else (),
        onset_error_s=grade(claimed, truth).onset_error_s if right else None,
        seconds=seconds,
    )


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Accuracy, precision and recall, in all and by category; boxes, onsets, operating points, seconds per window."""
    categories = sorted({outcome.row.category for outcome in outcomes})
    ious = [iou for outcome in outcomes for iou in outcome.ious]
    onsets = [outcome.onset_error_s for outcome in outcomes if outcome.onset_error_s is not None]
    wrong = [outcome.row.kind for outcome in outcomes if outcome.said and not outcome.row.answer]
    return {
        "rows": len(outcomes),
        **_scores(outcomes),
        "box_iou": _mean(ious),
        "box_iou_half": _mean([float(iou >= RIGHT_FROM) for iou in ious]),
        "onset_error_s": float(np.median(onsets)) if onsets else None,
        "onset_within_1s": _mean([float(onset <= GATE_S) for onset in onsets]),
        "seconds_per_window": _mean([outcome.seconds for outcome in outcomes]),
        "categories": {
            category: _scores([outcome for outcome in outcomes if outcome.row.category == category])
            for category in categories
        },
        "false_by_kind": {kind: wrong.count(kind) for kind in sorted(set(wrong))},
        "points": {f"{point:.1f}": _at(outcomes, point) for point in POINTS},
    }


def _scores(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    return _counts([outcome.said for outcome in outcomes], [outcome.row.answer for outcome in outcomes])


def _at(outcomes: Sequence[Outcome], point: float) -> dict[str, float | None]:
    said = [outcome.said and outcome.probability >= point for outcome in outcomes]
    return _counts(said, [outcome.row.answer for outcome in outcomes])


def _counts(said: Sequence[bool], true: Sequence[bool]) -> dict[str, float | None]:
    hits = sum(s and t for s, t in zip(said, true, strict=True))
    return {
        "accuracy": _mean([float(s == t) for s, t in zip(said, true, strict=True)]),
        "precision": hits / sum(said) if any(said) else None,
        "recall": hits / sum(true) if any(true) else None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
