"""One sampled answer: which of the likeliest tokens is taken at each place, by numbers that its seed fixes. Pure.

Drawn from the `TOP` likeliest tokens only (Qwen3-VL's own settings sample from as many): the long tail is where an
answer breaks its form. The same seed and path give the same numbers whatever else is written in the same pass, so that
a window that is looked at again is answered again in the same words.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


class Draw:
    """The numbers of one path."""

    def __init__(self, temperature: float, seed: int, path: int, limit: int) -> None:
        """temperature: above 0. limit: most tokens that will be drawn."""
        numbers = random.Random(f"{seed}/{path}")
        self._temperature = temperature
        self._numbers = [numbers.random() for _ in range(limit)]

    def token(self, logprobs: Sequence[float], ids: Sequence[int], place: int) -> int:
        """The token at a place of the answer, given its likeliest tokens, the likeliest first.

        In the order of their ids, for two that are all but equally likely may come in either order.
        """
        ordered = sorted(zip(ids, logprobs, strict=True))
        shares = [math.exp((logprob - logprobs[0]) / self._temperature) for _, logprob in ordered]
        left = self._numbers[place] * sum(shares)
        for (token, _), share in zip(ordered, shares, strict=True):
            left -= share
            if left < 0:
                return token
        return ids[0]
