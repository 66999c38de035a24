"""The calibrator's fit: from where a yes counts, and that several processes find what one does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reasoner.folder import BUNDLED
from reasoner.train import calibrate as calibration
from reasoner.train.calibrate import YES_FROM, yes_from
from reasoner.train.errors import TrainFailed
from reasoner.train.weigher import SPOILT, Weighed, Weigher, weighed_scenes

PARTS = {"detector_agreement": 0.5, "temporal_agreement": 0.5, "consistency": 1.0, "frame_order": 1.0}


def weighed(token: float, true: bool, said: bool = True) -> Weighed:
    return Weighed(said, true, {**PARTS, "vlm_token": token, "crop_check": token}, {})


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [
        ([0.99, 0.97, 0.95], [0.6, 0.7], 0.7, 0.95),
        ([0.99, 0.6, 0.7], [0.2], 0.2, 0.6),
        # One more mistaken alert costs more than one more missed window, so the doubtful ones go together.
        ([0.99] * 6 + [0.61], [0.62, 0.63], 0.63, 0.99),
        ([0.99] * 2 + [0.61] * 6, [0.7], 0.05, 0.61),
    ],
)
def test_a_yes_counts_from_where_it_is_right_often_enough(
    right: list[float], wrong: list[float], low: float, high: float
) -> None:
    rows = [weighed(token, True) for token in right] + [weighed(token, False) for token in wrong]
    found = yes_from([*rows, weighed(0.01, False, said=False), weighed(0.01, True, said=False)])
    assert found in YES_FROM and low <= found <= high


class Scenes(Weigher):
    """Windows made by hand: what is sure is true, and blanked evidence supports nothing."""

    def __call__(self, seed: int) -> list[Weighed]:
        random = np.random.default_rng(seed)
        out = []
        for _ in range(6):
            true = bool(random.random() < 0.5)
            token = float(np.clip(random.normal(0.9 if true else 0.3, 0.15), 0.01, 0.99))
            agreement = float(np.clip(random.normal(0.8 if true else 0.5, 0.2), 0, 1))
            parts = {**PARTS, "vlm_token": token, "crop_check": token, "detector_agreement": agreement}
            blank = {**parts, "detector_agreement": 0.0, "frame_order": 0.0}
            said = token > 0.5
            out.append(Weighed(said, true, parts, dict.fromkeys(SPOILT, blank) if said else {}))
        return out


class Silent(Weigher):
    def __call__(self, seed: int) -> list[Weighed]:
        return []


def test_a_calibration_is_judged_on_scenes_that_it_was_not_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "Weigher", Scenes)
    (tmp_path / "witness.json").write_text("{}", encoding="utf-8")
    found = calibration.calibrate(tmp_path, 400, first_seed=7)
    record = json.loads((tmp_path / "witness.json").read_text("utf-8"))
    assert record["calibrator"]["n"] == found["windows"] == 400
    assert record["calibrator"]["ece"] == found["ece"] < 0.12
    assert 0.2 < record["yes_from"] < 0.9 and found["precision"] > 0.85
    assert found["fell"] == dict.fromkeys(SPOILT, 1.0)


def test_what_cannot_be_calibrated_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "witness.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(calibration, "Weigher", Silent)
    with pytest.raises(TrainFailed, match="flags nothing in 40 scenes from seed 7"):
        calibration.calibrate(tmp_path, 100, first_seed=7)
    monkeypatch.setattr(calibration, "Weigher", Scenes)
    with pytest.raises(TrainFailed, match="cannot be calibrated on"):
        calibration.calibrate(tmp_path, 12, first_seed=7)
    assert (tmp_path / "witness.json").read_text("utf-8") == "{}"


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    weigher = Weigher(str(BUNDLED))
    (seed, alone), (other_seed, together) = (
        next(iter(weighed_scenes(weigher, 5_900_001, workers))) for workers in (1, 2)
    )
    assert seed == other_seed == 5_900_001 and alone
    assert [(w.said, w.true) for w in alone] == [(w.said, w.true) for w in together]
    for mine, theirs in zip(alone, together, strict=True):
        assert mine.parts == pytest.approx(theirs.parts, abs=1e-4)
