"""What the detector's benchmark is held to, each target judged by the figures of the same run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from bench.detector.figures import ModelSpeed, Recall

RELEASED = "SigLIP 2 B-16-256, random weights"
"""The model whose share of the matrix product is wanted."""
TENSORRT = "tensorrt fp16"
EVERY = {"onnx fp32": 2.0, "onnx int8": 4.0}
"""Times torch eager, at every batch size."""
ALONE = 3.0
"""TensorRT, times torch eager on the same card, one picture at a time."""
PRODUCT_SHARE, PRODUCT_BATCH = 0.60, 32
"""TensorRT, of what a square matrix product in fp16 reaches on the same card in the same run."""
RECALL_LOSS = 0.01

Verdict = Literal["met", "missed", "not run"]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One target."""

    target: str
    model: str
    wanted: float
    found: float | None
    verdict: Verdict
    reason: str = ""
    """Why it was not run."""


def judged(models: Sequence[ModelSpeed], recall: Recall | None) -> Iterator[Judged]:
    """recall: None where it was not asked for."""
    for model in models:
        for engine, wanted in EVERY.items():
            ratios = [speed.ratio for speed in model.speeds if speed.engine == engine]
            target = f"{engine}: times torch eager, the least of all batch sizes"
            yield _judge(target, model.model, wanted, min(ratios, default=None), _why_not(model, engine))
        alone = [speed.ratio for speed in model.speeds if (speed.engine, speed.batch) == (TENSORRT, 1)]
        target = f"{TENSORRT}: times torch eager on the card, batch 1"
        yield _judge(target, model.model, ALONE, max(alone, default=None), _why_not(model, TENSORRT))
    yield _of_product(models)
    loss = None if recall is None else recall.loss
    yield _judge("recall lost by int8, at most", "bundled", RECALL_LOSS, loss, "--scenes 0", most=True)


def _of_product(models: Sequence[ModelSpeed]) -> Judged:
    target = f"{TENSORRT}: share of the matrix product, batch {PRODUCT_BATCH}"
    found, why_not = None, "--bundled-only leaves this model out"
    for model in models:
        if model.model == RELEASED:
            shares = [s.product_share for s in model.speeds if (s.engine, s.batch) == (TENSORRT, PRODUCT_BATCH)]
            found, why_not = max((one for one in shares if one is not None), default=None), _why_not(model, TENSORRT)
    return _judge(target, RELEASED, PRODUCT_SHARE, found, why_not)


def _why_not(model: ModelSpeed, engine: str) -> str:
    return model.not_run.get(engine, "no figure at this batch size")


def _judge(target: str, model: str, wanted: float, found: float | None, why_not: str, *, most: bool = False) -> Judged:
    """most: the target is an upper bound."""
    verdict: Verdict = "not run"
    if found is not None:
        verdict = "met" if (found <= wanted if most else found >= wanted) else "missed"
    reason = why_not if found is None else ""
    return Judged(target=target, model=model, wanted=wanted, found=found, verdict=verdict, reason=reason)
