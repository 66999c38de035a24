"""The model asked once more: its words are read as its first ones were, and a failure leaves a doubt, not a loss."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from reasoner import degenerate
from reasoner.boxes import Box
from reasoner.decision import token_probability
from reasoner.errors import ReasonerError
from reasoner.evidence import Binding, Frame, bind
from reasoner.parse import Parsed, parse
from reasoner.verdict import CheckStatus, Recheck, RecheckKind

if TYPE_CHECKING:
    from detector.rule import Rule
    from detector.window import Window
    from reasoner.backends import Output
    from reasoner.pictures import Pixels
    from reasoner.reason import Reasoner

log = logging.getLogger(__name__)
T = TypeVar("T")
UNKNOWN = 0.5
"""The score of a recheck that tells nothing."""


class Reply(NamedTuple):
    """What a model said when it was asked once more."""

    output: Output
    parsed: Parsed
    binding: Binding
    fault: degenerate.Fault | None
    p_yes: float
    """0..1; UNKNOWN with a fault that leaves no yes and no no. A yes whose evidence lies outside is a yes."""

    @property
    def answered(self) -> bool:
        """Whether it is a yes or a no at all, be it with evidence or without."""
        return self.fault in (None, "evidence_out_of_range")


def read(
    reasoner: Reasoner, window: Window, rule: Rule, view: Box, pictures: Sequence[Pixels], output: Output
) -> Reply:
    """An output → its answer, its claims bound to the window's frames, and what keeps it from being an answer. Pure.

    pictures: uint8 (H, W, 3) or (2, H, W, 3) each, as shown, of `view`.
    """
    backend = reasoner.backend
    times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
    parsed = parse(output.text, times_s[-1])
    height, width = pictures[0].shape[-3:-1]
    binding = bind(parsed.claims, times_s, Frame(backend.coordinates, view, backend.fitted(width, height)))
    # A model with one form of answer has no language to be held to.
    brief = backend.notes is not None and backend.notes.prompt == "brief"
    fault = degenerate.fault(output, parsed, binding, None if brief else rule.language)
    reply = Reply(output, parsed, binding, fault, UNKNOWN)
    if not reply.answered:
        return reply
    p_yes = token_probability(output, parsed.yes, backend.notes)
    return reply._replace(p_yes=min(1.0, max(0.0, p_yes)))


def recheck(kind: RecheckKind, status: CheckStatus, score: float, began_s: float, output: Output) -> Recheck:
    """The record of one. began_s: on the monotonic clock of `time.perf_counter`."""
    return Recheck(
        kind=kind,
        status=status,
        score=round(min(1.0, max(0.0, score)), 6),
        cost_s=round(time.perf_counter() - began_s, 4),
        tokens=output.tokens_in + output.tokens_out,
    )


def unclear(kind: RecheckKind, began_s: float, output: Output) -> Recheck:
    """The record of one whose answer says nothing, so that nothing follows from it."""
    return Recheck(
        kind=kind,
        status="unchecked",
        score=UNKNOWN,
        cost_s=round(time.perf_counter() - began_s, 4),
        tokens=output.tokens_in + output.tokens_out,
        outcome="unclear",
    )


def attempt(kind: RecheckKind, ask: Callable[[], T]) -> T | Recheck:
    """What `ask` returns; where the model or server fails, the record of that: a recheck is optional, and what was
    found without it stays, for a person to look at."""
    began_s = time.perf_counter()
    try:
        return ask()
    except ReasonerError as error:
        log.warning("recheck %r failed, the verdict goes to review: %s", kind, error)
        return Recheck(
            kind=kind,
            status="unchecked",
            score=UNKNOWN,
            cost_s=round(time.perf_counter() - began_s, 4),
            tokens=0,
            outcome="failed",
        )
