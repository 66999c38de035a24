"""Keys and values of the windows that are being answered: one row each, in buffers that stay where they are.

Rows are filled from the left, each as far as its own window has come, so that windows of any length lie side by side
and a new one starts whenever a row is free. Rotary positions are already in the keys; where a key lies does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, DynamicLayer

from reasoner.errors import ModelFailed

if TYPE_CHECKING:
    import torch

STEP = 256
"""Buffers grow by whole steps of this many positions."""


class Slots:
    """Buffers of (rows, heads, positions, head size), two for each layer; they grow when more is needed."""

    def __init__(self, model: Any) -> None:
        text = model.config.get_text_config()
        self.layers = int(text.num_hidden_layers)
        self._heads = int(text.num_key_value_heads)
        self._width = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
        self._device, self._dtype = model.device, model.dtype
        self.rows = self.positions = 0
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.grown = 0
        """How often the buffers have moved; what holds their addresses must be made anew."""

    @property
    def bytes(self) -> int:
        return sum(each.numel() * each.element_size() for each in (*self.keys, *self.values))

    def make_room(self, rows: int, positions: int) -> None:
        """At least this many; what is there stays. Raises ModelFailed where there is no memory for it; nothing is left
        of any row then."""
        if rows <= self.rows and positions <= self.positions:
            return
        rows = max(rows, self.rows)
        positions = max(-(-positions // STEP) * STEP, self.positions)
        try:
            self._grow(rows, positions)
        except BaseException as error:
            # Some layers are larger than others by now.
            self.drop()
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            # torch.OutOfMemoryError is a RuntimeError, and a CPU's is no more than that.
            raise ModelFailed(
                f"keys of {rows} windows at {positions} tokens cannot be allocated ({type(error).__name__}); "
                "lower max_frames, max_frame_pixels or speed.together, or take a smaller model"
            ) from error

    def drop(self) -> None:
        """Give all buffers back; the next window makes new ones."""
        self.keys.clear()
        self.values.clear()
        self.rows = self.positions = 0
        self.grown += 1

    def _grow(self, rows: int, positions: int) -> None:
        # One layer at a time, so that no more than one of the old buffers lives beside its successor.
        for index in range(self.layers):
            for buffers in (self.keys, self.values):
                made = self._empty(rows, positions)
                if index < len(buffers):
                    made[: self.rows, :, : self.positions] = buffers[index]
                    buffers[index] = made
                else:
                    buffers.append(made)
        self.rows, self.positions = rows, positions
        self.grown += 1

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` positions over another row."""
        for buffer in (*self.keys, *self.values):
            buffer[target, :, :length] = buffer[source, :, :length]

    def wipe(self, row: int) -> None:
        """Zeros in a row that may hold what is no number: a masked NaN still reaches whoever comes after it."""
        for buffer in (*self.keys, *self.values):
            buffer[row] = 0

    def row(self, row: int, filled: int) -> Cache:
        """One row for a prompt, or a part of one, that follows `filled` positions."""
        return Cache(layers=[_OneRow(self, index, row, filled) for index in range(self.layers)])

    def together(self, filled: Sequence[int]) -> Cache:
        """The first rows, each filled so far, for the next tokens of all of them."""
        import torch

        at = torch.tensor(filled, device=self._device)
        return Cache(layers=[_Rows(self, index, at, max(filled)) for index in range(self.layers)])

    def whole(self, columns: torch.Tensor, positions: int) -> Cache:
        """As `together`, for shapes that never change: columns int64 (rows, 1), attention over all `positions`."""
        return Cache(layers=[_Fixed(self, index, columns, positions) for index in range(self.layers)])

    def _empty(self, rows: int, positions: int) -> torch.Tensor:
        import torch

        # Zeros, for a masked place must hold a number: 0 x NaN is NaN.
        return torch.zeros(rows, self._heads, positions, self._width, device=self._device, dtype=self._dtype)


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer whose keys live in the slots. A DynamicLayer, for that is what transformers' masks know."""

    def __init__(self, slots: Slots, index: int, filled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots = slots
        self._index = index
        self._filled = filled

    def get_seq_length(self) -> int:
        return self._filled

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._filled + query_length, 0

    def _buffers(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._slots.keys[self._index], self._slots.values[self._index]


class _OneRow(_Layer):  # type: ignore[no-untyped-call]
    def __init__(self, slots: Slots, index: int, row: int, filled: int) -> None:
        super().__init__(slots, index, filled)
        self._row = row

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        row, stop = self._row, self._filled + key_states.shape[2]
        keys, values = self._buffers()
        keys[row, :, self._filled : stop] = key_states[0]
        values[row, :, self._filled : stop] = value_states[0]
        self._filled = stop
        return keys[row : row + 1, :, :stop], values[row : row + 1, :, :stop]


class _Rows(_Layer):  # type: ignore[no-untyped-call]
    def __init__(self, slots: Slots, index: int, at: torch.Tensor, longest: int) -> None:
        super().__init__(slots, index, longest)
        self._at = at

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        count, _, new, _ = key_states.shape
        stop = self._filled + new
        rows = torch.arange(count, device=key_states.device)[:, None]
        columns = self._at[:, None] + torch.arange(new, device=key_states.device)
        keys, values = self._buffers()
        keys[rows, :, columns] = key_states.transpose(1, 2)
        values[rows, :, columns] = value_states.transpose(1, 2)
        return keys[:count, :, :stop], values[:count, :, :stop]


class _Fixed(_Layer):  # type: ignore[no-untyped-call]
    def __init__(self, slots: Slots, index: int, columns: torch.Tensor, positions: int) -> None:
        super().__init__(slots, index, positions - 1)
        self._columns = columns
        self._positions = positions

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        count = len(self._columns)
        rows = torch.arange(count, device=key_states.device)[:, None]
        keys, values = self._buffers()
        keys[rows, :, self._columns] = key_states.transpose(1, 2)
        values[rows, :, self._columns] = value_states.transpose(1, 2)
        return keys[:count, :, : self._positions], values[:count, :, : self._positions]
