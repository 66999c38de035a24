"""Coordinates read at the middle of what the model believes, instead of at its single likeliest guess.

For a model whose coordinates are single tokens. The likeliest token is the mode of a broad, often lopsided one; the
median lies closer to the truth on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Median:
    """A logits processor for `generate`: where a coordinate is likeliest, the median of all coordinates is chosen."""

    def __init__(self, ids: Sequence[int]) -> None:
        """ids: tokens of the coordinates in ascending order of their value."""
        import torch

        self.ids = tuple(ids)
        self._ids = torch.tensor(ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """float (B, vocabulary) logits → the same, the chosen coordinate above everything else."""
        import torch

        ids = self._ids.to(scores.device)
        rows = torch.isin(scores.argmax(dim=-1), ids)
        if not bool(rows.any()):
            return scores
        share = scores[rows][:, ids].float().softmax(dim=-1).cumsum(dim=-1)
        middle = (share < 0.5).sum(dim=-1).clamp(max=len(ids) - 1)
        chosen = scores.clone()
        chosen[rows.nonzero(as_tuple=True)[0], ids[middle]] = chosen.max() + 1
        return chosen
