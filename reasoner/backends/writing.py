"""One answer while it is being written: its tokens so far, what else was likely, and where its row stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.backends.draw import Draw
from reasoner.backends.early import Early
from reasoner.backends.prompted import Prompted
from reasoner.errors import ModelFailed
from reasoner.trace import TOP, Token

if TYPE_CHECKING:
    import torch

    from reasoner.processor import Processor


class Writing:
    """Belongs to the thread that asked, and for the length of a round to the one that runs it."""

    def __init__(
        self,
        prompt: Prompted,
        limit: int,
        ends: frozenset[int],
        early: Early | None = None,
        draw: Draw | None = None,
    ) -> None:
        """limit: most new tokens. ends: tokens that end an answer. draw: for a sampled answer; none: greedy."""
        self.prompt = prompt
        self.early = early
        self.draw = draw
        self.written: list[int] = []
        self.tops: list[tuple[list[float], list[int]]] = []
        """Of each written token the likeliest ones: log-probabilities and ids."""
        self.filled = 0
        """Positions of its row that hold keys: the prompt and all written tokens but the last."""
        self.short: tuple[str, tuple[Token, ...]] | None = None
        """Text and tokens of a no that ended early."""
        self.thought = False
        """Whether the first thought has been read for a verdict."""
        self.error: Exception | None = None
        self._limit = limit
        self._ends = ends
        self._failed = False

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return self._limit - len(self.written)

    @property
    def complete(self) -> bool:
        """Whether it ended by itself."""
        return self.short is not None or (bool(self.written) and self.written[-1] in self._ends)

    @property
    def done(self) -> bool:
        return self.error is not None or self.complete or self.left <= 0

    @property
    def next_position(self) -> int:
        """Rotary position of the last written token, which is the next to go through the model."""
        return self.prompt.next_position + len(self.written) - 1

    def choice(self, values: Sequence[float], ids: Sequence[int], greedy: int) -> int:
        """The next token: what greedy reading chose, or what is drawn from the likeliest."""
        return greedy if self.draw is None else self.draw.token(values, ids, len(self.written))

    def take(self, token: int, values: Sequence[float], ids: Sequence[int]) -> None:
        """One more token, and the likeliest at its place."""
        if not values[0] > float("-inf") or values[0] != values[0]:
            self.error = ModelFailed(
                "the model's probabilities are no numbers; its weights are damaged or its precision too low"
            )
            return
        self.written.append(token)
        self.tops.append((list(values), list(ids)))

    def tokens(self, processor: Processor) -> tuple[Token, ...]:
        """The written tokens with their alternatives, control tokens left out."""
        return traced(self.written, self.tops, processor)


def traced(
    written: Sequence[int], tops: Sequence[tuple[list[float], list[int]]], processor: Processor
) -> tuple[Token, ...]:
    """Tokens and the likeliest at each place, as text."""
    texts: dict[int, str] = {}

    def text(token: int) -> str:
        if token not in texts:
            texts[token] = processor.decode([token])
        return texts[token]

    kept = []
    for token, (values, ids) in zip(written, tops, strict=False):
        top = tuple((text(other), value) for other, value in zip(ids, values, strict=True))
        own = values[ids.index(token)] if token in ids else values[-1]
        if text(token):
            kept.append(Token(text(token), own, top))
    return tuple(kept)


def likeliest(logits: torch.Tensor) -> tuple[list[list[float]], list[list[int]]]:
    """float (places, vocabulary) logits → log-probabilities and ids of the likeliest tokens of each place."""
    import torch

    values, ids = torch.log_softmax(logits, dim=-1).topk(min(TOP, logits.shape[-1]))
    return values.tolist(), ids.tolist()
