"""Windows of one camera that show some pictures again, against the same windows with nothing kept."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.reasoner.figures import Overlap
from bench.reasoner.passes import apart, clocked, first_token
from bench.roofline import timed
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Subject

KEY_INTERVAL_S = 1.0
"""Key frames of the camera whose windows slide."""
STEP_S = 0.5
"""Of fine frames, as shipped."""
CAMERAS = 5
"""Each measured once; the median counts."""


class Follow(NamedTuple):
    """Two windows of one camera, the second after the first, in fine frames."""

    name: str
    before: tuple[int, int]
    """First frame, and how many."""
    after: tuple[int, int]

    def of(self, group: int) -> Follow:
        """In pictures of `group` frames each."""
        (a, b), (c, d) = self.before, self.after
        return Follow(self.name, (a // group, b // group), (c // group, d // group))

    @property
    def again(self) -> int:
        """Pictures of the second window that were in the first."""
        return min(sum(self.before), sum(self.after)) - self.after[0]


def slid() -> Follow:
    """Two windows in a row of an event that lasts, as the gate that ships flags them."""
    from detector.config import GateConfig
    from detector.gate import Gate
    from detector.rule import Rule

    rule = Rule(id="r", category="fall", watch="w", question="?")
    gate = Gate([rule], [0.5], GateConfig())
    spans = [
        span for tick in range(20) for span in gate.update("c", 0, round(tick * KEY_INTERVAL_S * 1e9), [1.0])
    ]  # fmt: skip
    one, other = spans[-2:]
    step_ns = round(STEP_S * 1e9)
    length = (other.end_utc_ns - other.start_utc_ns) // step_ns + 1
    return Follow("slid", (0, length), ((other.start_utc_ns - one.start_utc_ns) // step_ns, length))


def grown(pictures: int) -> Follow:
    """The best case, which an open window would be that is looked at again: it begins alike."""
    return Follow("grown", (0, pictures - 1), (0, pictures))


def overlap(model: Subject, device: str, follow: Follow) -> Overlap:
    """To the first token. Both of the second window's figures are taken in turns; each camera is new."""
    from bench.windows import QUESTIONS, drawn

    anew, kept = model.load(SpeedConfig(features_mib=0, prefix_mib=0)), model.load(SpeedConfig(prefix_mib=2048))
    for backend in (anew, kept):
        first_token(backend, drawn(backend, 2, 99))
    (first, count), (after, more) = follow.before, follow.after
    anew_s, reused_s, other_s, off = [], [], [], []
    for seed in range(CAMERAS):
        ask = drawn(anew, more, seed, first=after)
        first_token(kept, drawn(kept, count, seed, first=first))
        whole, whole_s = clocked(partial(first_token, anew, ask), device)
        part, part_s = clocked(partial(first_token, kept, ask), device)
        question = drawn(kept, more, seed, QUESTIONS[1], first=after)
        anew_s.append(whole_s)
        reused_s.append(part_s)
        other_s.append(timed(partial(first_token, kept, question), device))
        off.append(apart(whole, part))
    return Overlap(
        name=follow.name,
        pictures=more,
        seen_before=follow.again,
        anew_ms=1000 * median(anew_s),
        reused_ms=1000 * median(reused_s),
        ratio=median(anew_s) / median(reused_s),
        max_logprob_difference=max(off),
        other_question_ms=1000 * median(other_s),
    )
