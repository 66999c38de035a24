"""From similarities to probabilities and thresholds, on scenes that were not learned from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from detector import film, strict
from detector.captions import phrases
from detector.config import GateConfig
from detector.folder import TOKENIZER, CategoryRecord, ScorerFolder
from detector.seen import Seen, interval_s
from detector.similarity import pooled, probability
from detector.statement import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import Engine

log = logging.getLogger(__name__)

SEED = 2_000_000
EVIDENT_S = 2.0
"""An event counts as found if a frame of the first two seconds in which it can be seen and the one after it pass."""
WORDINGS = 4
MARGIN = 0.9
"""Thresholds are tried this much below each held-out event: the next one may score a little less."""
CEILING = 0.5
LOWEST = 0.05
"""No frame opens a span below it, whatever event it may cost: what is held for so unlikely is asked about in vain."""


def fit(features: NDArray[np.float64], truth: NDArray[np.bool_], ridge: float = 1e-3) -> NDArray[np.float64]:
    """Logistic regression by Newton steps: weights (columns + 1,), offset last; the ridge is for separable data."""
    x = np.column_stack([features, np.ones(len(features))])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (p - truth) / len(x) + ridge * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(x) + ridge * np.eye(len(w))
        step = np.linalg.solve(hessian, gradient)
        w = w - step
        if float(np.abs(step).max()) < 1e-8:
            break
    return w


def calibrate(
    engine: Engine,
    folder: ScorerFolder,
    categories: Sequence[str],
    seen: Seen,
    quiet: Seen,
    flag_cost: float,
) -> dict[str, CategoryRecord]:
    """Slope, offset, novelty weight and thresholds of each category, over several wordings of its rule.

    quiet: scenes in which at most people walk by, for the strict thresholds.
    """
    record = folder.record
    tokenizer = Tokens(folder.file(TOKENIZER), record.shape.text_length)
    out = {}
    table = {}
    for category in categories:
        known = phrases(category, categories)
        texts = engine.text(tokenizer.encode(known[:: max(1, len(known) // WORDINGS)]))
        logits, of_quiet = (
            record.scale * pooled(each.tokens, texts, record.sharpness) + record.bias for each in (seen, quiet)
        )
        held, chances = _truth(category, seen)
        curve = _curve(logits, seen.novelty, held)
        scores = np.stack([probability(column, seen.novelty, curve) for column in logits.T], axis=1)
        both = paired(scores, seen)
        peaks = np.concatenate([np.zeros(0), *(both[chance].max(axis=0) for chance in chances)])
        without = both[held == 0].reshape(-1)
        minutes = max(len(without) * interval_s(seen) / 60, 1e-9)
        threshold = choose_threshold(peaks, without, minutes, flag_cost)
        out[category] = msgspec.structs.replace(
            curve,
            threshold=threshold,
            recall=round(float((peaks >= threshold).mean()) if len(peaks) else 0.0, 4),
            flags_per_minute=round(float((without >= threshold).sum()) / minutes, 4),
        )
        still = np.stack([probability(column, quiet.novelty, curve) for column in of_quiet.T], axis=1)
        table[category] = strict.options(((scores, seen), (still, quiet)), strict.peaks(scores, seen, category))
    chosen = strict.choose(table)
    out = {name: msgspec.structs.replace(each, strict=max(each.threshold, chosen[name])) for name, each in out.items()}
    for name, each in out.items():
        log.info("%s: %s", name, each)
    return out


def paired(
    scores: NDArray[np.float32], seen: Seen, alone_from_s: float = GateConfig().alone_from_s
) -> NDArray[np.float32]:
    """The threshold up to which a frame opens a span: the lower one of its own score and the next frame's of the scene,
    as the gate asks for both (`detector.gate`). float32 (frames, wordings), as `scores`."""
    out = scores.copy()
    together = (np.diff(seen.scene) == 0) & (np.diff(seen.t_s) < alone_from_s)
    out[:-1][together] = np.minimum(scores[:-1], scores[1:])[together]
    # The last frame of a scene waits for a second one that never comes.
    last = np.append(np.diff(seen.scene) != 0, True)
    out[last] = 0 if alone_from_s else scores[last]
    return out


def choose_threshold(peaks: NDArray[np.float64], quiet: NDArray[np.float32], minutes: float, flag_cost: float) -> float:
    """The threshold with the greatest recall less `flag_cost` for each quiet frame flagged per minute.

    peaks: best score of each event in time; quiet: scores of `minutes` of frames without the event; both `paired`.
    """
    best, chosen = -np.inf, CEILING
    for candidate in sorted(
        {min(CEILING, max(LOWEST, round(float(peak) * MARGIN, 4))) for peak in peaks}, reverse=True
    ):
        worth = float((peaks >= candidate).mean()) - flag_cost * float((quiet >= candidate).sum()) / minutes
        if worth > best:
            best, chosen = worth, candidate
    return chosen


def _truth(category: str, seen: Seen) -> tuple[NDArray[np.int8], list[NDArray[np.bool_]]]:
    """Of each frame: 1 the event is to be seen, 0 it is not there, -1 not to be judged. And of each event that can be
    seen in time: the frames in which it is to be found."""
    held = np.zeros(len(seen.t_s), np.int8)
    chances = []
    for index, scene in enumerate(seen.scenes):
        inside = seen.scene == index
        for event in scene.events:
            if event.label != category:
                continue
            phases = np.array([film.phase(event, t_s) for t_s in seen.t_s.tolist()])
            held[inside & (phases == 1)] = 1
            held[inside & (phases == -1) & (held != 1)] = -1
            chance = inside & (seen.t_s >= event.evident_s) & (seen.t_s <= event.evident_s + EVIDENT_S)
            if any(film.shown(scene, event, t_s) for t_s in seen.t_s[chance].tolist()):
                chances.append(chance)
    return held, chances


def _curve(logits: NDArray[np.float32], novelty: NDArray[np.float32], held: NDArray[np.int8]) -> CategoryRecord:
    """The logistic over all wordings; float32 (frames, wordings) logits."""
    judged = held != -1
    wordings = logits.shape[1]
    features = np.column_stack([logits[judged].T.reshape(-1), np.tile(novelty[judged], wordings)]).astype(np.float64)
    truth = np.tile(held[judged] == 1, wordings)
    slope, weight, offset = fit(features, truth)
    if weight < 0:
        # What is unusual must never count against an event.
        slope, offset = fit(features[:, :1], truth)
        weight = 0.0
    return CategoryRecord(
        slope=float(slope),
        offset=float(offset),
        novelty=float(weight),
        threshold=CEILING,
        strict=CEILING,
        recall=0.0,
        flags_per_minute=0.0,
    )
