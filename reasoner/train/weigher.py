"""Flagged windows of scenes, each answered as live and once more with its evidence spoilt: what a fit learns from."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from detector import film
from detector.folder import read_folder
from detector.rule import Rule
from detector.staged import stage_window
from detector.window import Window
from reasoner.ablation import blanked, confidence, hear, held_against, shuffled
from reasoner.config import ReasonerConfig
from reasoner.decision import sureness
from reasoner.reason import Reasoner
from reasoner.train.clips import answer_of
from reasoner.train.errors import TrainFailed
from reasoner.train.shots import rule_of, spans

SPOILT = ("blank", "shuffle", "shift")
SHIFT_S = 5.0
SCENE_S = 60.0
EVENTFUL_EACH = 3
"""One scene of so many has events in it, which give most of the windows: then two windows of five are to be answered by
yes, and not five of six as where something happens all the time."""
IDLE_SCENES = 40


class Weighed(NamedTuple):
    """One window's answer."""

    said: bool
    """A yes with evidence, however unsure."""
    true: bool
    parts: dict[str, float]
    spoilt: dict[str, dict[str, float]]
    """The components once the cited evidence is spoilt, by `SPOILT`; empty without a yes that shows something."""

    def counts(self, least: float) -> bool:
        """Whether it is a yes where one counts from `least` on."""
        return self.said and sureness(self.parts) >= least


class Weigher:
    """Weighs every flagged window of a scene of which the truth can be told. Goes to other processes unopened."""

    def __init__(self, model: str, scorer: str = "bundled", threads: int = 1) -> None:
        self.model, self.scorer, self.threads = model, scorer, threads
        self._reasoner: Reasoner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reasoner": None}

    def __call__(self, seed: int) -> list[Weighed]:
        """The windows of the scene of a seed, in order of time."""
        reasoner = self._reasoner = self._reasoner or Reasoner.load(
            # Nobody closes a weigher, and its worker is a process already.
            ReasonerConfig(model=self.model, threads=self.threads, isolate=False)
        )
        known = read_folder(self.scorer).record.categories
        rules = [rule for category in sorted(known) if reasoner.supports(rule := rule_of(category)) is None]
        by_id = {rule.id: rule for rule in rules}
        rng = np.random.default_rng([seed, 79])
        scene = (film.make_scene if seed % EVENTFUL_EACH == 0 else film.eventless_scene)(seed, SCENE_S)
        out = []
        for span, start_s, end_s in spans(scene, seed, rules, self.scorer, self.threads):
            rule = by_id[span.rule_id]
            truth = answer_of(scene.events, rule.category, start_s, end_s)
            if truth is None:
                continue
            camera = functools.partial(
                stage_window,
                scene,
                length_s=end_s - start_s,
                rule_id=rule.id,
                fps=float(rng.choice([8, 10, 12.5, 25])),
                quality=int(rng.integers(40, 90)),
                score=span.score,
            )
            window = camera(start_s, peak_s=(span.peak_utc_ns - film.START_NS) / 1e9)
            then = camera(start_s - SHIFT_S if start_s >= SHIFT_S else start_s + SHIFT_S)
            out.append(weigh(reasoner, window, rule, truth is not False, then, seed))
        return out


def weighed_scenes(weigher: Weigher, first_seed: int, workers: int) -> Iterator[tuple[int, list[Weighed]]]:
    """(seed, windows) of the scenes from first_seed on, in their order, for as long as somebody asks.

    Raises TrainFailed after `IDLE_SCENES` in a row without a window.
    """
    idle = 0
    for seed, windows in _in_order(weigher, first_seed, workers):
        idle = 0 if windows else idle + 1
        if idle == IDLE_SCENES:
            raise TrainFailed(
                f"scorer {weigher.scorer!r} flags nothing in {IDLE_SCENES} scenes from seed {seed - idle + 1} on that "
                f"model {weigher.model!r} could be asked about; do they know the same categories?"
            )
        yield seed, windows


def _in_order(weigher: Weigher, first_seed: int, workers: int) -> Iterator[tuple[int, list[Weighed]]]:
    if workers == 1:
        yield from ((seed, weigher(seed)) for seed in itertools.count(first_seed))
        return
    # A fresh process each: one that was forked from a process in which torch has threads may wait for them for ever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(weigher,)) as pool:
        for block in itertools.count(first_seed, workers):
            seeds = range(block, block + workers)
            yield from zip(seeds, pool.map(_weighed, seeds), strict=True)


_weigher: list[Weigher] = []


def _begin(weigher: Weigher) -> None:
    _weigher.append(weigher)


def _weighed(seed: int) -> list[Weighed]:
    return _weigher[-1](seed)


def weigh(reasoner: Reasoner, window: Window, rule: Rule, true: bool, then: Window, seed: int = 0) -> Weighed:
    """Ask, and once more for each way in which the evidence of a yes can be spoilt.

    then: the same camera `SHIFT_S` earlier or later: with its frames, the claims speak of a wrong time.
    """
    heard = hear(reasoner, window, rule, "")
    parts = confidence(reasoner, heard, heard).components
    said = heard.parsed.yes is True and bool(heard.binding.bound)
    spoilt = {}
    if said:
        ways = {
            "blank": blanked(window, heard.binding.bound),
            "shuffle": shuffled(window, np.random.default_rng([seed, 5])),
        }
        for kind, other in ways.items():
            spoilt[kind] = confidence(reasoner, heard, hear(reasoner, other, rule, "")).components
        there = held_against(reasoner, heard, then)
        spoilt["shift"] = confidence(reasoner, there, there).components
    return Weighed(said, true, parts, spoilt)
