"""How well pictures match texts, and how sure that makes us: plain numpy, shared by serving and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.folder import CategoryRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pooled(
    tokens: NDArray[np.float32], texts: NDArray[np.float32], sharpness: float, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Cosine of pictures and texts, float32 (pictures, texts).

    tokens: float32 (pictures, T, dim), texts: float32 (texts, dim), all of unit length. The text is the query of an
    attention pool over the picture's tokens, `sum_t softmax_t(sharpness * s_t) * s_t`: a small event in one corner
    counts as much as one that fills the picture, and a tower that gives one vector (T = 1) gives its plain cosine.
    mask: bool (texts, T) or (pictures, texts, T), tokens that may count for each text (a rule's zones,
    `detector.zone`); at least one each.
    """
    similar = np.einsum("ntd,md->nmt", tokens, texts, optimize=True)
    if mask is not None:
        similar = np.where(mask, similar, np.float32(-1.0))
    weights = np.exp(sharpness * (similar - similar.max(axis=2, keepdims=True)))
    if mask is not None:
        weights = weights * mask
    return np.asarray((weights * similar).sum(axis=2) / weights.sum(axis=2), np.float32)


def probability(
    logit: NDArray[np.float32], novelty: NDArray[np.float32], category: CategoryRecord
) -> NDArray[np.float32]:
    """Calibrated score in 0..1 of float32 (pictures,) logits and novelties."""
    z = category.slope * logit + category.novelty * novelty + category.offset
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0))), np.float32)
