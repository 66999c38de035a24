"""The verdict's token read first: a sure no ends there, and evidence is written for the rest from the same keys.

A model that decides with the first word of its thinking is read there. Any other is made to begin with `<answer>`, its
P(yes) is read, and the words put into its mouth are taken back before it writes its answer. This changes what a no
looks like, and for other models what it is based on: it is off unless asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from reasoner.folder import Notes
from reasoner.trace import Token, yes_probability

ANSWER = "<answer>"


class Early(NamedTuple):
    """When an answer may end with its first word."""

    below: float
    """Probability of a yes below which it does."""
    notes: Notes | None
    forced: tuple[int, ...]
    """Tokens of `<answer>`, after which the verdict is read; empty for a model whose first thought decides."""

    def no_after(self, tokens: Sequence[Token]) -> tuple[str, tuple[Token, ...]] | None:
        """The short form of a sure no and its tokens; None: write on. tokens: the forced or written ones so far, and
        the word that decides."""
        if self.forced:
            p = yes_probability(tokens)
            if p is None or not p < self.below:
                return None
            return f"{ANSWER}{tokens[-1].text}</answer>", tuple(tokens)
        assert self.notes is not None
        yes, no = self.notes.decision_words
        word = tokens[-1].text.strip()
        p_yes, p_no = (sum(math.exp(lp) for text, lp in tokens[-1].top if text.strip() == each) for each in (yes, no))
        if word != no or p_yes + p_no <= 0 or p_yes / (p_yes + p_no) >= self.below:
            return None
        p = max(p_yes / (p_yes + p_no), 1e-9)
        # The answer is not asked for: it carries the odds of the thought.
        answer = Token("No", math.log1p(-p), (("No", math.log1p(-p)), ("Yes", math.log(p))))
        written = (*tokens, Token("</think>", 0.0, ()), Token(ANSWER, 0.0, ()), answer, Token("</answer>", 0.0, ()))
        return "".join(token.text for token in written), written
