"""The vision tower over many pictures at once: what the stock class computes, without its loop over pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reasoner.train.attention import attend

PATCH, MERGE = 16, 2


def patches_of(pictures: Tensor) -> Tensor:
    """uint8 (N, 2, H, W, 3) → float32 (N, H/16 * W/16, 1536) in -1..1, in the order of Qwen3-VL's processor.

    Patches of one merged token lie together; inside a patch: channel, slot, row, column.
    """
    count, slots, height, width, channels = pictures.shape
    rows, columns = height // (PATCH * MERGE), width // (PATCH * MERGE)
    tiles = pictures.view(count, slots, rows, MERGE, PATCH, columns, MERGE, PATCH, channels)
    tiles = tiles.permute(0, 2, 5, 3, 6, 8, 1, 4, 7)
    flat = tiles.reshape(count, rows * columns * MERGE**2, channels * slots * PATCH**2)
    return flat.to(torch.float32).div_(127.5).sub_(1.0)


def encode(visual: Any, patches: Tensor, grid: tuple[int, int, int]) -> tuple[Tensor, list[Tensor]]:
    """Patches (N, P, 1536) of N pictures of one grid → merged features (N, P/4, width) and the deepstack features.

    Equal to `visual(patches, grid_thw)` of `Qwen3VLVisionModel`; attention is one batched call instead of N.
    """
    count, places, _ = patches.shape
    projection = visual.patch_embed.proj
    x = functional.linear(patches, projection.weight.flatten(1), projection.bias) + _positions(visual, grid)
    cos, sin = _rotation(visual, grid)
    if torch.is_autocast_enabled("cpu"):
        x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
    deep: list[Tensor] = []
    for index, block in enumerate(visual.blocks):
        x = x + _attend(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
        if index in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(index)]
            deep.append(merger(x.reshape(count * places, -1)).view(count, places // MERGE**2, -1))
    merged = visual.merger(x.reshape(count * places, -1)).view(count, places // MERGE**2, -1)
    return merged, deep


def _attend(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    count, places, width = x.shape
    q, k, v = attention.qkv(x).view(count, places, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
    out = attend(q, k, v, causal=False)
    return attention.proj(out.transpose(1, 2).reshape(count, places, width))  # type: ignore[no-any-return]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def _positions(visual: Any, grid: tuple[int, int, int]) -> Tensor:
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights

    indices, weights = get_vision_interpolation_indices_and_weights(
        torch.tensor([grid]),
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size,
        kwargs={},
    )
    return (visual.pos_embed(indices) * weights[:, :, None]).sum(1)  # type: ignore[no-any-return]


def _rotation(visual: Any, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    from transformers.vision_utils import get_vision_position_ids

    places = get_vision_position_ids(torch.tensor([grid]), visual.spatial_merge_size, kwargs={})
    cos, sin = visual.rotary_pos_emb(torch.zeros(1), places)
    return cos, sin
