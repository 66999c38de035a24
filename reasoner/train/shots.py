"""Which windows of a scene a training looks at: staged around what happens in it, or cut where the gate flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detector import captions, film
from detector.config import DetectorConfig, GateConfig
from detector.folder import read_folder
from detector.measure import watch
from detector.rule import Rule
from detector.scorer import Scorer
from detector.window import Span
from ingest.simulator.episode import EVENTS, LOOKALIKES, PLACES, place_for, playable
from ingest.simulator.world import Scene
from reasoner.train.questions import questions

LONGEST_GROUPS = 7
SHORTEST_S = 4.0
"""A window that the beginning or the end of a scene cuts to less is left out."""
FLAGGED_SCENE_S = 60.0


@dataclass(frozen=True, slots=True)
class Shot:
    """A window to take of a scene and the question to ask of it."""

    start_s: float
    groups: int
    category: str


def rule_of(category: str) -> Rule:
    """As a site might write it."""
    return Rule(id=category, category=category, watch=captions.watch(category), question=questions(category)[0])  # type: ignore[arg-type]


def spans(
    scene: Scene, seed: int, rules: Sequence[Rule], scorer: str, threads: int = 1
) -> Iterator[tuple[Span, float, float]]:
    """What the scorer and its gate cut out of a scene, as it comes live, mistaken windows included: each span with its
    beginning and end in seconds of the scene, if that leaves `SHORTEST_S`. seed: of the key frames' times."""
    eyes = Scorer.load(DetectorConfig(model=scorer, engine="onnx", threads=threads), rules)
    try:
        found, _ = watch(eyes, rules, GateConfig(), scene, f"scene-{seed}", seed, 1.0)
    finally:
        eyes.close()
    for span in found:
        start_s, end_s = ((ns - film.START_NS) / 1e9 for ns in (span.start_utc_ns, span.end_utc_ns))
        start_s, end_s = max(0.0, start_s), min(end_s, scene.duration_s)
        if end_s - start_s >= SHORTEST_S:
            yield span, start_s, end_s


def flagged(scene: Scene, seed: int, scorer: str = "bundled") -> list[Shot]:
    """The spans of a scene with one rule for each category that the scorer knows."""
    rules = [rule_of(category) for category in sorted(read_folder(scorer).record.categories)]
    return [
        Shot(start_s, min(LONGEST_GROUPS, round(min(end_s, scene.duration_s - 0.1) - start_s)), span.rule_id)
        for span, start_s, end_s in spans(scene, seed, rules, scorer)
    ]


def staged(scene: Scene, rng: np.random.Generator) -> list[Shot]:
    """Windows as the gate would cut them, early, late and beside the events, with fitting and unfitting questions."""
    out: list[Shot] = []
    categories = sorted(EVENTS)

    def add(start_s: float, category: str) -> None:
        groups = int(rng.choice([6, 6, 6, 7, 5]))
        if start_s >= 0 and start_s + groups <= scene.duration_s:
            out.append(Shot(start_s, groups, category))

    for event in scene.events:
        trigger = event.start_s + float(rng.uniform(0.2, 2.2))
        add(trigger - float(rng.uniform(2.0, 3.2)), event.label)
        add(trigger - float(rng.uniform(0.0, 2.0)), event.label)
        if event.end_s - event.start_s > 5:
            add(float(rng.uniform(event.evident_s, max(event.evident_s + 0.1, event.end_s - 4))), event.label)
        add(event.start_s - float(rng.uniform(6.0, 7.5)), event.label)
        add(trigger - float(rng.uniform(1.0, 3.0)), str(rng.choice([c for c in categories if c != event.label])))
    for alike in scene.lookalikes:
        if alike.label == "walking":
            add(
                float(rng.uniform(alike.start_s, max(alike.start_s + 0.1, alike.end_s - 3))),
                str(rng.choice(categories)),
            )
            continue
        fitting = next(c for c, plays in LOOKALIKES.items() if alike.label in {p.__name__ for p in plays})
        middle = (alike.start_s + alike.end_s) / 2
        add(middle - float(rng.uniform(1.5, 4.0)), fitting)
        add(alike.start_s - float(rng.uniform(0.5, 3.0)), fitting)
        add(alike.end_s - float(rng.uniform(2.0, 4.5)), str(rng.choice([fitting, fitting, *categories])))
    if rng.random() < 0.15:
        add(float(rng.uniform(0, max(0.1, scene.duration_s - 8))), str(rng.choice(categories)))
    return out


def scene_of(seed: int) -> Scene:
    """A short scene: perhaps something ordinary, then an event (half of the time) or what looks like one."""
    rng = np.random.default_rng([seed, 77])
    alike = [play.__name__ for plays in LOOKALIKES.values() for play in plays]
    draw = rng.random()
    main = str(rng.choice(sorted(EVENTS))) if draw < 0.6 else str(rng.choice(alike)) if draw < 0.94 else "walking"
    place = place_for([main]) or str(rng.choice(list(PLACES)))
    before = [str(rng.choice(playable(["walking", "nothing", *alike], place)))] if rng.random() < 0.5 else []
    return Scene(seed, 75.0, kinds=[*before, main])
