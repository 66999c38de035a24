"""Several answers of a server to one question: in one request where it can do that, else one after the other. Pure.

vLLM adds the number of an answer to the seed. A server that gives one seed to all answers of a request (SGLang with
deterministic inference) says the same thing each time; so where all are the same, the second is asked for once more by
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reasoner.backends import Output


class Several(NamedTuple):
    """The answers, and what keeps them from coming in one request; empty where nothing does."""

    outputs: list[Output]
    apart: str


def several(ask: Callable[[int, int], list[Output]], count: int, *, at_once: bool) -> Several:
    """ask: (number of the first, how many) → the answers, fewer where the server does not know how to give as many.

    Raises what `ask` raises, which for a single answer gives exactly one.
    """
    outputs = ask(0, count) if at_once and count > 1 else []
    apart = "" if len(outputs) == count or not at_once or count == 1 else "does not give several answers to one request"
    if len(outputs) == count > 1 and len({output.text for output in outputs}) == 1:
        (second,) = ask(1, 1)
        if second.text != outputs[0].text:
            outputs = [outputs[0], second]
            apart = "gives all answers of a request one seed"
    for index in range(len(outputs), count):
        outputs += ask(index, 1)
    return Several(outputs, apart)
