"""Quantised checkpoints: what the `quantization_config` of a config.json says about bytes, libraries and devices.

The weights themselves are read by transformers' own quantisers (`fp8`, `awq`, `compressed-tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reasoner.errors import ModelUnsupported


class Quantisation(msgspec.Struct, frozen=True, kw_only=True):
    """How the linear layers of a checkpoint are packed."""

    method: str
    """transformers' name of it."""
    label: str
    """In words."""
    bits: int
    """Of one weight, without its scales."""
    libraries: tuple[str, ...]
    """That must be installed beside transformers."""
    kernels: tuple[str, ...] = ()
    """Further ones, where the weights stay packed on a GPU."""
    compute: str
    """dtype of what is not packed, on a GPU."""
    packed_from: tuple[int, int] | None
    """Least compute capability of a CUDA GPU on which the weights stay packed; elsewhere they are widened to the
    dtype of the rest when they are loaded. (0, 0): everywhere; None: nowhere."""

    def needs(self, capability: tuple[int, int] | None) -> tuple[str, ...]:
        """Libraries for this GPU, or for a CPU."""
        return (*self.libraries, *(self.kernels if self.stays_packed(capability) else ()))

    def stays_packed(self, capability: tuple[int, int] | None) -> bool:
        """capability: of the GPU; None for a CPU."""
        if self.packed_from is None:
            return False
        return self.packed_from == EVERYWHERE or (capability is not None and capability >= self.packed_from)


EVERYWHERE = (0, 0)
FP8 = (8, 9)
"""Ada and Hopper; transformers/quantizers/quantizer_finegrained_fp8.py widens on anything else."""


def quantisation(config: Mapping[str, Any]) -> Quantisation | None:
    """Of a config.json; None for plain weights. Raises ModelUnsupported for a method that is not served."""
    said = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config")
    if not isinstance(said, Mapping):
        return None
    method = str(said.get("quant_method", "")).lower()
    match method:
        case "fp8":
            plain = _quantisation(method, "FP8", 8, ("accelerate",), "bfloat16", FP8)
            return msgspec.structs.replace(plain, kernels=("kernels",))
        case "awq":
            bits = int(said.get("bits", 4))
            return _quantisation(method, f"AWQ {bits}-bit", bits, ("gptqmodel", "accelerate"), "float16", EVERYWHERE)
        case "compressed-tensors":
            return _compressed(said)
    raise ModelUnsupported(
        f"weights packed as {method or 'nothing named'!r} are not served; take a plain, FP8, AWQ or "
        "compressed-tensors form of the model"
    )


def _compressed(said: Mapping[str, Any]) -> Quantisation:
    """llm-compressor's format; its groups say how wide a weight is. transformers unpacks it at the first answer."""
    groups = said.get("config_groups", {})
    widths = [int((group.get("weights") or {}).get("num_bits", 16)) for group in groups.values()]
    bits = min(widths, default=16)
    label = f"compressed {bits}-bit"
    return _quantisation("compressed-tensors", label, bits, ("compressed-tensors", "accelerate"), "bfloat16", None)


def _quantisation(
    method: str, label: str, bits: int, libraries: tuple[str, ...], compute: str, packed_from: tuple[int, int] | None
) -> Quantisation:
    return Quantisation(
        method=method, label=label, bits=bits, libraries=libraries, compute=compute, packed_from=packed_from
    )
