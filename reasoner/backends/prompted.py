"""One prompt as the engine takes it: tokens, their positions, and pictures that are known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Shown(NamedTuple):
    """One picture of a prompt."""

    patches: torch.Tensor
    """uint8 (patches, 3 * temporal * patch * patch); not cut yet, as `pixels.uncut` makes them."""
    grid: tuple[int, int, int]
    digest: bytes
    """16 bytes over the patches and the grid: equal pictures have equal features, whoever's camera they are of."""
    cut: bool


class Prompted(NamedTuple):
    """What is asked about one window."""

    ids: torch.Tensor
    """(1, L) int64."""
    positions: torch.Tensor
    """(3, 1, L) int64: time, row and column of each token as the rotary embedding wants them."""
    next_position: int
    """Position of the first token that will be written."""
    pictures: tuple[Shown, ...]
    marks: NDArray[np.int64]
    """(L,): the token, or for a token of a picture a negative number made of the picture's digest and its place.

    Two prompts have the same keys and values as far as their marks agree.
    """
    seen_before: NDArray[np.int64]
    """(L + 1,): how many tokens of pictures come before each place."""

    @property
    def length(self) -> int:
        return int(self.ids.shape[1])


def prompted(model: Any, inputs: Mapping[str, torch.Tensor]) -> Prompted:
    """Of the tensors that `Processor.encode(..., normalised=False)` makes. Changes nothing on the model."""
    import torch

    ids, kinds = inputs["input_ids"], inputs["mm_token_type_ids"]
    grids = inputs.get("image_grid_thw")
    if grids is None:
        positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
        pictures: tuple[Shown, ...] = ()
    else:
        positions, _ = model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)
        cut = "pixel_values" in inputs
        rows = torch.split(inputs["pixel_values" if cut else "image_frames"], grids.prod(-1).tolist())
        shapes: list[tuple[int, int, int]] = [(t, h, w) for t, h, w in grids.tolist()]
        pictures = tuple(
            Shown(part, shape, _digest(part, shape), cut) for part, shape in zip(rows, shapes, strict=True)
        )
    return Prompted(
        ids=ids,
        positions=positions,
        next_position=int(positions.max()) + 1,
        pictures=pictures,
        marks=_marks(ids, kinds, pictures),
        seen_before=np.concatenate([[0], np.cumsum(kinds[0].numpy() != 0)]),
    )


def _digest(patches: torch.Tensor, grid: tuple[int, int, int]) -> bytes:
    whole = hashlib.blake2b(repr(grid).encode(), digest_size=16)
    whole.update(patches.numpy().data)
    return whole.digest()


def _marks(ids: torch.Tensor, kinds: torch.Tensor, pictures: tuple[Shown, ...]) -> NDArray[np.int64]:
    marks = ids[0].numpy().copy()
    places = np.flatnonzero(kinds[0].numpy())
    if not len(places):
        return marks
    each = len(places) * np.array([len(shown.patches) for shown in pictures])
    each //= max(1, sum(len(shown.patches) for shown in pictures))
    made = [
        np.int64(-1) - ((int.from_bytes(shown.digest[:7], "little") + np.arange(count)) & ((1 << 56) - 1))
        for shown, count in zip(pictures, each, strict=True)
    ]
    marks[places] = np.concatenate(made)
    return marks


def agreed(one: Prompted, other: NDArray[np.int64]) -> int:
    """Tokens from the start that are the same in both."""
    length = min(len(one.marks), len(other))
    differs = np.flatnonzero(one.marks[:length] != other[:length])
    return int(differs[0]) if len(differs) else length
