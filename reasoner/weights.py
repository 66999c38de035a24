"""The bytes of a checkpoint's weights once they are loaded, from the headers of its safetensors files alone."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reasoner.fit import BYTES
from reasoner.quantised import Quantisation

FLOATS = ("F64", "F32", "F16", "BF16")
PACKED = {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "I32": 4, "I64": 8, "BOOL": 1}
"""Bytes of an element that keeps its own type."""
SCALES = ("_scale_inv", "_scale", "_zero_point", "_shape", ".qzeros", ".scales", ".g_idx")
"""Ends of names beside packed weights; they are gone when these are widened."""


class Tensor(NamedTuple):
    """One entry of a safetensors header."""

    name: str
    dtype: str
    elements: int


def tensors(files: Iterable[Path]) -> Iterator[Tensor]:
    """Of whole safetensors files, as `folder.open_folder` has checked them."""
    for file in files:
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        for name, entry in header.items():
            if name != "__metadata__":
                yield Tensor(name, str(entry["dtype"]), math.prod(entry["shape"]))


def loaded_bytes(
    config: Mapping[str, Any], stored: Iterable[Tensor], dtype: str, packed: Quantisation | None, stays: bool
) -> int:
    """dtype: of everything that is not packed. stays: whether packed weights stay so on the device."""
    text = config.get("text_config") or {}
    tied = config.get("tie_word_embeddings") or text.get("tie_word_embeddings")
    return sum(_bytes(one, dtype, packed, stays) for one in stored if not (tied and one.name == "lm_head.weight"))


def _bytes(one: Tensor, dtype: str, packed: Quantisation | None, stays: bool) -> int:
    if packed is None:
        return one.elements * BYTES[dtype]
    beside = one.name.endswith(SCALES)
    if one.dtype in FLOATS:
        if not beside:
            return one.elements * BYTES[dtype]
        return one.elements * (4 if one.dtype == "F32" else 2) if stays else 0
    if stays:
        return one.elements * PACKED[one.dtype]
    if beside:
        return 0
    # Several narrow weights may lie in one wide integer.
    return one.elements * max(1, PACKED[one.dtype] * 8 // packed.bits) * BYTES[dtype]
