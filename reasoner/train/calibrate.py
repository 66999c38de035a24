"""The bundled model's calibrator: what its components are worth, learnt on scenes that training never saw.

Scenes are watched by a scorer and its gate, with one rule for each category that both models know, and each window
that is flagged goes through the serving code: what is asked, and how often in vain, is as live. Every yes with evidence
is weighed again with the cited boxes filled with the camera's background, and with the frames in another order; half of
these count as unsupported in the fit: a calibrator must know what a claim without anything behind it looks like. Half
of the scenes give the coefficients; the calibration error is that of the other half, as it is.
"""

from __future__ import annotations

import datetime
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
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
from reasoner.confidence import Calibrator, expected_calibration_error, fit, rescaled
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from reasoner.train.clips import answer_of
from reasoner.train.questions import questions

log = logging.getLogger(__name__)

FIRST_SEED = 5_000_000
SPOILT_EACH = 2
"""One of this many answers with spoilt evidence takes part: with all of them the token would count for nothing."""
SPOILT = ("blank", "shuffle")
NAMES = ("vlm_token", "detector_agreement", "temporal_agreement", "consistency", "frame_order")
"""The ViT's score is left out: it decided that the window was looked at, and says little more."""
SCENE_S = 60.0
SHORTEST_S = 4.0
"""A window that the beginning of a scene cuts to less is left out."""


class Weighed(NamedTuple):
    """One window's answer."""

    said: bool
    true: bool
    parts: dict[str, float]
    spoilt: dict[str, dict[str, float]]
    """The components once the cited evidence is spoilt, by `SPOILT`; empty without a yes that shows something."""


def calibrate(
    folder: Path, windows: int, *, first_seed: int = FIRST_SEED, threads: int = 1, scorer: str = "bundled"
) -> dict[str, Any]:
    """Fits the calibrator of a model folder and writes it into its `witness.json`; returns the figures.

    scorer: `bundled` or a folder; whose windows it is fitted on.
    """
    reasoner = Reasoner.load(ReasonerConfig(model=str(folder), threads=threads))
    halves: tuple[list[Weighed], list[Weighed]] = ([], [])
    for index, (seed, weighed) in enumerate(weighed_windows(reasoner, first_seed, scorer, threads)):
        halves[seed % 2].append(weighed)
        if index % 50 == 49:
            log.info("calibrating: %d of %d windows", index + 1, windows)
        if index + 1 >= windows:
            break
    learnt, held = halves
    rows = [(w.parts, w.true) for w in learnt]
    for turn, kind in enumerate(SPOILT):
        rows += [(w.spoilt[kind], False) for w in [w for w in learnt if w.spoilt][turn::SPOILT_EACH]]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    fitted = fit([parts for parts, _ in rows], [true for _, true in rows], date=today, names=NAMES)
    fitted = rescaled(fitted, [w.parts for w in learnt], [w.true for w in learnt])
    calibrator = msgspec.structs.replace(
        fitted,
        id=f"logistic-{len(held)}-{first_seed}",
        ece=round(expected_calibration_error([fitted.probability(w.parts) for w in held], [w.true for w in held]), 4),
        n=len(held),
    )
    notes = folder / "witness.json"
    record = json.loads(notes.read_text(encoding="utf-8"))
    record["calibrator"] = msgspec.to_builtins(calibrator)
    notes.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures(held, calibrator)


def figures(weighed: list[Weighed], calibrator: Calibrator) -> dict[str, Any]:
    """What the held-out half says: right answers, precision and recall, ECE, and what blanked evidence does."""
    yes = [w for w in weighed if w.said]
    hits = sum(w.true for w in yes)
    drops = {
        kind: [
            calibrator.probability(w.parts) - calibrator.probability(w.spoilt[kind]) for w in yes if w.true and w.spoilt
        ]
        for kind in SPOILT
    }
    return {
        "windows": len(weighed),
        "right": sum(w.said == w.true for w in weighed) / max(1, len(weighed)),
        "precision": hits / max(1, len(yes)),
        "recall": hits / max(1, sum(w.true for w in weighed)),
        "ece": calibrator.ece,
        "fell": {kind: sum(drop > 0 for drop in each) / max(1, len(each)) for kind, each in drops.items()},
        "median_drop": {kind: float(np.median(each)) if each else 0.0 for kind, each in drops.items()},
        "weights": dict(zip(calibrator.names, calibrator.weights, strict=True)),
    }


def weighed_windows(
    reasoner: Reasoner, first_seed: int, scorer: str = "bundled", threads: int = 1, step: int = 1
) -> Iterator[tuple[int, Weighed]]:
    """(seed, window) for every flagged window of the scenes first_seed, first_seed + step, ... of which the truth can
    be told."""
    settings = DetectorConfig(model=scorer, engine="onnx", threads=threads)
    known = read_folder(scorer).record.categories
    rules = [rule for category in sorted(known) if reasoner.supports(rule := rule_of(category)) is None]
    by_id = {rule.id: rule for rule in rules}
    for seed in itertools.count(first_seed, step):
        rng = np.random.default_rng([seed, 79])
        scene, eyes = film.make_scene(seed, SCENE_S), Scorer.load(settings, rules)
        try:
            spans, _ = watch(eyes, rules, GateConfig(), scene, f"scene-{seed}", seed, 1.0)
        finally:
            eyes.close()
        for span in spans:
            start_s, end_s = ((ns - film.START_NS) / 1e9 for ns in (span.start_utc_ns, span.end_utc_ns))
            start_s, end_s = max(0.0, start_s), min(end_s, SCENE_S)
            rule = by_id[span.rule_id]
            truth = answer_of(scene.events, rule.category, start_s, end_s)
            if truth is None or end_s - start_s < SHORTEST_S:
                continue
            window = stage(scene, start_s, end_s - start_s, rule.id, rng)
            yield seed, weigh(reasoner, window, rule, truth is not False, seed)


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
    notes = reasoner.backend.notes
    sure = notes is None or parts["vlm_token"] >= notes.yes_from
    said = heard.parsed.yes is True and bool(heard.binding.bound) and sure
    spoilt = {}
    if said:
        ways = {
            "blank": blanked(window, heard.binding.bound),
            "shuffle": shuffled(window, np.random.default_rng([seed, 5])),
        }
        for kind, other in ways.items():
            spoilt[kind] = confidence(reasoner, heard, hear(reasoner, other, rule, "")).components
    return Weighed(said, true, parts, spoilt)
