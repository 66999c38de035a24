"""Guesses of what comes next, made of what was written before; the model checks several tokens in one pass.

Answers of one model look alike: tags, names of things, whole sentences of a no. A guess that the model would not have
chosen is thrown away with everything after it, so that the tokens are those of plain greedy decoding, and their
probabilities too. This is what makes a no cheap: its first word decides, the rest is one or two passes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

LENGTHS = (6, 3, 2, 1)
"""Tokens by whose likeness the continuation is found, longest first."""
KEPT = 16384
"""Contexts that are remembered."""


class Drafts:
    """What followed which tokens when they were last written. Not for several threads at once."""

    def __init__(self, tokens: int) -> None:
        """tokens: most tokens of a guess; 0: none is made."""
        self.tokens = tokens
        self._next: OrderedDict[tuple[int, ...], tuple[int, ...]] = OrderedDict()
        self.offered = 0
        self.accepted = 0

    def after(self, written: Sequence[int], most: int) -> tuple[int, ...]:
        """A guess of the next tokens, at most `most` of them; empty when nothing like it was seen."""
        most = min(most, self.tokens)
        if most <= 0:
            return ()
        for length in LENGTHS:
            if length <= len(written):
                found = self._next.get(tuple(written[-length:]))
                if found is not None:
                    return found[:most]
        return ()

    def learn(self, written: Sequence[int]) -> None:
        """Remember a whole answer."""
        if not self.tokens:
            return
        for length in LENGTHS:
            for stop in range(length, len(written)):
                context = tuple(written[stop - length : stop])
                self._next[context] = tuple(written[stop : stop + self.tokens])
                self._next.move_to_end(context)
        while len(self._next) > KEPT:
            self._next.popitem(last=False)
