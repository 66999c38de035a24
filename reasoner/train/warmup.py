"""Stage `warmup`: the vision tower learns where things are, which of them act, and what is going on.

From the loss on text alone so small a model learns nothing useful; this dense stage is what makes the next one work.
"""

from __future__ import annotations

from reasoner.train.batches import Batches
from reasoner.train.config import SftConfig
from reasoner.train.dense import overlaps
from reasoner.train.learner import Learner
from reasoner.train.stage import Course, mean_of

VALIDATION_BATCH = 64


def warmup(learner: Learner, batches: Batches, config: SftConfig) -> Course:
    """The first stage as a course."""
    return Course(
        name="warmup",
        stage=config.warmup,
        losses=lambda step: learner.dense_loss(batches.pictures(step, config.warmup.batch)),
        validate=lambda: _validate(learner, batches, config.validation_rows),
    )


def _validate(learner: Learner, batches: Batches, rows: int) -> dict[str, float]:
    """Dense loss, mean IoU of the boxes of visible objects, and how well actors are told from the others."""
    chosen = batches.album.validation(rows)
    figures = []
    for start in range(0, len(chosen), VALIDATION_BATCH):
        batch = batches.middle_pictures(chosen[start : start + VALIDATION_BATCH])
        loss = learner.dense_loss(batch)["dense"]
        merged, deep = learner.look(batch.pictures)
        logits, boxes, _ = learner.seen(merged + sum(deep))
        there = batch.truth.object > 0
        overlap = overlaps(boxes[there], batch.truth.box[there])[0].mean()
        told = batch.truth.told > 0
        right = ((logits[..., 1][told] > 0) == (batch.truth.actor[told] > 0)).float().mean()
        figures.append({"loss": float(loss), "box": float(overlap), "actor": float(right)})
    if not figures:
        return {"score": 0.0}
    means = mean_of(figures)
    return {**means, "score": -means["loss"]}
