"""The tower's first layer as one matrix product.

Its convolution has a stride of its own size, so it is a product of each patch with the same weights; libraries run the
convolution several times slower. Equal up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import torch


class PatchProduct(torch.nn.Module):
    """Stands in for a Qwen-VL `patch_embed` and keeps its parameters under their names."""

    def __init__(self, embed: Any) -> None:
        super().__init__()
        self.proj = embed.proj

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(patches, channels * temporal * patch * patch) → (patches, hidden)."""
        weight = self.proj.weight
        return torch.nn.functional.linear(hidden_states.to(weight.dtype), weight.flatten(1), self.proj.bias)
