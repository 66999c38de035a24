"""The limits of the card that the product is meant for, as a table: formulas of `limits` with their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bench.edge.limits import (
    NVDEC_FPS,
    QWEN3_VL_8B,
    RTX_4090,
    Weights,
    alert_floor_s,
    capacity,
    images_per_s,
    prefill_s,
    step_s,
    vit_flops,
    window_flops,
    window_tokens,
    windows_per_s,
)

ACHIEVED = 0.70
"""Share of the peak that good kernels reach in practice."""
ANSWER_TOKENS = 60


class Reference(NamedTuple):
    """One limit in words."""

    what: str
    value: str
    formula: str


def rows() -> Iterator[Reference]:
    yield from _vit()
    yield from _reasoner()
    yield from _whole()


def _vit() -> Iterator[Reference]:
    towers = {
        "ViT-B/16, 224 px": vit_flops(224, 16, 768, 12, 3072),
        "SigLIP B/16, 256 px": vit_flops(256, 16, 768, 12, 3072, "pool"),
        "SigLIP so400m/16, 256 px": vit_flops(256, 16, 1152, 27, 4304, "pool"),
    }
    for name, flops in towers.items():
        half, eighth = (images_per_s(flops, RTX_4090.flops(kind)) for kind in ("fp16", "fp8"))
        yield Reference(
            f"{name}, fp16 / fp8",
            f"{half:,.0f} / {eighth:,.0f} images/s",
            f"165.2 / 330.3 TFLOP/s over {flops / 1e9:.1f} GFLOP",
        )


def _reasoner() -> Iterator[Reference]:
    for width, height in ((448, 256), (448, 448), (768, 448)):
        flops, tokens = window_flops(QWEN3_VL_8B, width, height, 20), window_tokens(QWEN3_VL_8B, width, height, 20)
        yield Reference(
            f"Qwen3-VL-8B, 20 frames of {width}x{height}, to the first token, bf16 / fp8",
            f"{1000 * prefill_s(flops, RTX_4090):.0f} / {1000 * prefill_s(flops, RTX_4090, 'fp8'):.0f} ms",
            f"{tokens:,} tokens; vision {flops[0] / 1e12:.1f} + prompt {flops[1] / 1e12:.1f} TFLOP; vision in 16 bits",
        )
    for kind in ("bf16", "fp8", "int4"):
        one, eight = (step_s(QWEN3_VL_8B, RTX_4090, 2250, batch, kind) for batch in (1, 8))
        yield Reference(
            f"Qwen3-VL-8B, a further token, {kind} weights, 1 / 8 windows together",
            f"{1 / one:,.0f} / {8 / eight:,.0f} tokens/s",
            "weights + 2,250 tokens of keys and values each, over 1.008 TB/s",
        )
    flops = window_flops(QWEN3_VL_8B, 448, 448, 20)
    both: tuple[Weights, ...] = ("bf16", "fp8")
    for weights in both:
        read, step = prefill_s(flops, RTX_4090, weights), step_s(QWEN3_VL_8B, RTX_4090, 2250, 8, weights)
        verdict, whole = windows_per_s(read, 0, 1), windows_per_s(read, step, ANSWER_TOKENS, 8)
        yield Reference(
            f"Qwen3-VL-8B, 448x448, {weights}: verdict alone / {ANSWER_TOKENS} tokens, 8 together",
            f"{verdict:.1f} / {whole:.1f} windows/s",
            f"1 / {1000 * read:.0f} ms; 1 / ({1000 * read:.0f} + {ANSWER_TOKENS} x {1000 * step / 8:.1f} ms)",
        )


def _whole() -> Iterator[Reference]:
    flops = window_flops(QWEN3_VL_8B, 448, 448, 20)
    read, step = prefill_s(flops, RTX_4090, "fp8"), step_s(QWEN3_VL_8B, RTX_4090, 2250, 8, "fp8")
    windows = ACHIEVED * windows_per_s(read, step, ANSWER_TOKENS, 8)
    images = ACHIEVED * images_per_s(vit_flops(224, 16, 768, 12, 3072), RTX_4090.fp16)
    for hourly in (12, 60):
        found = capacity(
            cores=8,
            cameras_per_core=108,
            images_s=images,
            interval_s=5.0,
            windows_s=windows,
            windows_per_camera_hour=hourly,
            fetch_core_s=0.8,
        )
        yield Reference(
            f"cameras at {hourly} windows each an hour, 8 cores, 8B in fp8 at {100 * ACHIEVED:.0f} % of its limit",
            f"{found.cameras:,.0f} cameras",
            f"least of ingest {found.ingest:,.0f}, scorer {found.coarse:,.0f}, reasoner {found.reason:,.0f}, "
            f"fetch {found.fetch:,.0f}",
        )
    write = ANSWER_TOKENS * step_s(QWEN3_VL_8B, RTX_4090, 2250, 1, "fp8")
    for interval_s in (5.0, 2.0):
        full = alert_floor_s(interval_s, read, write)
        yield Reference(
            f"event to alert in the mean, a scored frame per {interval_s:g} s, 8B in fp8",
            f"{full:.1f} s",
            f"{interval_s / 2:g} wait + 0.43 camera, score, fetch, prepare + {read:.2f} read + {write:.2f} write, 0.02",
        )
    for codec, (low, high) in NVDEC_FPS.items():
        yield Reference(
            f"NVDEC, one engine, 1080p25, {codec} (recalled, no published table at hand)",
            f"{low / 25:.0f} to {high / 25:.0f} streams",
            f"{low:,.0f} to {high:,.0f} frames/s over 25",
        )
    yield Reference(
        "memory and power", f"{RTX_4090.vram_gib:.0f} GB, {RTX_4090.watts:.0f} W", "of the card as published"
    )
