"""The scorer alone: the gate played again over recorded scores, all thresholds a step stricter again and again.

* Quiet is camera time in which no event and no look-alike happens, nor did or will within two seconds: the place is
  empty or people simply walk. A window is false when the first frame over its threshold lies in quiet time, whatever
  its rule; windows of several rules at once count each, for the reasoner has to look at each.
* An event is found when a window of a rule of its category, padding included, shows enough of it for the question to be
  answered by yes (0.9 s in which it is evident). Recall is the share of all events.
* The model folder has two thresholds per category, both from scenes of its own calibration: the served one, and a
  strict one for a scorer without a reasoner behind it (detector/strict.py). A strictness of 0 is the former, 1 the
  latter; between and beyond them every threshold moves on its own straight line of log-odds. The operating point is
  the lowest strictness at which false windows are at most 0.1 per quiet minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bench.accuracy.camera import EPOCH_NS
from bench.accuracy.row import Watched
from detector.config import GateConfig
from detector.gate import Gate
from detector.rule import Rule
from detector.window import Span
from reasoner.train.clips import answer_of

AROUND_S = 2.0
FALSE_PER_MINUTE = 0.1
STRICTNESS = tuple(round(-0.5 + 0.025 * step, 3) for step in range(101))
_STEP_S = 0.1


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What thresholds of some strictness give."""

    strictness: float
    recall: float
    false_per_minute: float


class Thresholds(NamedTuple):
    """Of each rule."""

    served: tuple[float, ...]
    strict: tuple[float, ...]

    def at(self, strictness: float) -> list[float]:
        """The thresholds of some strictness."""
        pairs = zip(map(_logit, self.served), map(_logit, self.strict), strict=True)
        return [1 / (1 + math.exp(-(low + strictness * (high - low)))) for low, high in pairs]


def sweep(
    watched: Sequence[Watched], rules: Sequence[Rule], thresholds: Thresholds, gate: GateConfig
) -> tuple[Point | None, Point]:
    """The operating point (None: not even the strictest thresholds are quiet enough), and the served thresholds'."""
    shipped = point(watched, rules, thresholds, gate, 0.0)
    for strictness in STRICTNESS:
        found = point(watched, rules, thresholds, gate, strictness)
        if found.false_per_minute <= FALSE_PER_MINUTE:
            return found, shipped
    return None, shipped


def point(
    watched: Sequence[Watched], rules: Sequence[Rule], thresholds: Thresholds, gate: GateConfig, strictness: float
) -> Point:
    """Recall and false windows per quiet minute; recall 0 without events, and false 0 without quiet."""
    moved = thresholds.at(strictness)
    category = {rule.id: rule.category for rule in rules}
    events = found = false = 0
    for each in watched:
        spans = replay(each, rules, moved, gate)
        for event in each.events:
            events += 1
            found += any(
                category[span.rule_id] == event.label
                and answer_of((event,), event.label, _seconds(span.start_utc_ns), _seconds(span.end_utc_ns)) is event
                for span in spans
            )
        false += sum(is_quiet(each, _seconds(span.first_hot_utc_ns)) for span in spans)
    minutes = sum(quiet_s(each) for each in watched) / 60
    return Point(
        strictness=strictness,
        recall=found / events if events else 0.0,
        false_per_minute=false / minutes if minutes else 0.0,
    )


def replay(watched: Watched, rules: Sequence[Rule], thresholds: Sequence[float], config: GateConfig) -> list[Span]:
    """The spans that the gate flags for these scores."""
    gate = Gate(rules, thresholds, config)
    spans: list[Span] = []
    for utc_ns, row in watched.scores:
        spans += gate.update("camera", 0, utc_ns, row)
    return spans + gate.flush(watched.scores[-1][0] if watched.scores else 0)


def _logit(threshold: float) -> float:
    inside = min(1 - 1e-9, max(1e-9, threshold))
    return math.log(inside / (1 - inside))


def is_quiet(watched: Watched, t_s: float) -> bool:
    """Whether nothing happens around an instant that is or looks like an event."""
    return not any(
        each.start_s - AROUND_S <= t_s <= each.end_s + AROUND_S for each in (*watched.events, *watched.alike)
    )


def quiet_s(watched: Watched) -> float:
    """Seconds of quiet, to a tenth."""
    steps = round(watched.seconds / _STEP_S)
    return _STEP_S * sum(is_quiet(watched, (step + 0.5) * _STEP_S) for step in range(steps))


def _seconds(utc_ns: int) -> float:
    return (utc_ns - EPOCH_NS) / 1e9
