"""Guesses of what comes next, made of what was written before; the model checks several tokens in one pass.

Answers of one model look alike: tags, names of things, whole sentences of a no. A guess that the model would not have
chosen is thrown away with everything after it, so that the tokens are those of plain greedy decoding, and their
probabilities too. This is what makes a no cheap: its first word decides, the rest is a few passes. Coordinates and
times, where they are single tokens, are never guessed, and any of them stands for all in what came before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

LENGTHS = (6, 3, 2, 1)
"""Tokens by whose likeness the continuation is found, longest first."""
KEPT = 16384
"""Contexts that are remembered."""
PER_PASS = 24
"""Most guessed tokens of all rows in one pass: a pass is cheap while its weights cost more than its tokens."""
NUMBER = -1


class Drafts:
    """What followed which tokens when they were last written. Not for several threads at once."""

    def __init__(self, tokens: int, numbers: Iterable[int] = ()) -> None:
        """tokens: most tokens of a guess; 0: none is made. numbers: tokens that are numbers."""
        self.tokens = tokens
        self._numbers = frozenset(numbers)
        self._next: OrderedDict[tuple[int, ...], tuple[int, ...]] = OrderedDict()
        self.offered = 0
        self.accepted = 0

    def after(self, written: Sequence[int], most: int, rows: int = 1) -> tuple[int, ...]:
        """A guess of the next tokens, at most `most` of them; empty when nothing like it was seen. rows: windows that
        share the pass."""
        most = min(most, self.tokens, PER_PASS // rows)
        if most <= 0:
            return ()
        recent = self._classes(written[-max(LENGTHS) :])
        for length in LENGTHS:
            if length <= len(recent):
                found = self._next.get(recent[-length:])
                if found is not None:
                    return found[:most]
        return ()

    def learn(self, written: Sequence[int]) -> None:
        """Remember a whole answer."""
        if not self.tokens:
            return
        classes = self._classes(written)
        for stop in range(1, len(written)):
            following = classes[stop : stop + self.tokens]
            if NUMBER in following:
                following = following[: following.index(NUMBER)]
            for length in LENGTHS:
                if length <= stop:
                    context = classes[stop - length : stop]
                    self._next[context] = following
                    self._next.move_to_end(context)
        while len(self._next) > KEPT:
            self._next.popitem(last=False)

    def _classes(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return tuple(NUMBER if token in self._numbers else token for token in tokens)
