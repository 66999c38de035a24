"""Outputs that are no answer: what is wrong with one, in a word. Pure.

A no is an answer; text that never ends, or says nothing, is not. Taken for a no it would silence an alert, so it goes
by a name of its own (`Fault`) and, where the first look saw enough, to a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from reasoner.backends import Output
from reasoner.config import Language
from reasoner.evidence import Binding
from reasoner.parse import Parsed
from reasoner.trace import Token

Fault = Literal[
    "output_empty",
    "output_endless",
    "output_repeats",
    "output_language",
    "output_unclear",
    "evidence_out_of_range",
    "probabilities_invalid",
    "model_failed",
]
"""`output_empty`: no answer and no claim. `output_endless`: cut at the limit of new tokens before an answer.
`output_repeats`: it turned in circles. `output_language`: in another language than was asked for. `output_unclear`:
neither a yes nor a no that could be made out. `evidence_out_of_range`: a yes whose times or boxes all lie outside of
what was shown. `probabilities_invalid`: token probabilities that are no numbers. `model_failed`: no output at all, the
model failed or could not be reached in time."""

ROUNDS = 8
"""The same words so many times in a row are a circle."""
LEAST_CIRCLE = 48
"""Characters of the shortest circle: a row of dots is none."""
_CIRCLE = re.compile(r"(.{1,60}?)\1{%d,}" % (ROUNDS - 1), re.DOTALL)  # noqa: UP031  # braces are the expression's own
_LONGEST_LOOK = 8192
_TAGS = re.compile(r"<[^<>]*>")
_LEAD = re.compile(r"^\s*(?:yes|no)\b", re.IGNORECASE)
_LEAST_LETTERS = 12


def fault(output: Output, parsed: Parsed, binding: Binding, lang: Language | None) -> Fault | None:
    """What keeps an output from being an answer; None for an answer, be it right or wrong.

    lang: what was asked for; None for a model that knows one form only, whose language is no sign of anything.
    """
    if not numbers(output.tokens):
        return "probabilities_invalid"
    if not _TAGS.sub("", output.text).strip():
        return "output_empty"
    if repeats(output.text):
        return "output_repeats"
    if not output.finished and "</answer>" not in output.text:
        return "output_endless"
    if parsed.answer is None:
        return "output_unclear"
    if not parsed.answer.strip():
        return "output_empty"
    if lang is not None and foreign(parsed.answer, lang):
        return "output_language"
    if parsed.yes is None:
        return "output_unclear"
    if parsed.yes and binding.failures and not binding.bound:
        return "evidence_out_of_range"
    return None


def numbers(tokens: Sequence[Token]) -> bool:
    """Whether every probability is one: no NaN, nothing above 1. Minus infinity is the logarithm of 0."""
    return all(
        not math.isnan(logprob) and logprob <= 1e-3
        for token in tokens
        for logprob in (token.logprob, *(value for _, value in token.top))
    )


def repeats(text: str) -> bool:
    """Whether the end of a text, or its thinking, goes round and round."""
    for part in (text[-_LONGEST_LOOK:], text[:_LONGEST_LOOK]):
        if any(len(found[0]) >= LEAST_CIRCLE and found[1].strip(" .-_=*\n") for found in _CIRCLE.finditer(part)):
            return True
        if len(text) <= _LONGEST_LOOK:
            break
    return False


def foreign(answer: str, lang: Language) -> bool:
    """Whether an answer is in another language than was asked for, as far as its letters tell.

    The yes or no at its start is asked for in English in either language, so it does not count.
    """
    letters = [c for c in _LEAD.sub("", answer) if c.isalpha()]
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in letters)
    latin = sum(c < "\u0250" for c in letters)
    if lang == "zh":
        return chinese == 0 and len(letters) >= _LEAST_LETTERS
    return 2 * latin < len(letters)
