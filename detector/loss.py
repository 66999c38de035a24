"""What the scorer learns from: a sigmoid for each picture and statement, and for each token and statement."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pair_loss(logits: Tensor, token_logits: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Sigmoid loss of pictures (n, m) and tokens (n, m, t) against 1 holds, 0 does not, -1 not judged.

    Where a statement is not judged of the picture, none of its tokens is. Holding and not holding weigh the same,
    however rare one is.
    """
    token_truth = torch.where((truth == -1)[:, :, None], torch.full_like(where, -1), where)
    return _balanced(logits, truth) + _balanced(token_logits, token_truth)


def _balanced(logits: Tensor, truth: Tensor) -> Tensor:
    each = functional.binary_cross_entropy_with_logits(logits, (truth == 1).float(), reduction="none")
    holds, fails = (truth == 1).float(), (truth == 0).float()
    # Few pairs hold, and most of the others are easy: dividing by the geometric mean of the counts keeps both heard.
    positive = (each * holds).sum() / holds.sum().clamp(min=1)
    negative = (each * fails).sum() / (fails.sum() * holds.sum().clamp(min=1)).sqrt().clamp(min=1)
    return positive + negative
