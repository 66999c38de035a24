"""Flagged windows of scenes, each answered as live and once more with its evidence spoilt: what a fit learns from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from detector import captions, film
from detector.config import DetectorConfig, GateConfig
from detector.folder import read_folder
from detector.measure import watch
from detector.rule import Rule
from detector.scorer import Scorer
from detector.staged import stage_window
from detector.window import Window
from ingest.simulator.world import Scene
from reasoner.ablation import blanked, confidence, hear, shuffled
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from reasoner.train.clips import answer_of
from reasoner.train.questions import questions

SPOILT = ("blank", "shuffle")
SCENE_S = 60.0
SHORTEST_S = 4.0
"""A window that the beginning of a scene cuts to less is left out."""


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
        return self.said and self.parts["vlm_token"] >= least


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
            ReasonerConfig(model=self.model, threads=self.threads)
        )
        settings = DetectorConfig(model=self.scorer, engine="onnx", threads=self.threads)
        known = read_folder(self.scorer).record.categories
        rules = [rule for category in sorted(known) if reasoner.supports(rule := rule_of(category)) is None]
        by_id = {rule.id: rule for rule in rules}
        rng = np.random.default_rng([seed, 79])
        scene, eyes = film.make_scene(seed, SCENE_S), Scorer.load(settings, rules)
        try:
            spans, _ = watch(eyes, rules, GateConfig(), scene, f"scene-{seed}", seed, 1.0)
        finally:
            eyes.close()
        out = []
        for span in spans:
            start_s, end_s = ((ns - film.START_NS) / 1e9 for ns in (span.start_utc_ns, span.end_utc_ns))
            start_s, end_s = max(0.0, start_s), min(end_s, SCENE_S)
            rule = by_id[span.rule_id]
            truth = answer_of(scene.events, rule.category, start_s, end_s)
            if truth is None or end_s - start_s < SHORTEST_S:
                continue
            window = stage(scene, start_s, end_s - start_s, rule.id, rng)
            out.append(weigh(reasoner, window, rule, truth is not False, seed))
        return out


def weighed_scenes(weigher: Weigher, first_seed: int, workers: int) -> Iterator[tuple[int, list[Weighed]]]:
    """(seed, windows) of the scenes from first_seed on, in their order, for as long as somebody asks."""
    if workers == 1:
        yield from ((seed, weigher(seed)) for seed in itertools.count(first_seed))
        return
    # A fresh process each: one that was forked from a process in which torch has threads may wait for them for ever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(weigher,)) as pool:
        for block in itertools.count(first_seed, 2 * workers):
            seeds = range(block, block + 2 * workers)
            yield from zip(seeds, pool.map(_weighed, seeds), strict=True)


_weigher: list[Weigher] = []


def _begin(weigher: Weigher) -> None:
    _weigher.append(weigher)


def _weighed(seed: int) -> list[Weighed]:
    return _weigher[-1](seed)


def rule_of(category: str) -> Rule:
    """As a site might write it."""
    return Rule(id=category, category=category, watch=captions.watch(category), question=questions(category)[0])  # type: ignore[arg-type]


def stage(scene: Scene, start_s: float, length_s: float, rule_id: str, rng: np.random.Generator) -> Window:
    """A window as some camera would have shown it."""
    return stage_window(
        scene, start_s, length_s, rule_id, fps=float(rng.choice([8, 10, 12.5, 25])), quality=int(rng.integers(40, 90))
    )


def weigh(reasoner: Reasoner, window: Window, rule: Rule, true: bool, seed: int = 0) -> Weighed:
    """Ask, and once more for each way in which the evidence of a yes can be spoilt."""
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
    return Weighed(said, true, parts, spoilt)
