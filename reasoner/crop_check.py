"""The crop check: what an answer cites, shown again on its own, without the answer.

A model with a fixed input is asked its own question once more, about a view that holds the cited boxes and little else.
Any other model is shown the cited crops and rates how far they bear on the question: 0, 1 or 2, worth 0.2, 0.6 and 1.0
(Open-o3 Video's test-time check of evidence). Its word is read as the mean over its own odds of the three digits, and a
reply that is none of them is worth what a 0 is. An output of the fixed model that is no answer is `unclear`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.again import Reply, read, recheck, unclear
from reasoner.boxes import WHOLE, Box
from reasoner.evidence import Bound
from reasoner.prompt import Message, relevance
from reasoner.trace import Token, chance, yes_probability
from reasoner.verdict import Recheck

if TYPE_CHECKING:
    from detector.rule import Rule
    from detector.window import Window
    from reasoner.backends import Output
    from reasoner.pictures import Look, Pixels
    from reasoner.reason import Reasoner

WORTH = {"0": 0.2, "1": 0.6, "2": 1.0}
MOST_CROPS = 6
"""Crops of one question; of more, these are spread evenly over the cited ones."""
ROOM = 1.8
"""Side of the view against that of the cited boxes together: who acts is seen with whom and where."""
MARGIN = 0.15
"""Share of a box added on each side of its crop."""
SUPPORTS_FROM, CONTRADICTS_BELOW = 0.5, 0.3
_DIGIT = re.compile(r"(?<![\d.])[012](?!\.?\d)")


def crop_check(reasoner: Reasoner, window: Window, rule: Rule, seen: Look, bound: Sequence[Bound]) -> Recheck:
    """Ask about the cited boxes alone. bound: at least one. Raises as `Backend.answer` and `pictures.look` do."""
    began_s = time.perf_counter()
    notes = reasoner.backend.notes
    if notes is not None and notes.prompt == "brief":
        reply = look_closer(reasoner, window, rule, seen, bound)
        output = reply.output
        if not reply.answered:
            return unclear("crop", began_s, output)
        score = yes_probability(output.tokens, notes) or 0.0
    else:
        output = reasoner.backend.answer(*_about_crops(reasoner, window, rule, bound))
        score = rated(output)
    status = "supported" if score >= SUPPORTS_FROM else "contradicted" if score < CONTRADICTS_BELOW else "unchecked"
    return recheck("crop", status, score, began_s, output)  # type: ignore[arg-type]


def look_closer(reasoner: Reasoner, window: Window, rule: Rule, seen: Look, bound: Sequence[Bound]) -> Reply:
    """The window's question once more, of the same moments, with the view on the cited boxes."""
    from reasoner.pictures import look_again

    target = reasoner.target()
    width = window.cut.frames[0].size[0]
    view = view_around([item.box for item in bound], min(1.0, target.input_size[0] / width) if target.input_size else 0)
    pictures = look_again(window, target, seen, view)
    output = reasoner.backend.answer(reasoner.prompt(seen, reasoner.question(rule), rule.language, ""), pictures)
    return read(reasoner, window, rule, view, pictures, output)


def view_around(boxes: Sequence[Box], least: float) -> Box:
    """The region around all boxes, in the frame's aspect; `least`: smallest width as a share of the frame's."""
    x1, y1 = min(box.x1 for box in boxes), min(box.y1 for box in boxes)
    x2, y2 = max(box.x2 for box in boxes), max(box.y2 for box in boxes)
    share = max(least, ROOM * max(x2 - x1, y2 - y1))
    if share >= 1:
        return WHOLE
    left = min(max((x1 + x2 - share) / 2, 0.0), 1 - share)
    top = min(max((y1 + y2 - share) / 2, 0.0), 1 - share)
    return Box(left, top, left + share, top + share)


def rated(output: Output) -> float:
    """What a reply of 0, 1 or 2 is worth, 0.2..1; by the odds of the three digits where the server tells them."""
    for token in reversed(output.tokens):
        if token.text.strip() in WORTH:
            return _expected(token)
    found = _DIGIT.findall(output.text)
    return WORTH[found[-1]] if found else WORTH["0"]


def _expected(token: Token) -> float:
    odds = dict.fromkeys(WORTH, 0.0)
    for text, logprob in token.top or ((token.text, token.logprob),):
        if text.strip() in odds:
            odds[text.strip()] += chance(logprob)
    total = sum(odds.values())
    return sum(WORTH[digit] * share for digit, share in odds.items()) / total if total > 0 else WORTH["0"]


def _about_crops(
    reasoner: Reasoner, window: Window, rule: Rule, bound: Sequence[Bound]
) -> tuple[list[Message], list[Pixels]]:
    """The question about the crops, and the crops in source resolution."""
    from reasoner.pictures import decode

    step = (len(bound) - 1) / max(1, MOST_CROPS - 1)
    some = list(bound) if len(bound) <= MOST_CROPS else [bound[round(step * index)] for index in range(MOST_CROPS)]
    crops = []
    for item in some:
        picture = decode(window.cut.frames[item.frame].jpeg, f"frame {item.frame} of window {window.window_id}")
        x1, y1, x2, y2 = _widened(item.box).pixels((picture.shape[1], picture.shape[0]))
        crops.append(picture[y1:y2, x1:x2])
    return relevance(reasoner.question(rule), [item.label for item in some]), crops


def _widened(box: Box) -> Box:
    across, down = MARGIN * (box.x2 - box.x1), MARGIN * (box.y2 - box.y1)
    return Box(max(0.0, box.x1 - across), max(0.0, box.y1 - down), min(1.0, box.x2 + across), min(1.0, box.y2 + down))
