"""ROUGE, the overlap of a text with a reference: how near a free-form answer is to the true one.

Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, with beta = 1. Words are runs of letters
and digits in lower case, not stemmed; each Chinese character is a word of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
MAX_WORDS = 2000
"""Words of either text that are compared: the longest common subsequence takes time with their product."""


def rouge(text: str, reference: str) -> float:
    """Mean F of ROUGE-1, ROUGE-2 and ROUGE-L, 0..1, as Open-o3 Video rewards free-form answers."""
    said, true = words(text), words(reference)
    return (rouge_n(said, true, 1) + rouge_n(said, true, 2) + rouge_l(said, true)) / 3


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())[:MAX_WORDS]


def rouge_n(said: Sequence[str], true: Sequence[str], n: int) -> float:
    """F of shared runs of n words, each counted as often as both have it."""
    ours, theirs = (Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for text in (said, true))
    return _f((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(said: Sequence[str], true: Sequence[str]) -> float:
    """F of the longest common subsequence."""
    row = [0] * (len(true) + 1)
    for word in said:
        before = 0
        for place, other in enumerate(true, start=1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return _f(row[-1], len(said), len(true))


def _f(shared: int, said: int, true: int) -> float:
    return 2 * shared / (said + true) if shared else 0.0
