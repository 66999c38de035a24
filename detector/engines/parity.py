"""How far an engine may be from the fp32 graph on the CPU, in one place, and the check at each start.

Two measures, both over a few pictures. The distance of two token vectors of unit length: by the Cauchy-Schwarz
inequality the cosine of a token with any text changes by no more, whatever the rules say. That is not yet a score: the
pool weighs the cosines anew, and scale and slope stretch them. So the scores of a few fixed texts are compared as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from detector.contrast import margins
from detector.errors import EngineMismatch, EngineUnavailable
from detector.folder import TOKENIZER, CategoryRecord, ScorerFolder, ScorerRecord, Shape
from detector.precision import GraphPrecision
from detector.similarity import pooled, probability
from detector.statement import Tokens, statement
from detector.zone import token_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import Engine

log = logging.getLogger(__name__)

TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-4, "fp16": 4e-3, "fp8": 0.1, "int8": 0.3}
"""Largest distance allowed. The 8-bit ones are wide because the probe is not one of the pictures that the ranges were
calibrated on; what they cost in recall is measured on scenes, not here."""
SCORE_TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-3, "fp16": 1e-2, "fp8": 0.05, "int8": 0.25}
"""Largest change allowed of a score, 0..1. The bundled model's graphs on ONNX Runtime's CPU, on twelve such pictures
and eight of synthetic scenes: 4e-7, 4e-4, 0.026 and 0.14 (fp8 and int8 calibrated on scenes, or on blotches)."""
GRAIN_PX = 16
SEEDS = (20, 21, 22)
"""Of the pictures."""
WATCHED = ("somebody lies on the floor", "people push and hit each other", "a bag stands alone", "flames or smoke")
"""What the rules of the check watch for, in each category of the model."""


def probe(shape: Shape, seed: int = SEEDS[0]) -> NDArray[np.uint8]:
    """A deterministic picture uint8 (1, H, W, channels): soft blotches, and planes of change mostly still."""
    import cv2

    width, height = shape.picture_size
    rng = np.random.default_rng(seed)
    size = (max(height // GRAIN_PX, 1), max(width // GRAIN_PX, 1))
    planes = [rng.integers(0, 256, size).astype(np.float32) for _ in range(min(shape.channels, 3))]
    planes += [
        rng.integers(0, 256, size).astype(np.float32) * (rng.random(size) < 0.1) for _ in range(shape.channels - 3)
    ]
    large = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in planes]
    return np.asarray(np.stack(large, axis=-1)[None], np.uint8)


def distance(tokens: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Largest distance of two token vectors; infinite when there is no number."""
    worst = float(np.linalg.norm(tokens.astype(np.float64) - reference, axis=-1).max())
    return worst if np.isfinite(worst) else float("inf")


def score_change(record: ScorerRecord, logits: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Largest change of a score between logits float32 (pictures, rules) of the check's rules; infinite where one is no
    number. Scores without a calibration set count from what is usual (`detector.contrast`): the reference is."""
    usual = 0.0 if record.categories else reference
    worst = 0.0
    for column, known in enumerate(_calibrations(record)):
        one, other = (
            probability((side - usual)[:, column], np.zeros(len(side), np.float32), known)
            for side in (logits, reference)
        )
        worst = max(worst, float(np.nan_to_num(np.abs(one - other), nan=np.inf).max()))
    return worst


def check(engine: Engine, folder: ScorerFolder, precision: GraphPrecision) -> None:
    """Runs the pictures and texts here and on the CPU. Raises EngineMismatch when tokens or scores are further apart
    than their tolerance."""
    shape, record = folder.record.shape, folder.record
    pictures = [probe(shape, seed) for seed in SEEDS]
    cpu = _reference(folder)
    try:
        tokens, wanted = (np.concatenate([one.image(picture) for picture in pictures]) for one in (engine, cpu))
        found = [("tokens", distance(tokens, wanted), TOLERANCE[precision])]
        if shape.has_text:
            ids = rule_ids(folder)
            logits = [rule_logits(folder, seen, one.text(ids)) for one, seen in ((engine, tokens), (cpu, wanted))]
            found.append(("scores", score_change(record, *logits), SCORE_TOLERANCE[precision]))
    finally:
        cpu.close()
    for what, apart, allowed in found:
        if apart > allowed:
            raise EngineMismatch(
                f"{engine.name} is {apart:.1e} from the CPU's {what}, more than the {allowed:g} of {precision}; "
                "compile it again, or set detector.precision to a wider one or detector.engine to another"
            )
    said = ", ".join(f"{apart:.1e} from the CPU's {what} (at most {allowed:g})" for what, apart, allowed in found)
    log.info("%s, %s: %s", engine.name, precision, said)


def _calibrations(record: ScorerRecord) -> list[CategoryRecord]:
    """How the score of each rule of the check comes about."""
    known = [record.categories[name] for name in sorted(record.categories)]
    if not known and record.default is not None:
        known = [record.default]
    return [each for each in known for _ in WATCHED]


def rule_ids(folder: ScorerFolder) -> NDArray[np.int64]:
    """int64 (texts, text_length), of the rules and then of the neutral texts."""
    record = folder.record
    categories = sorted(record.categories) or [""]
    texts = [statement(category, watched, record.prompt) for category in categories for watched in WATCHED]
    return Tokens(folder.file(TOKENIZER), record.shape.text_length).encode([*texts, *record.neutral])


def rule_logits(folder: ScorerFolder, tokens: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (pictures, rules), as `detector.scorer` has them for rules without zones."""
    record = folder.record
    mask = np.repeat(token_mask(record.shape, None)[None], len(texts), axis=0)
    logits = record.scale * pooled(tokens, texts, record.sharpness, mask) + record.bias
    rules = len(texts) - len(record.neutral)
    return margins(logits[:, :rules], logits[:, rules:]) if record.neutral else logits


def _reference(folder: ScorerFolder) -> Engine:
    """fp32 on the CPU: ONNX Runtime, or torch where that is not installed."""
    from detector.engines.eager import TorchEngine
    from detector.engines.ort import OnnxEngine

    try:
        return OnnxEngine(folder, device="cpu", precision="fp32")
    except EngineUnavailable:
        return TorchEngine(folder, device="cpu")
