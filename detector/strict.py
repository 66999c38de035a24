"""Thresholds for a scorer that stands by itself: where nothing happens, all categories together flag next to nothing.

Serving does not flag by them, for the reasoner behind it rejects a false window at little cost. They are those of
single frames, and say of a frame whether the scorer is sure of it; and of the scorer how good it is: the way from the
served thresholds to them, and on, is the curve that a benchmark follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detector import film
from detector.config import GateConfig
from detector.gate import Gate
from detector.rule import Rule
from detector.seen import Seen, interval_s
from ingest.simulator.world import Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUIET_SEED = 4_000_000
QUIET_SCENE_S = 120.0
QUIET_KINDS = ("walking", "nothing")
RATE = 0.1
"""Windows per quiet minute that all categories together may flag."""
AROUND_S = 2.0
"""Quiet is what lies further than this from every event and look-alike."""
LOGITS = np.arange(-6.0, 6.01, 0.15)
COSTS = np.geomspace(0.003, 30, 120)
"""Share of a category's events that one false window per quiet minute is worth: tried in turn, the cheapest first."""


class Option(NamedTuple):
    """What one threshold of one category would give."""

    threshold: float
    recall: float
    false: float
    """Windows per quiet minute."""


def quiet_scene(seed: int) -> Scene:
    """A long scene in which at most people walk by."""
    kinds = [str(kind) for kind in np.random.default_rng([seed, 81]).choice(QUIET_KINDS, 40)]
    return Scene(seed, QUIET_SCENE_S, kinds=kinds)


def quiet_frames(seen: Seen) -> NDArray[np.bool_]:
    """bool (frames,): nothing that is or looks like an event is near."""
    out = np.ones(len(seen.t_s), bool)
    for index, scene in enumerate(seen.scenes):
        happening = [each for each in (*scene.events, *scene.lookalikes) if each.label not in QUIET_KINDS]
        for row in np.flatnonzero(seen.scene == index):
            t_s = float(seen.t_s[row])
            out[row] = not any(each.start_s - AROUND_S <= t_s <= each.end_s + AROUND_S for each in happening)
    return out


def peaks(scores: NDArray[np.float32], seen: Seen, category: str) -> NDArray[np.float64]:
    """Best score of each event of a category while it can be seen, for each wording: float64 (events * wordings,).

    scores: float32 (frames, wordings). Events that no frame shows are left out.
    """
    out = [np.zeros(0)]
    for index, scene in enumerate(seen.scenes):
        for event in scene.events:
            if event.label == category:
                rows = np.flatnonzero((seen.scene == index) & (seen.t_s >= event.evident_s) & (seen.t_s <= event.end_s))
                if any(film.shown(scene, event, t_s) for t_s in seen.t_s[rows].tolist()):
                    out.append(scores[rows].max(axis=0).astype(np.float64))
    return np.concatenate(out)


def options(played: Sequence[tuple[NDArray[np.float32], Seen]], best: NDArray[np.float64]) -> list[Option]:
    """One category at each threshold of `LOGITS`, which ascend.

    played: scores, float32 (frames, wordings), with the scenes that they are of; best: see `peaks`.
    """
    thresholds = 1 / (1 + np.exp(-LOGITS))
    false, quiet_s = np.zeros(len(thresholds)), 0.0
    for scores, seen in played:
        still = quiet_frames(seen)
        quiet_s += float(still.sum()) * interval_s(seen) * scores.shape[1]
        for index in range(len(seen.scenes)):
            inside = seen.scene == index
            for column in scores[inside].astype(np.float64).T:
                highest = column[still[inside]].max(initial=0.0)
                for place in np.flatnonzero(thresholds <= highest):
                    false[place] += _false_windows(column, seen.t_s[inside], still[inside], float(thresholds[place]))
    per_minute = false * 60 / max(quiet_s, 1e-9)
    recall = [(best >= threshold).mean() if best.size else 1.0 for threshold in thresholds]
    return [
        Option(float(threshold), float(found), float(flagged))
        for threshold, found, flagged in zip(thresholds, recall, per_minute, strict=True)
    ]


def choose(table: Mapping[str, Sequence[Option]], rate: float = RATE) -> dict[str, float]:
    """One threshold per category: the greatest mean recall at which all together flag at most `rate`.

    Where several do equally well, the middle one: the next scenes differ a little from these.
    """
    picked: dict[str, Option] = {}
    for cost in COSTS:
        picked = {category: _best(rows, float(cost)) for category, rows in table.items()}
        if sum(option.false for option in picked.values()) <= rate:
            break
    return {category: option.threshold for category, option in picked.items()}


def _best(rows: Sequence[Option], cost: float) -> Option:
    worth = [row.recall - cost * row.false for row in rows]
    best = max(worth)
    equal = [row for row, value in zip(rows, worth, strict=True) if value >= best - 1e-9]
    return equal[len(equal) // 2]


def _false_windows(
    column: NDArray[np.float64], times: NDArray[np.float64], still: NDArray[np.bool_], threshold: float
) -> int:
    """Windows that the gate would cut of one camera and that begin in quiet."""
    gate = Gate([_RULE], [threshold], GateConfig(alone_from_s=0))
    spans = []
    for t_s, score in zip(times.tolist(), column.tolist(), strict=True):
        spans += gate.update("scene", 0, _ns(t_s), [score])
    spans += gate.flush(_ns(float(times[-1])))
    begins = {_ns(t_s): bool(quiet) for t_s, quiet in zip(times.tolist(), still.tolist(), strict=True)}
    return sum(begins[span.first_hot_utc_ns] for span in spans)


_RULE = Rule(id="any", category="fall", watch="anything at all", question="?")


def _ns(t_s: float) -> int:
    return round(t_s * 1e9) + 1
