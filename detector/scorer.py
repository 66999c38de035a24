"""The scorer: coarse frames of all cameras in, one calibrated number for each rule out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from detector.config import DetectorConfig
from detector.engines import Engine, load_engine
from detector.errors import RuleNotServed
from detector.folder import TOKENIZER, ScorerFolder, ScorerRecord, read_folder
from detector.memory import CameraMemory
from detector.novelty import Novelty
from detector.rule import Rule
from detector.similarity import pooled, probability
from detector.statement import Tokens, statement
from ingest.frame import CoarseFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


def unserved(rule: Rule, record: ScorerRecord) -> str | None:
    """None if a model serves the rule, else one line saying why not and the way out."""
    if rule.category in record.categories:
        return None
    known = ", ".join(sorted(record.categories))
    return (
        f"rule {rule.id!r}: the scorer {record.name!r} was not trained for {rule.category!r}; "
        f"use one of {known}, or train a scorer for it (`witness train scorer`)"
    )


class Scorer:
    """Holds the image tower, one text vector per rule, and what each camera has shown so far. Thread-safe."""

    def __init__(self, folder: ScorerFolder, engine: Engine, rules: Sequence[Rule], max_batch: int) -> None:
        """Takes over the engine. Raises RuleNotServed for a rule whose category the model does not know."""
        for rule in rules:
            if reason := unserved(rule, folder.record):
                raise RuleNotServed(reason)
        self._folder = folder
        self._engine = engine
        self._rules = tuple(rules)
        self._max_batch = min(max_batch, engine.max_batch)
        self._texts = self._embed([statement(rule.category, rule.watch) for rule in rules])
        self._memories: dict[str, CameraMemory] = {}
        self._novelties: dict[str, Novelty] = {}
        self._lock = threading.Lock()
        record = folder.record
        self.thresholds: NDArray[np.float32] = np.array(
            [
                record.categories[rule.category].threshold if rule.threshold is None else rule.threshold
                for rule in rules
            ],
            np.float32,
        )
        """float32 (rules,): the rule's own threshold, else the model's for its category."""

    @classmethod
    def load(cls, config: DetectorConfig, rules: Sequence[Rule]) -> Scorer:
        """Opens the model, starts the engine and runs the text tower once per rule.

        Raises ModelFolderError, EngineUnavailable, EngineMismatch or RuleNotServed, each with one line.
        """
        folder = read_folder(config.model)
        engine = load_engine(config.engine, folder, threads=config.threads)
        try:
            scorer = cls(folder, engine, rules, config.max_batch)
        except Exception:
            engine.close()
            raise
        log.info("%s", scorer.describe())
        return scorer

    def score(self, frames: Sequence[CoarseFrame]) -> NDArray[np.float32]:
        """float32 (frames, rules), calibrated 0..1; 0 where a rule does not apply to the frame's camera.

        Frames of one camera must come in order; they may be of several cameras. Each is remembered.
        """
        scores = np.zeros((len(frames), len(self._rules)), np.float32)
        if not frames or not self._rules:
            return scores
        with self._lock:
            pictures = np.stack([self._look(frame) for frame in frames])
            tokens = self._tokens(pictures)
            novelty = np.array(
                [
                    self._novelties.setdefault(frame.camera_id, Novelty()).update(picture)
                    for frame, picture in zip(frames, tokens, strict=True)
                ],
                np.float32,
            )
        record = self._folder.record
        logits = record.scale * pooled(tokens, self._texts, record.sharpness) + record.bias
        for column, rule in enumerate(self._rules):
            served = np.array([rule.applies_to(frame.camera_id) for frame in frames])
            scores[:, column] = probability(logits[:, column], novelty, record.categories[rule.category]) * served
        return scores

    def background_jpeg(self, camera_id: str, before_utc_ns: int | None = None) -> bytes:
        """What the camera usually showed before an instant, as JPEG; empty while that is not known."""
        with self._lock:
            memory = self._memories.get(camera_id)
            return memory.background.jpeg(before_utc_ns) if memory is not None else b""

    def describe(self) -> str:
        """One line for logs and `witness check`."""
        record = self._folder.record
        width, height = record.shape.picture_size
        return (
            f"scorer {record.name} on {self._engine.name}, {width}x{height} px, "
            f"categories {', '.join(sorted(record.categories))}, {len(self._rules)} rules"
        )

    def close(self) -> None:
        self._engine.close()

    def _look(self, frame: CoarseFrame) -> NDArray[np.uint8]:
        memory = self._memories.get(frame.camera_id)
        if memory is None:
            memory = self._memories[frame.camera_id] = CameraMemory(self._folder.record.shape.picture_size)
        return memory.look(frame.epoch, frame.stamp.utc_ns, frame.image())[..., : self._folder.record.shape.channels]

    def _tokens(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(pictures), self._max_batch)
        return np.concatenate([self._engine.image(pictures[start : start + self._max_batch]) for start in starts])

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        shape = self._folder.record.shape
        if not texts:
            return np.zeros((0, shape.dim), np.float32)
        return self._engine.text(Tokens(self._folder.file(TOKENIZER), shape.text_length).encode(texts))
