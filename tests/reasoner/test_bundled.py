"""The bundled reasoner sees: staged windows of unseen scenes through the serving code, events and their look-alikes."""

from collections.abc import Iterator

import numpy as np
import pytest

from detector.rule import Rule
from detector.staged import stage_window
from ingest.simulator.episode import EVENTS, LOOKALIKES
from ingest.simulator.world import Scene
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from reasoner.train.questions import questions
from reasoner.train.weigher import weigh
from reasoner.verdict import Verdict

SEEDS = range(8_100_000, 8_100_004)


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    loaded = Reasoner.load(ReasonerConfig(threads=1))
    yield loaded
    loaded.close()


def rule(category: str) -> Rule:
    return Rule(id=category, category=category, watch=category, question=questions(category)[0])  # type: ignore[arg-type]


def verdict(reasoner: Reasoner, kind: str, category: str, seed: int) -> tuple[Scene, Verdict]:
    scene = Scene(seed, 75.0, kinds=["nothing", kind])
    truth = (scene.events + scene.lookalikes)[0]
    window = stage_window(scene, max(0.0, truth.evident_s - 2.5), 6.0, category)
    return scene, reasoner.reason(window, rule(category), {}, "Hall")


def test_events_are_told_from_what_looks_like_them(reasoner: Reasoner) -> None:
    right, asked, wrong = 0, 0, []
    for seed in SEEDS:
        for category in EVENTS:
            alike = LOOKALIKES[category][seed % 2].__name__
            for kind in (category, alike):
                _, found = verdict(reasoner, kind, category, seed)
                asked += 1
                if (found.decision != "rejected") == (kind == category):
                    right += 1
                else:
                    wrong.append((seed, kind, found.decision, round(found.confidence.p, 2)))
    assert right >= 0.8 * asked, wrong


def test_evidence_lies_on_the_actors(reasoner: Reasoner) -> None:
    overlaps = []
    for seed in SEEDS:
        scene, found = verdict(reasoner, "fall", "fall", seed)
        for item in found.evidence:
            t = item.stamp.pts / 90_000
            boxes = [thing.box for thing in scene.truth(t) if thing.id in scene.events[0].actors]
            for x1, y1, x2, y2 in boxes:
                width = max(0.0, min(x2, item.box.x2) - max(x1, item.box.x1))
                height = max(0.0, min(y2, item.box.y2) - max(y1, item.box.y1))
                union = (x2 - x1) * (y2 - y1) + item.box.area - width * height
                overlaps.append(width * height / union)
    assert overlaps and float(np.mean(overlaps)) >= 0.4, overlaps


def test_spoilt_evidence_lowers_the_confidence(reasoner: Reasoner) -> None:
    calibrator = reasoner.backend.notes.calibrator if reasoner.backend.notes else None
    assert calibrator is not None and calibrator.n >= 100
    drops = []
    for seed in SEEDS:
        scene = Scene(seed, 75.0, kinds=["nothing", "fall"])
        window = stage_window(scene, max(0.0, scene.events[0].evident_s - 2.5), 6.0, "fall")
        then = stage_window(scene, max(0.0, scene.events[0].evident_s - 7.5), 6.0, "fall")
        weighed = weigh(reasoner, window, rule("fall"), True, then)
        drops += [
            calibrator.probability(weighed.parts) - calibrator.probability(spoilt) for spoilt in weighed.spoilt.values()
        ]
    assert drops and all(drop > 0 for drop in drops), drops
