"""How much memory a model takes before it is loaded: weights, keys and values, vision features, activations.

Formulas follow the eager code of the transformers classes: at each phase, the tensors that are alive at its worst
moment, in bytes per patch or token. Sizes: d hidden, f MLP, h vision hidden; b bytes of the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TOKENS_PER_FRAME = 16
"""Of `Frame 12 at 5.5s: `, the vision marks and the line break."""
TOKENS_OF_TEXT = 384
"""Instruction, question and chat template."""
CONTEXT = 600 << 20
"""Of a CUDA context with its kernels and libraries; not in torch's own count."""
WORKSPACE = 40 << 20
"""cuBLAS keeps this much of torch's memory on a GPU."""
KEY_STEP = 256
"""Room for keys and values grows by this many positions."""
GRAPH_KEY_STEP = 512
"""As KEY_STEP, where steps are graphs: they attend to whole multiples of this."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What of a config.json decides about memory."""

    hidden: int
    mlp: int
    layers: int
    key_layers: int
    """Layers that keep keys and values of every token."""
    state_bytes: int
    """Of one window in the other layers, whatever its length."""
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    vision_hidden: int
    vision_mlp: int
    vision_gated: bool
    vision_head: int
    patch_px: int
    temporal: int
    merge: int
    deepstack: int
    """Vision layers whose features are handed on beside the last one's."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on the device at the worst moment; the parts add up."""

    weights: int
    kv_cache: int
    """Of the windows that are written together."""
    vision_features: int
    """Kept ones, and those of the window that is being read."""
    prefixes: int
    """Keys and values of earlier prompts."""
    activations: int
    """Of one window: its pixels, and the larger of the vision tower's and the language model's needs."""
    context: int
    """The driver's; not in torch.cuda.max_memory_allocated()."""

    @property
    def total(self) -> int:
        return self.tensors + self.context

    @property
    def tensors(self) -> int:
        """What torch.cuda.max_memory_allocated() would say."""
        return self.weights + self.kv_cache + self.vision_features + self.prefixes + self.activations


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Of a config.json of any served family; Qwen2.5-VL has its text fields at the top or nested."""
    text, vision = config.get("text_config") or config, config["vision_config"]
    layers, heads = int(text["num_hidden_layers"]), int(text["num_attention_heads"])
    kinds = _kinds(text, layers)
    return Shape(
        hidden=int(text["hidden_size"]),
        mlp=int(text["intermediate_size"]),
        layers=layers,
        key_layers=kinds.count("full_attention"),
        state_bytes=kinds.count("linear_attention") * _state(text),
        heads=heads,
        key_heads=int(text.get("num_key_value_heads") or heads),
        head=int(text.get("head_dim") or int(text["hidden_size"]) // heads),
        vocabulary=int(text["vocab_size"]),
        vision_hidden=int(vision["hidden_size"]),
        vision_mlp=int(vision["intermediate_size"]),
        vision_gated=str(vision.get("hidden_act", "")) == "silu",
        vision_head=int(vision["hidden_size"]) // int(vision["num_heads"]),
        patch_px=int(vision.get("patch_size", 14)),
        temporal=int(vision.get("temporal_patch_size", 2)),
        merge=int(vision.get("spatial_merge_size", 2)),
        deepstack=len(vision.get("deepstack_visual_indexes") or ()),
    )


def _kinds(text: Mapping[str, Any], layers: int) -> list[str]:
    given = text.get("layer_types")
    if given and "linear_attention" in given:
        return list(given)
    every = text.get("full_attention_interval") or (4 if "linear_num_value_heads" in text else 1)
    return ["full_attention" if (i + 1) % every == 0 else "linear_attention" for i in range(layers)]


def _state(text: Mapping[str, Any]) -> int:
    """A gated delta layer of Qwen3.5: a float32 matrix per value head, and the convolution's last inputs."""
    value_heads, key_heads = text.get("linear_num_value_heads", 0), text.get("linear_num_key_heads", 0)
    key, value = text.get("linear_key_head_dim", 0), text.get("linear_value_head_dim", 0)
    channels = 2 * key_heads * key + value_heads * value
    return int(4 * value_heads * key * value + 4 * channels * text.get("linear_conv_kernel_dim", 0))


def predict(
    config_json: Mapping[str, Any],
    weights_bytes: int,
    *,
    windows: int,
    frames: int,
    frame_pixels: int,
    new_tokens: int,
    dtype: str,
    prefill_tokens: int = 0,
    images_at_once: int = 0,
    features_bytes: int = 0,
    prefix_bytes: int = 0,
    key_step: int = KEY_STEP,
    gpu: bool = True,
) -> Memory:
    """Bytes at the worst moment.

    weights_bytes: of the weights as they lie on the device (`weights.loaded_bytes`). windows: written together; their
    prompts are read one by one. frames: images of a window, each of `frame_pixels` px as the model sees it.
    new_tokens: longest output. dtype: of everything that is not packed. prefill_tokens: most tokens of a prompt in one
    pass; 0: all. images_at_once: that go through the vision tower together, their pixels gone afterwards; 0: all, as
    transformers' `generate` does, which holds the pixels to the end. features_bytes, prefix_bytes: limits of the two
    caches, taken as full. key_step: positions are rounded up to a multiple of it. gpu: False leaves out what
    only a GPU needs.
    """
    shape = shape_of(config_json)
    b = BYTES[dtype]
    each = math.ceil(frame_pixels / shape.patch_px**2)
    patches = frames * each
    visual = math.ceil(patches / shape.merge**2)
    prompt = visual + frames * TOKENS_PER_FRAME + TOKENS_OF_TEXT
    positions = math.ceil((prompt + new_tokens) / key_step) * key_step
    kv_cache = windows * (positions * kv_bytes_per_token(shape, dtype) + shape.state_bytes)
    own = visual * (1 + shape.deepstack) * shape.hidden * b
    part = min(prefill_tokens or prompt, prompt)
    # Values of a patch as uint8 and float32 beside each other; the tower makes a narrow copy of its own.
    held = shape.temporal * 3 * shape.patch_px**2 * 5
    narrow = held // 5 * b if b < 4 else 0
    seen = min(images_at_once or frames, frames) * each
    vision = seen * (held + narrow + vision_bytes_per_patch(shape, b))
    if images_at_once and not gpu:
        # The prompt's own patches lie in the same memory.
        vision += patches * held // 5
    # The deepstack features once more, in the order of the tokens.
    reading = part * text_bytes_per_token(shape, b) + own * shape.deepstack // (1 + shape.deepstack) * part // prompt
    if not images_at_once:
        reading += patches * (held + shape.vision_hidden * b)
    if part < prompt:
        # A mask is given then, so that keys and values are repeated for the heads that share them.
        reading += part * prompt * (1 + b) + 2 * prompt * shape.heads * shape.head * b
    logits = windows * shape.vocabulary * 8
    return Memory(
        weights=weights_bytes,
        kv_cache=kv_cache,
        vision_features=max(own, features_bytes),
        prefixes=prefix_bytes,
        activations=max(vision, reading) + logits + (WORKSPACE if gpu else 0),
        context=CONTEXT if gpu else 0,
    )


def kv_bytes_per_token(shape: Shape, dtype: str) -> int:
    """2 x layers x key heads x head size x bytes: 144 KiB for the 8B in bfloat16."""
    return 2 * shape.key_layers * shape.key_heads * shape.head * BYTES[dtype]


def text_bytes_per_token(shape: Shape, b: int) -> int:
    """The MLP's moment: embedded input, its copy with deepstack features, two residuals and a norm (5 d), then gate, up
    and their product (3 f), and the rotary cosines and sines of the whole pass."""
    return b * (5 * shape.hidden + 3 * shape.mlp + 2 * shape.head)


def vision_bytes_per_patch(shape: Shape, b: int) -> int:
    """The larger of two moments, beside position embeddings (4 h), and cosines and sines, in float32.

    Rotary: residual, norm, q, k and v (5 h), then q and k in float32 with three temporaries of one and the finished
    other (6 h of 4 bytes; in float32 the first two are no copies). MLP: two residuals and a norm (3 h), and its inner
    layer before and after its function (2 f; 3 f with a gate).
    """
    rotary = shape.vision_hidden * (5 * b + (24 if b < 4 else 16))
    mlp = b * (3 * shape.vision_hidden + (3 if shape.vision_gated else 2) * shape.vision_mlp)
    return max(rotary, mlp) + 4 * shape.vision_hidden + 8 * shape.vision_head


def language_linears(shape: Shape) -> int:
    """Weights that FP8 and AWQ forms pack: attention and MLP of the language model; 6.946e9 for the 8B."""
    across = shape.head * (2 * shape.heads + 2 * shape.key_heads)
    return shape.layers * (shape.hidden * across + 3 * shape.hidden * shape.mlp)
