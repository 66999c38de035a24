"""What watching costs a GPU, by calculation: research figures in, a share of its time out."""

from __future__ import annotations

from detector.folder import Shape

RTX_4090_FP16_FLOPS = 165.2e12
"""Dense fp16 with fp32 accumulation, FLOP/s (NVIDIA Ada GPU architecture white paper, RTX 4090)."""
ACHIEVED = 0.70
"""Share of that peak that a ViT-B reaches with a compiled engine: timm measures 118 TFLOP/s of 165 for ViT-B/16."""


def tower_flops(shape: Shape) -> float:
    """Floating point operations of an image tower on one picture: twice its multiply-accumulates.

    With n cells, a width d and a depth L: each block 12 n d^2 (query, key, value, output, an MLP four times as wide)
    and 2 n^2 d (scores and their mixture). Of a SigLIP, before them the patches, 3 p^2 d n, and after them the head,
    once over all cells and once on each alone: (14 n + 10) d^2 + 4 n d. Of our own tower the convolutions of its stem
    (`detector.model.ImageTower`) and the projection n d dim.
    """
    columns, rows = shape.grid
    n, d = columns * rows, shape.width
    blocks = shape.depth * (12 * n * d**2 + 2 * n**2 * d)
    if shape.tokens == "grid":
        return 2.0 * (_stem(shape) + blocks + n * d * shape.dim)
    return 2.0 * (shape.channels * shape.patch**2 * d * n + blocks + (14 * n + 10) * d**2 + 4 * n * d)


def _stem(shape: Shape) -> float:
    """Multiply-accumulates: 3x3 convolutions that halve the sides, each followed by residual 3x3 and 1x1 ones."""
    (width, height), taken, total = shape.picture_size, shape.channels, 0
    for given, rounds in ((24, 0), (48, 1), (96, 2), (shape.width, 1)):
        width, height = width // 2, height // 2
        total += width * height * (9 * taken * given + rounds * 10 * given**2)
        taken = given
    return float(total)


def gpu_share(
    cameras: int,
    interval_s: float,
    flops: float,
    *,
    peak_flops: float = RTX_4090_FP16_FLOPS,
    achieved: float = ACHIEVED,
) -> float:
    """Share of a GPU's time, 0..1 and above, that scoring every key frame takes.

    `cameras / interval_s` pictures a second, `flops` each, on a GPU that does `achieved * peak_flops`. interval_s:
    between two key frames of one camera. Raises ValueError unless all are positive.
    """
    if min(cameras, interval_s, flops, peak_flops, achieved) <= 0:
        raise ValueError("cameras, interval, operations, peak and its share must be positive")
    return cameras / interval_s * flops / (achieved * peak_flops)
