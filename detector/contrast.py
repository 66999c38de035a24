"""Scores without a calibration set: a rule's text against neutral texts, and against what the camera usually shows.

A model trained on captions at large gives a logit per pair of picture and text, but its offset belongs to the batches
of its training (SigLIP: about one match in 32,000 pairs, arXiv 2303.15343), and much of what it says of a picture is
true of every text. Two steps make a probability of it:

1. The margin: the rule's logit less the log-sum-exp of the neutral texts' logits. Its logistic is the softmax of "the
   rule or one of the neutral texts"; the trained offset, and what is the same for all texts, cancel.
2. The offset of each rule on each camera: such that what a camera usually shows has the log-odds of the base rate. This
   is calibration in the large, the prior shift of Saerens, Latinne and Decaestecker (Neural Computation 2002), with the
   running mean of the margin in place of the mean probability, so that it is learnt without labels. A road does not
   stand at "a car on the road" all day, and a rule whose wording the model likes no more than the neutral texts can
   still open the gate when the picture changes.

Frames teach the offset less the more they look like the event, but never nothing: a camera that was turned to another
place becomes usual again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE_RATE = 0.01
"""Probability that a usual frame shows the event."""
PRIOR_FRAMES = 5
"""The offset starts as if so many frames had been seen that the neutral texts fit as well as the rule."""
MEMORY_FRAMES = 600
"""Ten to twenty minutes of key frames."""
LEAST_LESSON = 0.1
"""Of a frame that surely shows the event."""

NEUTRAL = (
    "a photo from a surveillance camera",
    "an empty place",
    "people walking by",
    "an ordinary day, nothing is happening",
)


def margins(logits: NDArray[np.float32], neutral: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (pictures, rules): logits less the log-sum-exp of float32 (pictures, neutral) logits."""
    highest = neutral.max(axis=1, keepdims=True)
    level = highest + np.log(np.exp(neutral - highest).sum(axis=1, keepdims=True))
    return np.asarray(logits - level, np.float32)


class Usual:
    """The running mean of the margins of one camera: what its pictures usually say of each rule."""

    def __init__(self, rules: int) -> None:
        self._mean = np.zeros(rules, np.float32)
        self._weight = float(PRIOR_FRAMES)

    def excess(self, margin: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (rules,) margins of the next picture, less what is usual; learns from it afterwards."""
        over = margin - self._mean
        likely = 1.0 / (1.0 + np.exp(-np.clip(over + log_odds(BASE_RATE), -40.0, 40.0)))
        self._weight = min(self._weight + 1.0, float(MEMORY_FRAMES))
        self._mean = self._mean + np.maximum(1.0 - likely, LEAST_LESSON).astype(np.float32) * over / self._weight
        return np.asarray(over, np.float32)


def log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))
