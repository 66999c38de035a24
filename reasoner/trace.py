"""What a model thought of its own words: the probability of a yes, read from its token probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reasoner.folder import Notes

YES = frozenset({"yes", "是", "是的", "有", "存在"})
NO = frozenset({"no", "否", "没有", "没", "无", "不", "不是"})
TOP = 20
"""Alternatives kept per token."""


class Token(NamedTuple):
    """One generated token and the likeliest alternatives at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]
    """(text, log-probability), likeliest first; includes the token itself."""


def yes_probability(tokens: Sequence[Token], notes: Notes | None = None) -> float | None:
    """P(yes | yes or no) at the answer's first word; times that of the deciding first thought where a model has one.

    None when the answer begins with neither: see `mean_probability`.
    """
    answer = _after(tokens, "<answer>")
    if answer is None:
        # The first word after the thoughts, which a chat template may have opened; of all where there are none.
        answer = _after(tokens, "</think>")
    if answer is None and not any("<" in token.text for token in tokens[:1]):
        answer = _first_word(tokens, 0)
    if answer is None or _word(tokens[answer].text) not in YES | NO:
        return None
    p = _share(tokens[answer].top, YES, NO)
    if notes is not None and notes.decision_token == "think_first":
        first = _after(tokens, "<think>")
        if first is not None:
            yes, no = notes.decision_words
            p *= _share(tokens[first].top, {_word(yes)}, {_word(no)})
    return p


def mean_probability(tokens: Sequence[Token]) -> float:
    """Geometric mean of the tokens of the answer (of all tokens where none is marked); 0 without tokens."""
    start = _after(tokens, "<answer>")
    answer = list(tokens[start:] if start is not None else tokens)
    if not answer:
        return 0.0
    return math.exp(sum(math.log(max(1e-13, chance(token.logprob))) for token in answer) / len(answer))


def chance(logprob: float) -> float:
    """0..1, whatever a server says: a log-probability above 0 is taken for 0, one that is no number for no chance."""
    return 0.0 if math.isnan(logprob) else math.exp(min(0.0, logprob))


def _after(tokens: Sequence[Token], tag: str) -> int | None:
    """Index of the first word after the last `tag`; a tag may be one token or several."""
    text = ""
    found: int | None = None
    for index, token in enumerate(tokens):
        text = (text + token.text)[-64:]
        if text.rstrip().endswith(tag):
            found = index + 1
    return None if found is None else _first_word(tokens, found)


def _first_word(tokens: Sequence[Token], start: int) -> int | None:
    return next((i for i in range(start, len(tokens)) if tokens[i].text.strip()), None)


def _word(text: str) -> str:
    return text.strip().strip(".,:!。，：").lower()


def _share(top: Iterable[tuple[str, float]], yes: Iterable[str], no: Iterable[str]) -> float:
    good, bad = set(yes), set(no)
    p_yes = sum(chance(logprob) for text, logprob in top if _word(text) in good)
    p_no = sum(chance(logprob) for text, logprob in top if _word(text) in bad)
    return p_yes / (p_yes + p_no) if p_yes + p_no > 0 else 0.5
