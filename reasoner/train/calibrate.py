"""The bundled model's calibrator: what its components are worth, learnt on scenes that training never saw.

Scenes are watched by a scorer and its gate, with one rule for each category that both models know, and each window
that is flagged goes through the serving code: what is asked, and how often in vain, is as live. Every yes with evidence
is weighed again with the cited boxes filled with the camera's background, with the frames in another order, and with
the frames of five seconds earlier; half of these count as unsupported in the fit: a calibrator must know what a claim
without anything behind it looks like. All windows give the coefficients and the probability from which a yes counts;
the calibration error and the other figures are those of each half of the scenes, as it is, under a fit to the other.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from reasoner.confidence import Calibrator, expected_calibration_error, fit, fit_denied, is_denied, rescaled
from reasoner.train.errors import TrainFailed
from reasoner.train.weigher import SPOILT, Weighed, Weigher, weighed_scenes

log = logging.getLogger(__name__)

FIRST_SEED = 5_000_000
SPOILT_EACH = 2
"""One of this many answers with spoilt evidence gives the coefficients: with all of them the token would count for
nothing."""
SPOILT_AMONG = 16
"""One of this many is among the windows to which the confidences are then moved. With none, sound evidence saturates at
certainty, from where what is lost costs nothing; with many, the confidences of sound evidence are too low."""
NAMES = ("vlm_token", "detector_agreement", "temporal_agreement", "consistency", "frame_order", "crop_check")
"""The ViT's score is left out: it decided that the window was looked at, and says little more."""
BETA = 0.5
"""A false alert is worse than a missed window: an event has more windows, a person's trust has not."""
YES_FROM = tuple(round(0.05 + 0.01 * step, 2) for step in range(90))


def calibrate(
    folder: Path,
    windows: int,
    *,
    first_seed: int = FIRST_SEED,
    threads: int = 1,
    scorer: str = "bundled",
    workers: int = 1,
) -> dict[str, Any]:
    """Fits the calibrator of a model folder and writes it into its `witness.json`; returns the figures.

    scorer: `bundled` or a folder; whose windows it is fitted on. workers: processes; they change nothing in the result.
    Raises TrainFailed where no window is flagged, or too few of both answers for a fit.
    """
    halves: tuple[list[Weighed], list[Weighed]] = ([], [])
    count = 0
    for seed, scene in weighed_scenes(Weigher(str(folder), scorer, threads), first_seed, workers):
        # Not by the seed's last bit: that decides how a scene is composed (detector/film.py).
        halves[seed // 2 % 2].extend(scene[: windows - count])
        count += len(scene)
        log.info("calibrating: %d of %d windows", min(count, windows), windows)
        if count >= windows:
            break
    everything = [*halves[0], *halves[1]]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        crossed = [(_fitted(halves[1 - own], today), yes_from(halves[1 - own]), halves[own]) for own in (0, 1)]
        whole = _fitted(everything, today)
    except ValueError as error:
        raise TrainFailed(f"{folder} cannot be calibrated on {len(everything)} windows: {error}") from None
    foretold = [(fitted.probability(w.parts), w.true) for fitted, _, held in crossed for w in held]
    calibrator = msgspec.structs.replace(
        whole,
        id=f"logistic-{len(everything)}-{first_seed}",
        ece=round(expected_calibration_error([p for p, _ in foretold], [true for _, true in foretold]), 4),
        n=len(everything),
    )
    notes = folder / "witness.json"
    record = json.loads(notes.read_text(encoding="utf-8"))
    record["calibrator"] = msgspec.to_builtins(calibrator)
    record["yes_from"] = yes_from(everything)
    notes.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures(crossed, calibrator, record["yes_from"])


def _fitted(weighed: Sequence[Weighed], today: str) -> Calibrator:
    """Raises ValueError with too few windows of either kind."""
    denied = [w for w in weighed if is_denied(w.parts)]
    told = [w for w in weighed if not is_denied(w.parts)]
    rows, among = (_with_spoilt(told, each) for each in (SPOILT_EACH, SPOILT_AMONG))
    fitted = fit([parts for parts, _ in rows], [true for _, true in rows], date=today, names=NAMES)
    fitted = rescaled(fitted, [parts for parts, _ in among], [true for _, true in among])
    return msgspec.structs.replace(fitted, denied=fit_denied([w.parts for w in denied], [w.true for w in denied]))


def _with_spoilt(weighed: Sequence[Weighed], each: int) -> list[tuple[dict[str, float], bool]]:
    """(components, truth) of all windows, and of one in `each` with its evidence spoilt, for every kind."""
    rows = [(w.parts, w.true) for w in weighed]
    for turn, kind in enumerate(SPOILT):
        rows += [(w.spoilt[kind], False) for w in [w for w in weighed if w.spoilt][turn::each]]
    return rows


def yes_from(weighed: Sequence[Weighed]) -> float:
    """The sureness from which a yes counts: where F-beta over the windows is greatest (van Rijsbergen
    1979), in the middle of equals."""

    def worth(least: float) -> float:
        yes = [w.true for w in weighed if w.counts(least)]
        missed = sum(w.true for w in weighed) - sum(yes)
        weighted = (1 + BETA**2) * sum(yes)
        return weighted / max(1e-9, weighted + BETA**2 * missed + len(yes) - sum(yes))

    best = max(map(worth, YES_FROM))
    equal = [least for least in YES_FROM if worth(least) >= best - 1e-9]
    return equal[len(equal) // 2]


def figures(
    crossed: Sequence[tuple[Calibrator, float, Sequence[Weighed]]], calibrator: Calibrator, least: float
) -> dict[str, Any]:
    """Right answers, precision and recall, and what spoilt evidence does, each window under the fit to the other half;
    the calibrator's own weights and `yes_from`."""
    weighed = [w for _, _, held in crossed for w in held]
    counts = [w.counts(from_) for _, from_, held in crossed for w in held]
    hits = sum(counted and w.true for counted, w in zip(counts, weighed, strict=True))
    drops: dict[str, list[float]] = {
        kind: [
            fitted.probability(w.parts) - fitted.probability(w.spoilt[kind])
            for fitted, from_, held in crossed
            for w in held
            if w.true and w.spoilt and w.counts(from_)
        ]
        for kind in SPOILT
    }
    return {
        "windows": len(weighed),
        "yes_from": least,
        "right": sum(counted == w.true for counted, w in zip(counts, weighed, strict=True)) / max(1, len(weighed)),
        "precision": hits / max(1, sum(counts)),
        "recall": hits / max(1, sum(w.true for w in weighed)),
        "ece": calibrator.ece,
        "fell": {kind: sum(drop > 0 for drop in each) / max(1, len(each)) for kind, each in drops.items()},
        "median_drop": {kind: float(np.median(each)) if each else 0.0 for kind, each in drops.items()},
        "weights": dict(zip(calibrator.names, calibrator.weights, strict=True)),
    }
