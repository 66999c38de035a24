"""Keys and values of earlier prompts, given again to a prompt that begins alike.

A growing window begins as it did before, and several rules of one camera ask about the same frames: only what is new
goes through the model. Equal to a full computation but for the order of sums, about 1e-6 in float32; a window whose
first frame has gone begins differently and shares only the instruction.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoner.backends.prompted import Prompted, agreed
from reasoner.backends.slots import Slots

if TYPE_CHECKING:
    import torch

WORTH = 16
"""Fewer tokens are not worth copying."""


class _Beginning(NamedTuple):
    marks: NDArray[np.int64]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    """Of each layer keys and values, (heads, tokens, head size)."""

    @property
    def bytes(self) -> int:
        return sum(each.numel() * each.element_size() for pair in self.layers for each in pair)


class PrefixCache:
    """The most recently used prompts, at most `limit` bytes of them; 0 keeps none. Not for several threads at once."""

    def __init__(self, slots: Slots, limit: int) -> None:
        self._slots = slots
        self._limit = limit
        self._kept: OrderedDict[int, _Beginning] = OrderedDict()
        self._number = 0
        self.bytes = 0
        self.reused_tokens = 0
        self.computed_tokens = 0
        self.evicted = 0

    def restore(self, prompt: Prompted, row: int) -> int:
        """Fill a row with the longest known beginning. → tokens filled, at least one fewer than the prompt has."""
        number, length = max(
            ((number, agreed(prompt, known.marks)) for number, known in self._kept.items()),
            key=lambda found: found[1],
            default=(0, 0),
        )
        length = min(length, prompt.length - 1)
        if length < WORTH:
            length = 0
        else:
            known = self._kept[number]
            for index, (keys, values) in enumerate(known.layers):
                self._slots.keys[index][row, :, :length] = keys[:, :length]
                self._slots.values[index][row, :, :length] = values[:, :length]
            self._kept.move_to_end(number)
        self.reused_tokens += length
        self.computed_tokens += prompt.length - length
        return length

    def keep(self, prompt: Prompted, row: int) -> None:
        """Remember a row that holds the whole prompt; one that it continues, as a grown window does, is forgotten."""
        if not self._limit:
            return
        for number, known in list(self._kept.items()):
            if agreed(prompt, known.marks) >= 0.75 * len(known.marks):
                self._forget(number)
        length = prompt.length
        made = _Beginning(
            prompt.marks,
            tuple(
                (keys[row, :, :length].clone(), values[row, :, :length].clone())
                for keys, values in zip(self._slots.keys, self._slots.values, strict=True)
            ),
        )
        if made.bytes > self._limit:
            return
        self._number += 1
        self._kept[self._number] = made
        self.bytes += made.bytes
        while self.bytes > self._limit:
            self._forget(next(iter(self._kept)))
            self.evicted += 1

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self.bytes = 0

    def _forget(self, number: int) -> None:
        self.bytes -= self._kept.pop(number).bytes
