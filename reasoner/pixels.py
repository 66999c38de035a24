"""Pixels to vision patches: resizing to a budget and the Qwen-VL patch layout, from uint8 and without torchvision.

Equal to transformers' processors to 1e-6; the reordering is done on uint8, a quarter of the bytes, and the result
becomes float once. It has two ways with the same bytes: `cut_patches` on a CPU, and `cut_there` where a model runs,
from the rows of `uncut`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]

CACHED_ROWS = 256
"""Patches that are scaled at a time on a CPU: few enough to stay in its cache between the passes."""


class PatchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a vision tower wants its pixels; the budgets are explicit, never a class default."""

    patch_px: int = 16
    temporal: int = 2
    """Frames in one temporal patch."""
    merge: int = 2
    """merge x merge patches become one token."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    min_pixels: int = 65_536
    max_pixels: int = 200_704
    """Bounds of one frame's area after resizing."""

    @property
    def factor(self) -> int:
        """Sides are multiples of this many px."""
        return self.patch_px * self.merge


class Footage(NamedTuple):
    """A video placeholder's pictures: uint8 (T, H, W, 3) RGB and the seconds of each."""

    frames: Pixels
    times_s: tuple[float, ...]


def fit(width: int, height: int, spec: PatchSpec) -> tuple[int, int]:
    """Width and height, px, that a picture is resized to: multiples of the factor, area inside the budget.

    The rule is Qwen's `smart_resize`. Raises ValueError for a picture more than 200 times longer than wide.
    """
    if max(width, height) > 200 * min(width, height):
        raise ValueError(f"a {width}x{height} picture is too long and thin")
    factor = spec.factor
    fitted_w, fitted_h = round(width / factor) * factor, round(height / factor) * factor
    if fitted_w * fitted_h > spec.max_pixels:
        shrink = math.sqrt(width * height / spec.max_pixels)
        fitted_w = max(factor, math.floor(width / shrink / factor) * factor)
        fitted_h = max(factor, math.floor(height / shrink / factor) * factor)
    elif fitted_w * fitted_h < spec.min_pixels:
        grow = math.sqrt(spec.min_pixels / (width * height))
        fitted_w = math.ceil(width * grow / factor) * factor
        fitted_h = math.ceil(height * grow / factor) * factor
    return fitted_w, fitted_h


def resize_image(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 (H, W, 3) to `size` (width, height): Pillow's bicubic, which antialiases; the picture itself if it fits."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def resize_frames(frames: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 (T, H, W, 3) to `size` (width, height): torch's antialiased bicubic on uint8, as torchvision calls it."""
    if (frames.shape[2], frames.shape[1]) == size:
        return frames
    import torch

    stacked = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        stacked, size=(size[1], size[0]), mode="bicubic", antialias=True, align_corners=False
    )
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def patchify(groups: Pixels, spec: PatchSpec) -> torch.Tensor:
    """uint8 (G, S, H, W, 3) → float32 (G * H/patch * W/patch, 3 * temporal * patch * patch), as the model takes it."""
    return normalise(cut_patches(groups, spec), spec)


def cut_patches(groups: Pixels, spec: PatchSpec) -> torch.Tensor:
    """uint8 (G, S, H, W, 3), S = 1 or `temporal` → uint8 (G * H/patch * W/patch, 3 * temporal * patch * patch).

    One picture (S = 1) fills both temporal slots, as Qwen does with images. H and W are multiples of the factor.
    Rows run group by group, in merge x merge blocks; columns are (channel, slot, y, x).
    """
    import cv2
    import torch

    count, slots, height, width, _ = _cuttable(groups, spec)
    side = spec.patch_px
    pictures = np.ascontiguousarray(groups)
    planes = np.empty((slots, 3, height, width), np.uint8)
    tiles = _tiles(planes, spec)
    cut = np.empty((count, *tiles.shape), tiles.dtype)
    for group in range(count):
        for slot in range(slots):
            cv2.split(pictures[group, slot], list(planes[slot]))
        np.copyto(cut[group], tiles)
    return torch.from_numpy(cut.view(np.uint8).reshape(-1, 3 * spec.temporal * side * side))


def uncut(groups: Pixels, spec: PatchSpec) -> torch.Tensor:
    """uint8 (G, S, H, W, 3) → uint8 (G * H/patch * W/patch, 3 * S * patch * patch): the same bytes in their own order,
    in as many rows as there are patches, for `cut_there`."""
    import torch

    _cuttable(groups, spec)
    frames = torch.from_numpy(np.require(groups, requirements=["C", "W"]))
    return frames.view(-1, 3 * groups.shape[1] * spec.patch_px**2)


def cut_there(rows: torch.Tensor, grid: tuple[int, int, int], spec: PatchSpec) -> torch.Tensor:
    """Rows of `uncut` → what `cut_patches` makes of the same pictures, bit for bit, on the rows' own device.

    grid: groups, and rows and columns of patches in each.
    """
    count, down, across = grid
    side, merge = spec.patch_px, spec.merge
    slots = rows.shape[1] // (3 * side * side)
    tiles = rows.view(count, slots, down // merge, merge, side, across // merge, merge, side, 3)
    ordered = tiles.permute(0, 2, 5, 3, 6, 8, 1, 4, 7)
    shape = [*ordered.shape[:6], spec.temporal, *ordered.shape[7:]]
    return ordered.expand(shape).reshape(len(rows), 3 * spec.temporal * side * side)


def _cuttable(groups: Pixels, spec: PatchSpec) -> tuple[int, ...]:
    """The shape, if it is of whole patches in whole blocks."""
    _, slots, height, width, _ = groups.shape
    if height % spec.factor or width % spec.factor or slots not in (1, spec.temporal):
        raise ValueError(f"{groups.shape} cannot be cut into {spec.patch_px} px patches in {spec.temporal} slots")
    return groups.shape


def _tiles(planes: Pixels, spec: PatchSpec) -> NDArray[Any]:
    """A view of planes (S, 3, H, W) in the order of patches; the rows of a patch as few wide words, moved at once."""
    slots, _, height, width = planes.shape
    side, merge, factor = spec.patch_px, spec.merge, spec.factor
    word = next(w for w in (np.complex128, np.uint64, np.uint32, np.uint16, np.uint8) if side % w().nbytes == 0)
    words = side // word().nbytes
    tiles = planes.view(word).reshape(slots, 3, height // factor, merge, side, width // factor, merge, words)
    ordered = tiles.transpose(2, 5, 3, 6, 1, 0, 4, 7)
    if slots == spec.temporal:
        return ordered
    return np.broadcast_to(ordered, (*ordered.shape[:5], spec.temporal, *ordered.shape[6:]))


def normalise(patches: torch.Tensor, spec: PatchSpec) -> torch.Tensor:
    """uint8 patches → float32 of the same shape, on the same device: a quarter of the bytes crosses to a GPU."""
    import torch

    std = torch.tensor(spec.std, dtype=torch.float64)
    scale = (1 / (255 * std)).to(patches.device, torch.float32).view(3, 1)
    shift = (torch.tensor(spec.mean, dtype=torch.float64) / std).to(patches.device, torch.float32).view(3, 1)
    rows = patches.reshape(len(patches), 3, -1)
    if patches.device.type != "cpu":
        return rows.to(torch.float32).mul_(scale).sub_(shift).flatten(1)
    # numpy asks the system for huge pages, torch does not: touching fresh memory would cost more than the work.
    made = torch.from_numpy(np.empty(rows.shape, np.float32))
    for at in range(0, len(rows), CACHED_ROWS):
        part = slice(at, at + CACHED_ROWS)
        made[part].copy_(rows[part]).mul_(scale).sub_(shift)
    return made.flatten(1)
