"""Physical limits as pure functions: operations and bytes by formula, over the peaks that makers publish.

Peaks are dense, multiplications accumulated in fp32 (what cuBLAS and TensorRT do unless told otherwise): NVIDIA Ada GPU
architecture white paper (RTX 4090), NVIDIA H100 and H200 data sheets.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from bench.roofline import decode_bytes, listed, prefill_flops, vision_flops

Weights = Literal["bf16", "fp8"]
PARAMETER_BYTES: dict[str, float] = {"bf16": 2.0, "fp8": 1.0, "int4": 4.25 / 8}
"""int4: groups of 128 with a scale and a zero, 4.25 bits in all."""
TOKENS_PER_PAIR = 10
"""Timestamp and marks before each pair of frames."""
TOKENS_OF_PROMPT = 190
NVDEC_FPS = {"h264": (700.0, 1000.0), "hevc": (1300.0, 1700.0)}
"""1080p frames/s of one NVDEC of the Ada generation, from below to above, as recalled from NVIDIA's application note;
no published table was at hand, so that these are orientation and no limit."""


class Peaks(NamedTuple):
    """Of one device: operations/s by precision, and bytes/s of its memory."""

    name: str
    fp32: float
    fp16: float
    fp8: float
    int8: float
    bandwidth: float
    vram_gib: float
    watts: float

    def flops(self, precision: str) -> float:
        """Of `fp32`, `fp16`, `bf16`, `fp8` or `int8`. Raises ValueError for another."""
        if precision not in ("fp32", "fp16", "bf16", "fp8", "int8"):
            raise ValueError(f"{precision}: fp32, fp16, bf16, fp8 or int8")
        return float(getattr(self, "fp16" if precision == "bf16" else precision))


RTX_4090 = Peaks("RTX 4090", 82.6e12, 165.2e12, 330.3e12, 660.6e12, 1.008e12, 24.0, 450.0)
KNOWN = (
    RTX_4090,
    Peaks("H200", 66.9e12, 989.4e12, 1978.9e12, 1978.9e12, 4.8e12, 141.0, 700.0),
    Peaks("H100", 66.9e12, 989.4e12, 1978.9e12, 1978.9e12, 3.35e12, 80.0, 700.0),
)


def peaks_of(gpu: str) -> Peaks | None:
    """Of a card by the name that its driver gives, as `NVIDIA GeForce RTX 4090`; None for one not listed."""
    name = listed(gpu, (one.name for one in KNOWN))
    return next((one for one in KNOWN if one.name == name), None)


def vit_flops(
    side_px: int, patch_px: int, width: int, depth: int, mlp: int, summary: Literal["token", "pool"] = "token"
) -> float:
    """Floating point operations of a published ViT on one square picture: twice its multiply-accumulates.

    With n patches, t tokens (one more for a summary token) and a width d: patches 3 p^2 d n, each block
    4 d^2 t + 2 d mlp t + 2 t^2 d; a pooling head reads all patches once, 2 n d^2 + 2 n d, and its one token
    passes 2 d^2 + 2 d mlp.
    """
    n = (side_px // patch_px) ** 2
    t = n + (summary == "token")
    macs = 3 * patch_px**2 * width * n + depth * (4 * width**2 * t + 2 * width * mlp * t + 2 * t**2 * width)
    if summary == "pool":
        macs += 2 * n * width**2 + 2 * n * width + 2 * width**2 + 2 * width * mlp
    return 2.0 * macs


def images_per_s(flops: float, peak_flops: float) -> float:
    """Pictures that a device cannot exceed: `peak / operations of one`."""
    return peak_flops / flops


class Vision(NamedTuple):
    """As in a config.json."""

    depth: int
    hidden_size: int
    intermediate_size: int
    out_hidden_size: int
    deepstack_visual_indexes: tuple[int, ...]
    patch_size: int = 16
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2


class Text(NamedTuple):
    """As in a config.json."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151_936


class Sizes(NamedTuple):
    """What of a Qwen3-VL's configuration `bench.roofline` counts, without the library that it comes from."""

    text: Text
    vision_config: Vision

    def get_text_config(self) -> Text:
        return self.text


QWEN3_VL_8B = Sizes(Text(36, 4096, 12288, 32), Vision(27, 1152, 4304, 4096, (8, 16, 24)))
QWEN3_VL_2B = Sizes(Text(28, 2048, 6144, 16), Vision(24, 1024, 4096, 2048, (5, 11, 17)))
"""As in the released config.json files."""


def window_tokens(config: Any, width_px: int, height_px: int, frames: int) -> int:
    """Of the prompt of a window: a token per merged cell of each pair of frames, timestamps, and the question."""
    vision = config.vision_config
    pairs, cell = frames // vision.temporal_patch_size, vision.patch_size * vision.spatial_merge_size
    return int((width_px // cell) * (height_px // cell) * pairs + TOKENS_PER_PAIR * pairs + TOKENS_OF_PROMPT)


def window_flops(config: Any, width_px: int, height_px: int, frames: int) -> tuple[float, float]:
    """Of a window's vision tower, and of its prompt in the language model (`bench.roofline`)."""
    vision = config.vision_config
    pairs = frames // vision.temporal_patch_size
    patches = (width_px // vision.patch_size) * (height_px // vision.patch_size)
    tokens = window_tokens(config, width_px, height_px, frames)
    return pairs * vision_flops(config, patches), prefill_flops(config, tokens)


def prefill_s(flops: tuple[float, float], peaks: Peaks, weights: Weights = "bf16") -> float:
    """Seconds to a window's first token; with fp8 weights the vision tower stays in 16 bits."""
    vision, language = flops
    return vision / peaks.fp16 + language / peaks.flops(weights)


def step_s(config: Any, peaks: Peaks, tokens: int = 0, batch: int = 1, weights: str = "bf16") -> float:
    """Of one decoding step of `batch` windows: all weights and all their keys and values, in 16 bits, are read once."""
    held = decode_bytes(config, 0, 0, 1) * PARAMETER_BYTES[weights]
    keys = decode_bytes(config, batch, tokens, 2) - decode_bytes(config, 0, 0, 2)
    return (held + keys) / peaks.bandwidth


def windows_per_s(prefill: float, step: float, new_tokens: int, batch: int = 1) -> float:
    """Windows whose prompts are read one by one and whose answers are written `batch` together, each step `step` long.
    The first token comes with the prompt's pass: an answer of one token costs no step."""
    steps = new_tokens if new_tokens > 1 else 0
    return 1.0 / (prefill + steps * step / batch)


class Capacity(NamedTuple):
    """Cameras that each stage of a box carries."""

    ingest: float
    coarse: float
    reason: float
    fetch: float

    @property
    def cameras(self) -> float:
        return min(self)


def capacity(
    *,
    cores: float,
    cameras_per_core: float,
    images_s: float,
    interval_s: float,
    windows_s: float,
    windows_per_camera_hour: float,
    fetch_core_s: float,
) -> Capacity:
    """ingest: cores x cameras/core; coarse: images/s x interval; reason: windows/s x 3600 / (windows of a camera in an
    hour); fetch: cores x 3600 / (windows of a camera in an hour x core-seconds of one)."""
    return Capacity(
        ingest=cores * cameras_per_core,
        coarse=images_s * interval_s,
        reason=windows_s * 3600 / windows_per_camera_hour,
        fetch=cores * 3600 / (windows_per_camera_hour * fetch_core_s),
    )


def alert_floor_s(
    interval_s: float,
    read_s: float,
    write_s: float,
    *,
    camera_s: float = 0.2,
    score_s: float = 0.04,
    fetch_s: float = 0.18,
    prepare_s: float = 0.01,
    publish_s: float = 0.015,
) -> float:
    """Mean seconds from an event to its alert: half an interval until a frame is scored, then the sum of the stages.

    camera_s: of a camera and its network, not measured. fetch_s: 20 frames of a 768x432 sub-stream on a CPU.
    """
    return interval_s / 2 + camera_s + score_s + fetch_s + prepare_s + read_s + write_s + publish_s
