"""Decoding in shapes that never change, so that a GPU can replay a step as one CUDA graph.

A step of a 2B model launches about a thousand kernels; replaying them costs one launch. Rows and positions are rounded
up to a few sizes, the rest is masked. Without a GPU the same fixed shapes are run as they are, which gains nothing and
is there for the tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reasoner.backends.decode import Decoder

if TYPE_CHECKING:
    import torch

POSITIONS = 512
"""Positions attended to are rounded up to a multiple of this."""
KEPT = 32
"""Steps that are kept, the most recently used ones: eight lengths of 1, 2, 4 and 8 rows. Each holds its logits."""


class _Step(NamedTuple):
    ids: torch.Tensor
    positions: torch.Tensor
    columns: torch.Tensor
    mask: torch.Tensor
    run: Callable[[], torch.Tensor]


class Graphs:
    """`Decoder.together` for one token a row, from steps made once per number of rows and positions."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._steps: OrderedDict[tuple[int, int], _Step] = OrderedDict()
        self._made_for = -1
        self._pool: Any = None
        """Memory that the graphs share: one is replayed at a time, and what it gives is read before the next."""
        self.captured = 0

    def clear(self) -> None:
        """Forget all steps, and with them their memory: a pool whose last graph is gone takes no new one."""
        self._steps.clear()
        self._pool = None

    def together(self, ids: Sequence[Sequence[int]], filled: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """As `Decoder.together`, one token for each row."""
        import torch

        slots = self._decoder.slots
        rows = 1 << (len(ids) - 1).bit_length()
        attended = -(-(max(filled) + 1) // POSITIONS) * POSITIONS
        slots.make_room(rows, attended)
        if self._made_for != slots.grown:
            self.clear()
            self._made_for = slots.grown
        spare = rows - len(ids)
        # A spare row belongs to nobody: its key goes to the first place, which it may see.
        columns = torch.tensor([*filled, *[0] * spare])[:, None]
        ids_ = torch.tensor([*(each[0] for each in ids), *[0] * spare])[:, None]
        at = torch.tensor([*positions, *[0] * spare])[:, None].expand(3, -1, -1)
        mask = (torch.arange(attended) <= columns)[:, None, None]
        step = self._steps.get((rows, attended))
        if step is None:
            step = self._steps[rows, attended] = self._made(ids_, at, columns, mask)
            # After the new one is made, so that the pool never runs out of graphs.
            while len(self._steps) > KEPT:
                self._steps.popitem(last=False)
        self._steps.move_to_end((rows, attended))
        for target, source in ((step.ids, ids_), (step.positions, at), (step.columns, columns), (step.mask, mask)):
            target.copy_(source)
        return step.run()[: len(ids)]

    def _made(self, ids: torch.Tensor, at: torch.Tensor, columns: torch.Tensor, mask: torch.Tensor) -> _Step:
        import torch

        slots = self._decoder.slots
        device = slots.keys[0].device
        fixed_ids, fixed_at, fixed_columns, fixed_mask = (
            each.contiguous().to(device).clone() for each in (ids, at, columns, mask)
        )
        attended = mask.shape[-1]

        def forward() -> torch.Tensor:
            cache = slots.whole(fixed_columns, attended)
            return self._decoder.run(fixed_ids, fixed_at, fixed_mask, cache)

        if device.type != "cuda":
            return _Step(fixed_ids, fixed_at, fixed_columns, fixed_mask, forward)
        # Warm-up and capture write the same keys into the same places as the step itself: no harm.
        aside: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(3):
                forward()
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # Other threads may use the GPU meanwhile: only this one is held to what can be captured. On a stream of the
        # model's own GPU, for torch would take one of the first.
        with (
            torch.cuda.device(device),
            torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"),
        ):
            logits = forward()
        self.captured += 1

        def replay() -> torch.Tensor:
            graph.replay()
            return logits

        return _Step(fixed_ids, fixed_at, fixed_columns, fixed_mask, replay)
