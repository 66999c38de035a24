"""The masked counterfactual: with what is cited taken out of every frame, a yes that rests on it must go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.again import read, recheck, unclear
from reasoner.evidence import Bound
from reasoner.verdict import Recheck

if TYPE_CHECKING:
    from detector.rule import Rule
    from detector.window import Window
    from reasoner.reason import Reasoner

SUPPORTS_FROM, CONTRADICTS_BELOW = 0.5, 0.2


def counterfactual(reasoner: Reasoner, window: Window, rule: Rule, bound: Sequence[Bound], yes: float) -> Recheck:
    """Ask again with the boxes filled by what the camera usually shows there. yes: its probability before.

    The score is the share of it that is gone; an output that is neither a yes nor a no is `unclear`. Raises as
    `Backend.answer` and `pictures.look` do.
    """
    from reasoner.ablation import masked
    from reasoner.pictures import look

    began_s = time.perf_counter()
    seen = look(masked(window, bound), reasoner.target())
    prompt = reasoner.prompt(seen, reasoner.question(rule), rule.language, "")
    output = reasoner.backend.answer(prompt, seen.pictures)
    reply = read(reasoner, window, rule, seen.view, seen.pictures, output)
    if not reply.answered:
        return unclear("masked", began_s, output)
    score = min(1.0, max(0.0, (yes - reply.p_yes) / max(yes, 1e-6)))
    status = "supported" if score >= SUPPORTS_FROM else "contradicted" if score < CONTRADICTS_BELOW else "unchecked"
    return recheck("masked", status, score, began_s, output)  # type: ignore[arg-type]
