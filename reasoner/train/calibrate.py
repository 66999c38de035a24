"""The calibrator of an exported model: fitted on windows of scenes that training never saw, by the serving code.

The windows are whole `Window` records with JPEG frames and background, so every component is computed exactly as it
is for a live camera. The score of the ViT is left out: every window that gets here was flagged by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.rule import Rule
from detector.window import Span, Window
from ingest.clock import Stamp
from ingest.frame import Cut, FineFrame
from ingest.simulator.world import Scene
from reasoner.confidence import Calibrator, fit
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from reasoner.train.clips import Shot, answer_of, scene_of, shots
from reasoner.train.config import Calibrate

COMPONENTS = ("vlm_token", "detector_agreement", "temporal_agreement")
BACKGROUND_S = 3.0
BACKGROUND_WIDTH = 320


def calibrate(folder: Path, what: Calibrate, today: date) -> Calibrator:
    """Fits on `what.windows` labelled windows and writes the result into the folder's `witness.json`.

    Raises ValueError when the windows hold fewer than 20 of either answer between them.
    """
    reasoner = Reasoner.load(ReasonerConfig(model=str(folder), device="cpu"))
    components, truths = [], []
    for window, rule, truth in labelled(what.first_seed, what.windows):
        verdict = reasoner.reason(window, rule, {})
        components.append(verdict.confidence.components)
        truths.append(truth)
    made = fit(components, truths, date=today.isoformat(), names=COMPONENTS)
    path = folder / "witness.json"
    notes = json.loads(path.read_text(encoding="utf-8"))
    notes["calibrator"] = msgspec.to_builtins(made)
    path.write_text(json.dumps(notes, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return made


def labelled(first_seed: int, count: int) -> Iterator[tuple[Window, Rule, bool]]:
    """`count` windows with their question and its true answer."""
    made, seed = 0, first_seed
    while made < count:
        scene, random = scene_of(seed), np.random.default_rng([seed, 79])
        for shot in shots(scene, random):
            window = _window(scene, shot, random)
            truth = answer_of(scene.events, shot.category, shot.start_s, shot.start_s + shot.groups - 0.5)
            if truth is None:
                continue
            if made < count:
                yield window, _rule(shot.category), truth is not False
                made += 1
        seed += 1


def _rule(category: str) -> Rule:
    # The question is put in the model's own words by the reasoner.
    return Rule(id=category, category=category, watch=category, question=category)  # type: ignore[arg-type]


def _window(scene: Scene, shot: Shot, random: np.random.Generator) -> Window:
    """As the ring would have cut it and the detector would have known its background."""
    quality = int(random.integers(70, 93))
    times_s = [shot.start_s + 0.5 * step for step in range(2 * shot.groups)]
    frames = tuple(
        FineFrame(stamp=_stamp(time_s), jpeg=_jpeg(scene.frame(time_s), quality), size=scene.size) for time_s in times_s
    )
    earlier = [scene.frame(time_s) for time_s in np.arange(times_s[0] - 0.5, 0.1, -BACKGROUND_S)[:7].tolist()]
    background = b""
    if len(earlier) >= 3:
        still = np.median(np.stack(earlier), axis=0).astype(np.uint8)
        height = round(BACKGROUND_WIDTH * scene.size[1] / scene.size[0])
        background = _jpeg(np.asarray(cv2.resize(still, (BACKGROUND_WIDTH, height), interpolation=cv2.INTER_AREA)), 90)
    start, end = frames[0].stamp.utc_ns, frames[-1].stamp.utc_ns
    hot = start + (end - start) // 2
    span = Span(
        window_id=f"{scene.seed:016x}{round(shot.start_s * 1000):016x}",
        camera_id="synthetic",
        rule_id=shot.category,
        epoch=0,
        start_utc_ns=start,
        end_utc_ns=end,
        first_hot_utc_ns=hot,
        peak_utc_ns=hot,
        score=0.5,
        scores=((hot, 0.5),),
        flagged_utc_ns=end,
    )
    cut = Cut(camera_id="synthetic", epoch=0, source_size=scene.size, frames=frames, clip=None, expected=len(frames))
    return Window(span=span, cut=cut, background=background)


def _stamp(time_s: float) -> Stamp:
    return Stamp(
        pts=round(time_s * 90_000),
        time_base=(1, 90_000),
        utc_ns=round(time_s * 1e9),
        source="file",
        uncertainty_ms=0.0,
    )


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())
