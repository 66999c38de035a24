"""The second look: before a person is bothered, the cited place is asked about again, closer and in more frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.again import read, recheck, unclear
from reasoner.crop_check import view_around
from reasoner.evidence import Bound
from reasoner.verdict import Recheck

if TYPE_CHECKING:
    from detector.rule import Rule
    from detector.window import Window
    from reasoner.reason import Reasoner

LEAST = 0.2
"""Smallest width of what is shown, as a share of the frame's: nearer by, nothing is seen of what is around."""
SUPPORTS_FROM, CONTRADICTS_BELOW = 0.6, 0.4


def second_look(reasoner: Reasoner, window: Window, rule: Rule, bound: Sequence[Bound]) -> Recheck:
    """The rule's question about the region around the cited boxes, whose pixels take the whole budget of a picture,
    with denser frames around the earliest cited moment. The score is the probability of a yes; an
    output that is no answer, or a yes that points at nothing that was shown, is `unclear`.

    For models that take frames at any times; one that was trained on a fixed spacing has the crop check alone. Raises
    as `Backend.answer` and `pictures.look` do.
    """
    from reasoner.denser import denser
    from reasoner.pictures import look, look_again

    began_s = time.perf_counter()
    onset_s = min(window.seconds(item.frame) for item in bound)
    dense = denser(window, onset_s)
    target = reasoner.target()
    seen = look(dense, target)
    view = view_around([item.box for item in bound], LEAST)
    pictures = look_again(dense, target, seen, view)
    output = reasoner.backend.answer(reasoner.prompt(seen, reasoner.question(rule), rule.language, ""), pictures)
    reply = read(reasoner, dense, rule, view, pictures, output)
    if reply.fault:
        return unclear("closer", began_s, output)
    score = reply.p_yes
    status = "supported" if score >= SUPPORTS_FROM else "contradicted" if score < CONTRADICTS_BELOW else "unchecked"
    return recheck("closer", status, score, began_s, output)  # type: ignore[arg-type]
