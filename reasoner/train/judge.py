"""What greedy answers are worth on rows with known truth: the figures by which weights are kept and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from reasoner import rewards
from reasoner.boxes import Coordinates
from reasoner.grade import EVIDENCE, GATE_S, Claimed, RewardTable, Truth, box_score, read
from reasoner.train.exercise import Exercise


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Means over rows; None where no row counts."""

    rows: int
    reward: float
    """All terms, weighted."""
    evidence_reward: float | None
    """Terms about times and places, weighted, over the rows for which there is such evidence."""
    box_iou: float | None
    """Over the rows with known boxes that are not wrongly answered no."""
    accuracy: float | None
    precision: float | None
    recall: float | None
    """Of yes, over the questions that are answered by yes or no."""
    onset_within_1s: float | None

    def holds(self, other: Judged) -> bool:
        """Whether neither accuracy nor, of yes-or-no questions, precision or recall is below the other's."""
        pairs = (
            (self.accuracy, other.accuracy),
            (self.precision, other.precision),
            (self.recall, other.recall),
        )
        return all((own or 0.0) >= (others or 0.0) for own, others in pairs)

    def gains(self, other: Judged) -> bool:
        """Whether it points better and answers no worse: evidence reward and mean IoU both above the other's, and
        `holds`. An IoU that no row of either has is not asked for. The total reward has no say: it can rise by form
        alone."""
        pairs = list(zip(self.pointing, other.pointing, strict=True))
        if self.box_iou is None and other.box_iou is None:
            pairs.pop()
        return self.holds(other) and all(own > others for own, others in pairs)

    @property
    def pointing(self) -> tuple[float, float]:
        """Evidence reward and mean IoU, by which weights that gain are ranked; least where no row counts."""
        reward = -math.inf if self.evidence_reward is None else self.evidence_reward
        return reward, self.box_iou or 0.0


def judge(answers: Iterable[tuple[Claimed, Truth]], table: RewardTable) -> Judged:
    """Raises ValueError without any row."""
    pairs = list(answers)
    if not pairs:
        raise ValueError("no rows to judge")
    points = [table.points(claimed, truth) for claimed, truth in pairs]
    said = [claimed.yes is True for claimed, truth in pairs if truth.yes is not None]
    true = [truth.yes is True for _, truth in pairs if truth.yes is not None]
    hits = sum(s and t for s, t in zip(said, true, strict=True))
    found = [(c, t) for c, t in pairs if t.yes is not False and (t.yes is None or c.yes is True)]
    evidence = [
        sum(each.get(name, 0.0) for name in EVIDENCE)
        for each, (_, truth) in zip(points, pairs, strict=True)
        if truth.objects or truth.span
    ]
    return Judged(
        rows=len(pairs),
        reward=sum(sum(each.values()) for each in points) / len(pairs),
        evidence_reward=_mean(evidence),
        box_iou=_mean([box_score(c.objects, t.objects, c.unbound) for c, t in found]),
        accuracy=_mean([rewards.answer(claimed, truth) for claimed, truth in pairs]),
        precision=hits / sum(said) if any(said) else None,
        recall=hits / sum(true) if any(true) else None,
        onset_within_1s=_mean([_onset(c, t) for c, t in found]),
    )


def judge_folder(
    folder: Path, exercises: Iterable[Exercise], table: RewardTable, settings: Mapping[str, Any]
) -> Judged:
    """A model folder judged through the serving backend, one row at a time. settings: of `ReasonerConfig`."""
    from reasoner.backends.local import LocalBackend
    from reasoner.config import ReasonerConfig

    backend = LocalBackend.load(ReasonerConfig(model=str(folder), **settings))
    try:
        said = []
        for one in exercises:
            output = backend.answer(one.messages, one.pictures)
            said.append((reader(backend.coordinates, backend.fitted(*one.size))(output.text), one.truth))
    finally:
        backend.close()
    return judge(said, table)


@lru_cache(maxsize=64)
def reader(coordinates: Coordinates, picture_size: tuple[int, int]) -> Callable[[str], Claimed]:
    """`grade.read` for one kind of picture; each output is read once, however many terms ask for it.

    picture_size: width and height as the model sees it, px.
    """
    return lru_cache(maxsize=1024)(lambda output: read(output, coordinates, picture_size))


def _onset(claimed: Claimed, truth: Truth) -> float | None:
    if truth.span is None:
        return None
    return float(claimed.span is not None and abs(claimed.span[0] - truth.span[0]) <= GATE_S)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
