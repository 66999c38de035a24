"""What every engine checks about a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.errors import EngineMismatch
from detector.folder import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_pictures(pictures: NDArray[np.uint8], shape: Shape, max_batch: int) -> None:
    """Raises EngineMismatch, naming both sides, unless this is uint8 (1..max_batch, H, W, channels)."""
    width, height = shape.picture_size
    wanted = (height, width, shape.channels)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != wanted:
        raise EngineMismatch(
            f"the image tower takes uint8 (N, {height}, {width}, {shape.channels}), "
            f"not {pictures.dtype} {pictures.shape}"
        )
    if not 1 <= len(pictures) <= max_batch:
        raise EngineMismatch(f"{len(pictures)} pictures in one call; this engine takes 1 to {max_batch}")


def check_ids(ids: NDArray[np.int64], shape: Shape) -> None:
    """Raises EngineMismatch unless this is int64 (M, text_length) with ids of the vocabulary, M at least 1."""
    if not shape.has_text:
        raise EngineMismatch("the model has no text tower, it takes pictures only")
    if ids.dtype != np.int64 or ids.ndim != 2 or ids.shape[1] != shape.text_length or not len(ids):
        raise EngineMismatch(f"the text tower takes int64 (M, {shape.text_length}), not {ids.dtype} {ids.shape}")
    if ids.min() < 0 or ids.max() >= shape.vocabulary:
        raise EngineMismatch(f"token ids {ids.min()}..{ids.max()} are outside the vocabulary of {shape.vocabulary}")
