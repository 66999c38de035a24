"""What a pass over a Qwen-VL costs, and what the device can do at most, published and as measured here.

Formulas: two operations per weight and token, attention beside, as counted for transformers in general; the vision
tower's attention stays inside a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

PEAKS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "RTX 4090": (165.2e12, 1.008e12),
    "A100": (312e12, 2.039e12),
}
"""Dense bfloat16 FLOP/s and bytes/s from the makers' data sheets (SXM forms, the A100 with 80 GB; 4090 with float32
sums)."""
OTHER_FORMS = ("4090 D", "4090 Laptop", "PCIE", "NVL", "GH200", "40GB", "MIG")
"""In the names of cards that share a name with one above and are slower."""


class Ceiling(NamedTuple):
    """Of one device."""

    flops: float
    """FLOP/s of a large matrix product, measured in this run."""
    bytes_per_s: float
    """Of a large copy, reads and writes counted, measured in this run."""
    peak_flops: float | None
    peak_bytes_per_s: float | None
    """As published; none for a device that is not in the table, as a CPU."""


def vision_flops(config: Any, patches: int) -> float:
    """One picture of so many patches through the tower and its mergers."""
    v = config.vision_config
    h, f, merged = v.hidden_size, v.intermediate_size, v.hidden_size * v.spatial_merge_size**2
    gates = 3 if hasattr(v, "fullatt_block_indexes") else 2
    block = v.depth * (4 * h * h + gates * h * f)
    attention = v.depth * 4 * patches * h
    embed = 3 * v.temporal_patch_size * v.patch_size**2 * h
    mergers = 1 + len(getattr(v, "deepstack_visual_indexes", None) or ())
    merge = mergers * (merged * merged + merged * v.out_hidden_size)
    return float(patches * (2 * block + attention + 2 * embed) + patches / v.spatial_merge_size**2 * 2 * merge)


def text_parameters(config: Any) -> int:
    """Weights of the layers that every token goes through."""
    t = config.get_text_config()
    head = getattr(t, "head_dim", None) or t.hidden_size // t.num_attention_heads
    attention = 2 * t.hidden_size * head * (t.num_attention_heads + t.num_key_value_heads)
    return int(t.num_hidden_layers * (attention + 3 * t.hidden_size * t.intermediate_size))


def prefill_flops(config: Any, tokens: int) -> float:
    """A prompt of so many tokens through the text layers, attention to what came before, and the head once."""
    t = config.get_text_config()
    head = getattr(t, "head_dim", None) or t.hidden_size // t.num_attention_heads
    attention = t.num_hidden_layers * 2 * tokens**2 * t.num_attention_heads * head
    return float(2 * tokens * text_parameters(config) + attention + 2 * t.hidden_size * t.vocab_size)


def decode_bytes(config: Any, rows: int, tokens: int, size: int) -> float:
    """What one pass of `rows` windows, each `tokens` long, must read. size: bytes of a number."""
    t = config.get_text_config()
    head = getattr(t, "head_dim", None) or t.hidden_size // t.num_attention_heads
    keys = 2 * t.num_hidden_layers * t.num_key_value_heads * head
    return float(size * (text_parameters(config) + t.hidden_size * t.vocab_size + rows * tokens * keys))


def ceiling(device: str, dtype: Any) -> Ceiling:
    """Measured by a square product and a copy, the best of a few."""
    import torch

    gpu = device != "cpu"
    side, numbers = (8192, 1 << 29) if gpu else (1024, 1 << 24)
    a = torch.randn(side, side, device=device, dtype=dtype)
    product_s = min(timed(lambda: a @ a, device) for _ in range(6))
    source = torch.empty(numbers, device=device, dtype=dtype)
    target = torch.empty_like(source)
    copy_s = min(timed(lambda: target.copy_(source), device) for _ in range(6))
    name = torch.cuda.get_device_name(device) if gpu else ""
    return Ceiling(2 * side**3 / product_s, 2 * source.nbytes / copy_s, *(published(name) or (None, None)))


def listed(gpu: str, names: Iterable[str]) -> str | None:
    """Which of the names a card goes by, as its driver names it; None for another card and another form of one."""
    if any(other.lower() in gpu.lower() for other in OTHER_FORMS):
        return None
    return next((name for name in names if name in gpu), None)


def published(gpu: str) -> tuple[float, float] | None:
    """Of PEAKS, by the name that the driver gives the card, as `NVIDIA GeForce RTX 4090`."""
    name = listed(gpu, PEAKS)
    return None if name is None else PEAKS[name]


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds: on a wall until this GPU has nothing left to do, of CPU time on a CPU, where others may be at work."""
    import torch

    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start
