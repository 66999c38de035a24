"""What 8 bits cost in events that are found: both precisions of a folder on the same scenes, as live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from detector.errors import ExportError
from detector.folder import ScorerFolder
from detector.rounding import Kept

if TYPE_CHECKING:
    from detector.config import Precision
    from detector.measure import Measured, Show

FIRST_SEED = 13_000_000
"""Scenes that no training, calibration, report or quantisation uses."""
SCENES = 64
SCENE_S = 40.0
"""Some ninety events: one to two minutes on one core, for the bundled model."""


def uncounted(folder: ScorerFolder) -> str | None:
    """None where the recall of a folder can be counted on the synthetic scenes, else why not."""
    if folder.record.categories and not folder.record.architecture:
        return None
    if not folder.record.shape.has_text:
        return f"{folder.record.name} has no text tower, so that it finds no event by itself"
    return f"{folder.record.name} has no categories of its own, whose events the synthetic scenes would show it"


def with_recall(folder: ScorerFolder) -> ScorerFolder:
    """Adds to the record of a folder with an 8-bit graph (`detector.quantise.add_int8`) what it costs in recall.

    Raises ExportError where that cannot be counted.
    """
    from detector.export import seal

    known, reason = folder.record.int8, uncounted(folder)
    if known is None or reason:
        raise ExportError(f"{folder.path}: {reason or 'there is no 8-bit graph; add it first'}")
    exact, rounded = compare(folder, range(FIRST_SEED, FIRST_SEED + SCENES), SCENE_S)
    found = msgspec.structs.replace(
        known,
        scenes=SCENES,
        scene_s=SCENE_S,
        first_seed=FIRST_SEED,
        categories={
            name: Kept(events=each.events, fp32=each.found, int8=rounded.categories[name].found)
            for name, each in exact.categories.items()
        },
        false_fp32=round(exact.false_per_quiet_minute, 4),
        false_int8=round(rounded.false_per_quiet_minute, 4),
    )
    return seal(folder.path, msgspec.structs.replace(folder.record, int8=found))


def compare(
    folder: ScorerFolder, seeds: Sequence[int], scene_s: float, show: Show | None = None
) -> tuple[Measured, Measured]:
    """fp32 and int8 on ONNX Runtime's CPU, one rule for each category, with the folder's own thresholds.

    show: gives the frames, for callers that keep them; None: they are rendered for each.
    """
    return _measured(folder, "fp32", seeds, scene_s, show), _measured(folder, "int8", seeds, scene_s, show)


def _measured(
    folder: ScorerFolder, precision: Precision, seeds: Sequence[int], scene_s: float, show: Show | None
) -> Measured:
    from detector.captions import watch
    from detector.config import DetectorConfig, GateConfig
    from detector.engines.ort import OnnxEngine
    from detector.measure import measure
    from detector.rule import Rule
    from detector.scorer import Scorer

    rules = [
        msgspec.convert({"id": name, "category": name, "watch": watch(name), "question": "?"}, Rule)
        for name in sorted(folder.record.categories)
    ]
    # Not `engine = "onnx"`: it takes CUDA where there is one, and fp32 on a GPU beside int8 on a CPU is no comparison.
    engine = OnnxEngine(folder, device="cpu", precision=precision)
    try:
        scorer = Scorer(folder, engine, rules, DetectorConfig().max_batch)
        return measure(scorer, rules, GateConfig(), seeds, scene_s, show=show)
    finally:
        engine.close()
