"""Which category a free question is about, by the words of a model's notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def category_of(question: str, keywords: Mapping[str, Sequence[str]]) -> str | None:
    """The category whose words a question holds most of; None with none. English words match at their start."""
    text = question.lower()
    hits = {category: sum(_holds(text, word.lower()) for word in words) for category, words in keywords.items()}
    best = max(hits, key=lambda category: hits[category], default=None)
    return best if best is not None and hits[best] else None


def _holds(text: str, word: str) -> bool:
    if not word.isascii():
        return word in text
    return re.search(rf"(?<![a-z]){re.escape(word)}", text) is not None
