"""What the vision tower made of each picture, kept and given again to every prompt that shows the same picture.

A picture's tower output depends on nothing else (attention stays inside a picture), and pictures are known by their
content: overlapping windows of a camera share them, so do several rules asked of one window and a second look at it.
The pixels of a motion picture depend on the view and on what the camera usually shows, so that a camera and a time
would not tell which picture it is. On a GPU each picture goes through the tower in a call of its own, so that its
shapes, and so its bits, are the same whatever it is shown with; on a CPU those of a call give the same bits together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from reasoner.backends.prompted import Shown
from reasoner.pixels import PatchSpec, cut_there, normalise

if TYPE_CHECKING:
    import torch


class Features(NamedTuple):
    """Of one picture: (tokens, hidden) for the embeddings and for each deepstack layer."""

    layers: tuple[torch.Tensor, ...]

    @property
    def bytes(self) -> int:
        return sum(layer.numel() * layer.element_size() for layer in self.layers)


class FeatureCache:
    """The most recently used features, at most `limit` bytes of them; 0 keeps none. Not for several threads at once."""

    def __init__(self, model: Any, spec: PatchSpec, limit: int) -> None:
        self._model = model
        self._spec = spec
        self._limit = limit
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.evicted = 0

    def of(self, pictures: Sequence[Shown]) -> list[Features]:
        """Features of each picture, from here or from the tower."""
        found = {shown.digest: self._kept[shown.digest] for shown in pictures if shown.digest in self._kept}
        new = list({shown.digest: shown for shown in pictures if shown.digest not in found}.values())
        self.misses += len(new)
        self.hits += len(pictures) - len(new)
        at_once = max(1, len(new)) if self._model.device.type == "cpu" else 1
        for first in range(0, len(new), at_once):
            part = new[first : first + at_once]
            for shown, features in zip(part, self._computed(part), strict=True):
                found[shown.digest] = features
                self._keep(shown.digest, features)
        for shown in pictures:
            if shown.digest in self._kept:
                self._kept.move_to_end(shown.digest)
        return [found[shown.digest] for shown in pictures]

    def _keep(self, digest: bytes, features: Features) -> None:
        if features.bytes > self._limit:
            return
        self._kept[digest] = features
        self.bytes += features.bytes
        while self.bytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.bytes
            self.evicted += 1

    def _computed(self, pictures: Sequence[Shown]) -> list[Features]:
        import torch

        pixels = normalise(torch.cat([self._patches(shown) for shown in pictures]), self._spec)
        grids = torch.tensor([shown.grid for shown in pictures], device=pixels.device)
        seen = self._model.model.get_image_features(pixels, grids)
        layers = [seen.pooler_output, *(getattr(seen, "deepstack_features", None) or [])]
        # Parts of one tensor would keep all of it alive.
        alone = len(pictures) == 1
        return [Features(tuple(part if alone else part.clone() for part in each)) for each in zip(*layers, strict=True)]

    def _patches(self, shown: Shown) -> torch.Tensor:
        """uint8 patches on the model's device. From pinned memory, a copy to a GPU waits for nothing there."""
        device, rows = self._model.device, shown.patches
        gpu = device.type == "cuda"
        there = (rows.pin_memory() if gpu else rows).to(device, non_blocking=gpu)
        return there if shown.cut else cut_there(there, shown.grid, self._spec)


def encoder_outputs(features: Sequence[Features], first: int, last: int) -> dict[str, Any] | None:
    """`mm_encoder_outputs` for the picture tokens `first` to `last` (exclusive) of a prompt; None without any."""
    parts = []
    start = 0
    for picture in features:
        stop = start + len(picture.layers[0])
        if start < last and stop > first:
            cut = slice(max(first - start, 0), min(last, stop) - start)
            parts.append([layer[cut] for layer in picture.layers])
        start = stop
    if not parts:
        return None
    shown, *deep = [list(layer) for layer in zip(*parts, strict=True)]
    return {"image": SimpleNamespace(pooler_output=shown, deepstack_features=deep)}
