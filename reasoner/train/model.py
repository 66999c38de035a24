"""The tiny Qwen3-VL: its configuration and the initial weights that let it learn within minutes.

Sizes and initialisation follow what was measured to help at this scale: standard deviation 1/sqrt(fan in),
residual outputs divided by sqrt(2 * layers), a patch embedding that whitens the training pictures, and smooth
embeddings for numbers and times, so that neighbours start out alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reasoner.train.config import ModelSize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GRID_SIDE = 10
"""Side of the square grid of learned patch positions; interpolated to the picture's own grid."""
SMOOTH_FREQUENCIES = 16
NAMED = ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")


def model_config(size: ModelSize, tokenizer: PreTrainedTokenizerFast) -> Any:
    """`Qwen3VLConfig` with the tokenizer's ids."""
    from transformers import Qwen3VLConfig

    ids: dict[str, Any] = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in NAMED}
    return Qwen3VLConfig(
        architectures=["Qwen3VLForConditionalGeneration"],
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": size.mlp_width,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads,
            "head_dim": size.width // size.heads,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1000.0,
                "mrope_section": [12, 10, 10],
                "mrope_interleaved": True,
            },
            "bos_token_id": ids["endoftext"],
            "eos_token_id": ids["im_end"],
            "pad_token_id": ids["endoftext"],
        },
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_mlp_width,
            "num_heads": size.vision_heads,
            "in_channels": 3,
            "patch_size": 16,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": size.width,
            "num_position_embeddings": GRID_SIDE**2,
            "deepstack_visual_indexes": list(size.deepstack),
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
    )


def new_model(size: ModelSize, tokenizer: PreTrainedTokenizerFast, seed: int) -> Any:
    """A fresh `Qwen3VLForConditionalGeneration` in float32, the same weights for the same seed."""
    from transformers import Qwen3VLForConditionalGeneration

    torch.manual_seed(seed)
    stock: Any = Qwen3VLForConditionalGeneration
    model = stock._from_config(model_config(size, tokenizer), dtype=torch.float32, attn_implementation="sdpa")
    layers = {"visual": size.vision_depth, "language_model": size.layers}
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                depth = next((count for part, count in layers.items() if f".{part}." in name), 1)
                scale = 1 / math.sqrt(module.in_features)
                if name.endswith(("attn.proj", "mlp.linear_fc2", "o_proj", "down_proj")):
                    scale /= math.sqrt(2 * depth)
                nn.init.normal_(module.weight, std=scale)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(model.model.language_model.embed_tokens.weight, std=1 / math.sqrt(size.width))
        _smooth_positions(model.model.visual.pos_embed.weight)
        _smooth_numbers(model.model.language_model.embed_tokens.weight, tokenizer)
    model.tie_weights()
    return model


def _smooth(places: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Places (N, D) in 0..1 → (N, width) of unit variance; distance falls off smoothly with the difference."""
    frequencies = torch.randn(places.shape[1], width // 2, generator=generator) * SMOOTH_FREQUENCIES
    phase = places @ frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1) * math.sqrt(2)


def _smooth_positions(table: Tensor) -> None:
    generator = torch.Generator().manual_seed(7)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, GRID_SIDE), torch.linspace(0, 1, GRID_SIDE), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1) * 0.4
    table.copy_(_smooth(places, table.shape[1], generator) * 0.5)


def _smooth_numbers(table: Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    from reasoner.train.tokens import COORDINATES, TIMES

    for seed, words, span in ((11, COORDINATES, 1000.0), (13, TIMES, 20.0)):
        generator = torch.Generator().manual_seed(seed)
        places = torch.tensor([[float(word) / span] for word in words])
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(words)))
        kind = torch.randn(1, table.shape[1], generator=generator) * 0.5
        table[ids] = (_smooth(places, table.shape[1], generator) + kind) / math.sqrt(table.shape[1])


def whiten(model: Any, patches: Tensor) -> None:
    """Sets the patch embedding to the leading whitened principal components of `patches` (N, 1536) in -1..1."""
    projection = model.model.visual.patch_embed.proj
    count = projection.weight.shape[0]
    with torch.no_grad():
        mean = patches.mean(0)
        # The randomised decomposition is exact where it matters: in the leading components.
        _, scales, vectors = torch.pca_lowrank(patches - mean, q=count, center=False, niter=4)
        spread = scales**2 / len(patches)
        # The floor keeps the faintest components, which are mostly noise, from being blown up.
        weight = vectors.T / torch.sqrt(spread + 1e-2 * spread.mean()).unsqueeze(1)
        projection.weight.copy_(weight.view_as(projection.weight))
        projection.bias.copy_(-(weight @ mean))


def parameters(model: Any) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def numbers_of(tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> Tensor:
    """Token ids (len(words),) of words that are single tokens."""
    return torch.tensor(tokenizer.convert_tokens_to_ids(list(words)))
