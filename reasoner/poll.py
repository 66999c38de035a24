"""The poll: the same window, asked several times with chance in the answers, which vote.

Each answer takes the way of the first one: it is parsed, bound to exact frames, and held against the pixels.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reasoner.again import read
from reasoner.decision import stands_in
from reasoner.verdict import Recheck
from reasoner.vote import Path, Tally, tally

if TYPE_CHECKING:
    from detector.rule import Rule
    from detector.window import Window
    from ingest.config import Point
    from reasoner.backends import Output
    from reasoner.pictures import Look
    from reasoner.reason import Reasoner


class Polled(NamedTuple):
    """The votes, and the record of having asked."""

    tally: Tally
    recheck: Recheck


def poll(reasoner: Reasoner, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]], seen: Look) -> Polled:
    """Ask `[reasoner] samples` times, without the camera's name. Raises as `Backend.answer` does."""
    began_s = time.perf_counter()
    config = reasoner.config
    prompt = reasoner.prompt(seen, reasoner.question(rule), rule.language, "")
    outputs = reasoner.backend.sample(
        prompt, seen.pictures, config.samples, config.sample_temperature, seed_of(window.window_id)
    )
    votes = tally(judged(reasoner, window, rule, zones, seen, output) for output in outputs)
    return Polled(
        votes,
        Recheck(
            kind="samples",
            status=votes.status,
            score=round(votes.share, 6),
            cost_s=round(time.perf_counter() - began_s, 4),
            # One prompt: it is read once, where the model or server shares it.
            tokens=max(output.tokens_in for output in outputs) + sum(output.tokens_out for output in outputs),
        ),
    )


def judged(
    reasoner: Reasoner,
    window: Window,
    rule: Rule,
    zones: Mapping[str, Sequence[Point]],
    seen: Look,
    output: Output,
) -> Path:
    """What one answer says, and how far the pixels bear out what it cites.

    A yes that cites nothing usable, or nothing inside the rule's zones, has no support; a no that cites nothing has as
    much as there is where nothing can be told.
    """
    from reasoner.verify import NEUTRAL, verify

    reply = read(reasoner, window, rule, seen.view, seen.pictures, output)
    parsed, binding = reply.parsed, reply.binding
    if parsed.yes is None or not reply.answered:
        return Path(None, 0.0)
    if not binding.bound:
        silent = not parsed.yes and not binding.failures
        return Path(parsed.yes, NEUTRAL if silent else 0.0)
    if parsed.yes and rule.zones and not stands_in(binding.bound, rule.zones, zones):
        return Path(True, 0.0)
    times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
    agreement = verify(binding.bound, binding.failures, seen.maps, seen.activity, times_s, parsed.spans)
    return Path(parsed.yes, min(1.0, math.sqrt(max(0.0, agreement.boxes * agreement.times))))


def seed_of(window_id: str) -> int:
    """31 bits that only the window decides, so that who looks at it again draws the same answers."""
    return int.from_bytes(hashlib.sha256(window_id.encode()).digest()[:4], "big") >> 1
