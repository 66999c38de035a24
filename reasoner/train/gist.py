"""What is asked and what happens, read off the state that is about to decide. Used in training only.

The decision compares the two; asked for each by name, a small model finds them long before it would from the
decision's single bit.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class GistHead(nn.Module):
    """States (B, width) → logits of the asked category and of the kind of happening."""

    def __init__(self, width: int, categories: int, kinds: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.category = nn.Linear(width, categories)
        self.kind = nn.Linear(width, kinds)

    def loss(self, states: Tensor, categories: Tensor, kinds: Tensor) -> Tensor:
        """Cross entropy of both, (B,) int64 each."""
        seen = self.norm(states)
        return functional.cross_entropy(self.category(seen).float(), categories) + functional.cross_entropy(
            self.kind(seen).float(), kinds
        )
