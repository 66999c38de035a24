"""Whether a model fits a device with these settings, and what to change where it does not; nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from reasoner.checkpoint import dtype_of, widening
from reasoner.config import ReasonerConfig
from reasoner.device import Device
from reasoner.fit import BYTES, GRAPH_KEY_STEP, KEY_STEP, Memory, language_linears, predict, shape_of
from reasoner.folder import ModelFolder
from reasoner.quantised import FP8, quantisation
from reasoner.weights import loaded_bytes, tensors

GIB = 1 << 30
LEAST_FRAMES = 8
LEAST_PIXELS = 50_176
"""224 x 224; with fewer pixels little is seen."""
AWQ_BYTES = 0.5 + 2.5 / 128
"""Of a weight in groups of 128, each with a 16-bit scale and a 4-bit zero."""


class Forecast(NamedTuple):
    """What a model will need, and the way out where that is too much."""

    memory: Memory
    fits: bool
    """Into all of the device's memory."""
    crowded: bool
    """It would fit, were other programs not there."""
    text: str
    """One line."""


def forecast(folder: ModelFolder, config: ReasonerConfig, device: Device) -> Forecast:
    """Of a folder on a device, as `[reasoner]` says it is run."""
    packed = quantisation(folder.config)
    stays = packed is not None and packed.stays_packed(device.capability)
    dtype = dtype_of(config, device.kind, packed)
    weights = loaded_bytes(folder.config, tensors(folder.weights), dtype, packed, stays)
    memory = needed(folder, config, device, dtype, weights)
    fits = memory.total <= device.total
    text = f"{_gib(memory.total)} GiB of {_gib(device.total)} on {device.name} ({_parts(memory)})"
    if packed is not None and not stays:
        text += f"; {widening(packed, device.capability)}"
    if not fits:
        ways = list(_ways_out(folder, config, device, dtype, weights, packed is None))
        text += "; " + "; or ".join(ways or ["take a smaller model, a server, or a larger GPU"])
    crowded = fits and memory.total > device.free
    if crowded:
        text += f"; only {_gib(device.free)} GiB are free now, end what holds the rest"
    return Forecast(memory, fits, crowded, text)


def needed(folder: ModelFolder, config: ReasonerConfig, device: Device, dtype: str, weights: int) -> Memory:
    """The settings as `fit.predict` takes them."""
    chosen = config.speed.on("gpu" if device.kind == "cuda" else "cpu")
    notes = folder.notes
    size = notes.input_size if notes is not None else None
    own = notes.max_new_tokens if notes is not None else config.max_new_tokens
    given: dict[str, Any] = {
        "frames": (notes.max_groups if notes is not None else None) or config.max_frames,
        "frame_pixels": size[0] * size[1] if size is not None else config.max_frame_pixels,
        "new_tokens": min(own, config.max_new_tokens),
        "dtype": dtype,
        "gpu": device.kind == "cuda",
    }
    if config.speed.plain or shape_of(folder.config).state_bytes:
        # transformers' own generate: one window at a time, all of its pictures and all of its prompt at once.
        return predict(folder.config, weights, windows=1, **given)
    return predict(
        folder.config,
        weights,
        windows=rows_of(chosen.together),
        key_step=GRAPH_KEY_STEP if chosen.graphs else KEY_STEP,
        prefill_tokens=chosen.prefill_tokens,
        images_at_once=1,
        features_bytes=chosen.features_mib << 20,
        prefix_bytes=chosen.prefix_mib << 20,
        **given,
    )


def rows_of(together: int) -> int:
    """Rows there is room for: the slots grow to powers of two."""
    return 1 << (together - 1).bit_length()


def _ways_out(
    folder: ModelFolder, config: ReasonerConfig, device: Device, dtype: str, weights: int, plain: bool
) -> Iterator[str]:
    """Each by itself makes it fit, the mildest first; settings are changed together where one is not enough."""

    def fits(changed: ReasonerConfig, weights: int = weights) -> bool:
        return needed(folder, changed, device, dtype, weights).total <= device.total

    replace = msgspec.structs.replace
    least = config
    if not config.speed.plain:
        together = rows_of(config.speed.together)
        while together > 1:
            together //= 2
            least = replace(config, speed=replace(config.speed, together=together))
            if fits(least):
                yield f"set speed.together = {together}"
                break
        least = replace(least, speed=replace(least.speed, prefix_mib=0, features_mib=0))
        if config.speed.on("gpu").prefix_mib and fits(replace(config, speed=replace(config.speed, prefix_mib=0))):
            yield "set speed.prefix_mib = 0"
        elif not fits(replace(least, speed=replace(least.speed, prefix_mib=None))) and fits(least):
            yield "set speed.together = 1, speed.prefix_mib = 0 and speed.features_mib = 0"
    if folder.notes is None:
        for what, start, stop, step in (
            ("max_frames", config.max_frames, LEAST_FRAMES, 2),
            ("max_frame_pixels", config.max_frame_pixels, LEAST_PIXELS, 12_544),
        ):
            for value in range(start - step, stop - 1, -step):
                more = {"min_frame_pixels": min(config.min_frame_pixels, value)} if what == "max_frame_pixels" else {}
                if fits(replace(config, **{what: value, **more})):
                    yield f"set {what} = {value}"
                    break
    if plain:
        linears, b = language_linears(shape_of(folder.config)), BYTES[dtype]
        if device.capability is not None and device.capability >= FP8 and fits(config, weights - linears * (b - 1)):
            yield f"take its FP8 form ({_gib(weights - linears * (b - 1))} GiB of weights)"
        awq = int(weights - linears * (b - AWQ_BYTES))
        if device.kind == "cuda" and fits(config, awq):
            yield f"take its AWQ form ({_gib(awq)} GiB of weights)"
    if not fits(least):
        yield "take a smaller model, as Qwen/Qwen3-VL-4B-Instruct or -2B-Instruct"


def _parts(memory: Memory) -> str:
    caches = memory.vision_features + memory.prefixes
    rest = memory.activations + memory.context
    return (
        f"weights {_gib(memory.weights)}, keys and values {_gib(memory.kv_cache)}, caches {_gib(caches)}, "
        f"one pass {_gib(rest)}"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}" if size >= GIB // 10 else f"{size / GIB:.2f}"
