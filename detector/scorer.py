"""The scorer: coarse frames of all cameras in, one calibrated number for each rule out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from detector.config import DetectorConfig
from detector.contrast import Usual, margins
from detector.engines import Engine, PassedOver, follow_engine, load_engine
from detector.engines.lasting import Follow, LastingEngine
from detector.errors import RuleNotServed
from detector.folder import TOKENIZER, CategoryRecord, ScorerFolder, ScorerRecord, read_folder
from detector.memory import CameraMemory
from detector.novelty import Novelty
from detector.rule import Rule
from detector.similarity import pooled, probability
from detector.statement import Tokens, statement
from detector.zone import ZoneMasks, Zones
from ingest.frame import CoarseFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


def unserved(rule: Rule, folder: ScorerFolder) -> str | None:
    """None if a model serves the rule, else one line saying why not and the way out."""
    record = folder.record
    if not record.shape.has_text:
        return (
            f"rule {rule.id!r}: the scorer {record.name!r} in {folder.path} has no text tower: nothing compares its "
            'pictures with what the rule watches for; set detector.model to "bundled", or to the folder that '
            "`witness models export` writes of a SigLIP 2 checkpoint"
        )
    if record.calibration(rule.category) is not None:
        return None
    known = ", ".join(sorted(record.categories))
    return (
        f"rule {rule.id!r}: the scorer {record.name!r} was not trained for {rule.category!r}; "
        f"use one of {known}, or train a scorer for it (`witness train scorer`)"
    )


def sees(record: ScorerRecord) -> str:
    """For people: the categories of a model, or that any is served, or none."""
    if not record.shape.has_text:
        return "pictures only, no rule"
    return "any category" if record.default else f"categories {', '.join(sorted(record.categories))}"


def _calibration(rule: Rule, folder: ScorerFolder) -> CategoryRecord:
    known = folder.record.calibration(rule.category)
    if known is None:
        raise RuleNotServed(unserved(rule, folder))
    return known


class Scorer:
    """Holds the image tower, one text vector per rule, and what each camera has shown so far. Thread-safe."""

    def __init__(
        self,
        folder: ScorerFolder,
        engine: Engine,
        rules: Sequence[Rule],
        max_batch: int,
        zones: Mapping[str, Zones] | None = None,
        follow: Follow | None = None,
    ) -> None:
        """Takes over the engine. zones: camera id to its polygons, for rules that name some. follow: what starts the
        next engine when this one is lost; None: nothing does.

        Raises RuleNotServed for a rule whose category the model does not know.
        """
        record = folder.record
        self._calibrations = tuple(_calibration(rule, folder) for rule in rules)
        self._folder = folder
        self._engine = LastingEngine(engine, follow)
        self._rules = tuple(rules)
        self._max_batch = max_batch
        self._texts = self._embed([statement(rule.category, rule.watch, record.prompt) for rule in rules])
        self._neutral = self._embed(record.neutral)
        self._masks = ZoneMasks(record.shape, self._rules, zones or {})
        self._memories: dict[str, CameraMemory] = {}
        self._novelties: dict[str, Novelty] = {}
        self._usual: dict[str, Usual] = {}
        self._lock = threading.Lock()
        self.thresholds: NDArray[np.float32] = np.array(
            [
                known.threshold if rule.threshold is None else rule.threshold
                for rule, known in zip(rules, self._calibrations, strict=True)
            ],
            np.float32,
        )
        """float32 (rules,): the rule's own threshold, else the model's for its category."""
        self.sure_from: tuple[float, ...] = tuple(known.strict for known in self._calibrations)
        """Of each rule, the score from which the scorer would be believed without a reasoner behind it."""

    @classmethod
    def load(cls, config: DetectorConfig, rules: Sequence[Rule], zones: Mapping[str, Zones] | None = None) -> Scorer:
        """Opens the model, starts the engine and runs the text tower once per rule. zones: camera id to its polygons.

        Raises ModelFolderError, EngineUnavailable, EngineMismatch, ExportError or RuleNotServed, each with one line.
        """
        folder = read_folder(config.model)
        engine = load_engine(
            config.engine, folder, threads=config.threads, precision=config.precision, engines=config.engines
        )
        follow = partial(
            follow_engine, folder=folder, threads=config.threads, precision=config.precision, engines=config.engines
        )
        try:
            scorer = cls(folder, engine, rules, config.max_batch, zones, follow if config.engine == "auto" else None)
        except Exception:
            engine.close()
            raise
        log.info("%s", scorer.describe())
        return scorer

    def score(self, frames: Sequence[CoarseFrame]) -> NDArray[np.float32]:
        """float32 (frames, rules), calibrated 0..1; 0 where a rule does not apply to the frame's camera.

        Frames of one camera must come in order; they may be of several cameras. Each is remembered.

        Raises EngineUnavailable when the engine fails and nothing takes its place, or not yet (`LastingEngine`).
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
        logits = self._logits([frame.camera_id for frame in frames], tokens)
        for column, (rule, known) in enumerate(zip(self._rules, self._calibrations, strict=True)):
            served = np.array([rule.applies_to(frame.camera_id) for frame in frames])
            scores[:, column] = probability(logits[:, column], novelty, known) * served
        return scores

    def background_jpeg(self, camera_id: str, before_utc_ns: int | None = None) -> bytes:
        """What the camera usually showed before an instant, as JPEG; empty while that is not known."""
        with self._lock:
            memory = self._memories.get(camera_id)
            return memory.background.jpeg(before_utc_ns) if memory is not None else b""

    @property
    def engine(self) -> str:
        """Name of the engine in use, as `onnx (CPU)`."""
        return self._engine.name

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """What `auto` tried before it, and what it lost since."""
        return self._engine.passed_over

    @property
    def trouble(self) -> str:
        """One line while the engine fails and nothing takes its place: no picture is scored. Empty else."""
        return self._engine.trouble

    @property
    def left(self) -> tuple[str, ...]:
        """Of each engine that was given up in this run, one line with the reason."""
        return self._engine.left

    @property
    def provenance(self) -> tuple[str, str, str]:
        """Name of the model, SHA-256 of the file that runs, and its precision."""
        return self._folder.record.name, self._engine.sha256, self._engine.precision

    def describe(self) -> str:
        """One line for logs and `witness check`."""
        record = self._folder.record
        width, height = record.shape.picture_size
        passed_over = f"; passed over: {', '.join(map(str, self.passed_over))}" if self.passed_over else ""
        return (
            f"scorer {record.name} on {self._engine.name}, {width}x{height} px, "
            f"{sees(record)}, {len(self._rules)} rules{passed_over}"
        )

    def close(self) -> None:
        self._engine.close()

    def _look(self, frame: CoarseFrame) -> NDArray[np.uint8]:
        memory = self._memories.get(frame.camera_id)
        if memory is None:
            memory = self._memories[frame.camera_id] = CameraMemory(self._folder.record.shape.picture_size)
        return memory.look(frame.epoch, frame.stamp.utc_ns, frame.image())[..., : self._folder.record.shape.channels]

    def _logits(self, cameras: Sequence[str], tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (pictures, rules), where the rule's zones are."""
        record, masks = self._folder.record, self._masks.of(cameras)
        logits = record.scale * pooled(tokens, self._texts, record.sharpness, masks) + record.bias
        if not len(self._neutral):
            return np.asarray(logits, np.float32)
        # The neutral texts are asked of the same tokens as the rule: each rule has its own level.
        for column in range(len(self._rules)):
            mask = None if masks is None else np.repeat(masks[:, column : column + 1], len(self._neutral), axis=1)
            neutral = record.scale * pooled(tokens, self._neutral, record.sharpness, mask) + record.bias
            logits[:, column] = margins(logits[:, column : column + 1], neutral)[:, 0]
        with self._lock:
            return np.stack(
                [
                    self._usual.setdefault(camera, Usual(len(self._rules))).excess(row)
                    for camera, row in zip(cameras, logits, strict=True)
                ]
            )

    def _tokens(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = min(self._max_batch, self._engine.max_batch)
        starts = range(0, len(pictures), batch)
        return np.concatenate([self._engine.image(pictures[start : start + batch]) for start in starts])

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        shape = self._folder.record.shape
        if not texts:
            return np.zeros((0, shape.dim), np.float32)
        return self._engine.text(Tokens(self._folder.file(TOKENIZER), shape.text_length).encode(texts))
