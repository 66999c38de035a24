"""What one worker keeps loaded: the two models, the rules they serve, and the settings of a site that names none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from alerts.origin import Origin
from detector.config import DetectorConfig, Precision
from detector.engines import Engine, load_engine
from detector.folder import ScorerFolder, read_folder
from detector.rule import Rule
from detector.scorer import Scorer, unserved
from ingest.config import IngestConfig
from ingest.frame import CoarseFrame
from reasoner.config import ReasonerConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasoner.reason import Reasoner


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which models, asked about what."""

    scorer: str
    reasoner: str
    rules: tuple[Rule, ...]
    precision: Precision = "auto"
    """Of the scorer."""


class Models:
    """One thread each: clips are the parallel axis."""

    def __init__(self, wanted: Wanted) -> None:
        from reasoner.reason import Reasoner

        self.detector = DetectorConfig(model=wanted.scorer, precision=wanted.precision, threads=1)
        self.ingest = IngestConfig()
        self.folder: ScorerFolder = read_folder(wanted.scorer)
        self._engine: Engine = load_engine(self.detector.engine, self.folder, threads=1, precision=wanted.precision)
        # In this process, which is a worker already: on a GPU each would start a second one otherwise.
        self.reasoner: Reasoner = Reasoner.load(ReasonerConfig(model=wanted.reasoner, threads=1, isolate=False))
        self.rules = served(wanted.rules, self.folder, self.reasoner)
        self.origin = Origin(review_below=self.reasoner.config.review_below)

    def scorer(self) -> RecordingScorer:
        """A fresh one: it has seen no camera yet."""
        return RecordingScorer(self.folder, self._engine, self.rules, self.detector.max_batch)

    @property
    def precision(self) -> str:
        """What the scorer's engine computes in, as `fp32`."""
        return self._engine.precision

    def strict(self) -> tuple[float, ...]:
        """Each rule's threshold for a scorer that stands by itself."""
        return tuple(self.folder.record.categories[rule.category].strict for rule in self.rules)


class RecordingScorer(Scorer):
    """A scorer that keeps what it said."""

    def __init__(self, folder: ScorerFolder, engine: Engine, rules: Sequence[Rule], max_batch: int) -> None:
        super().__init__(folder, engine, rules, max_batch)
        self.said: list[tuple[int, tuple[float, ...]]] = []
        """(UTC ns, score of each rule) of every frame."""

    def score(self, frames: Sequence[CoarseFrame]) -> NDArray[np.float32]:
        scores = super().score(frames)
        for frame, row in zip(frames, scores.tolist(), strict=True):
            self.said.append((frame.stamp.utc_ns, tuple(row)))
        return scores


def served(rules: Sequence[Rule], folder: ScorerFolder, reasoner: Reasoner) -> tuple[Rule, ...]:
    """The rules that both models can serve; an event of any other category will be missed, and counted so."""
    return tuple(rule for rule in rules if not unserved(rule, folder) and not reasoner.supports(rule))
