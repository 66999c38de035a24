"""The calibrator's fit: from where a yes counts, and that several processes find what one does."""

from __future__ import annotations

import itertools

import pytest

from reasoner.folder import BUNDLED
from reasoner.train.calibrate import YES_FROM, yes_from
from reasoner.train.weigher import Weighed, Weigher, weighed_scenes

PARTS = {"detector_agreement": 0.5, "temporal_agreement": 0.5, "consistency": 1.0, "frame_order": 1.0}


def weighed(token: float, true: bool, said: bool = True) -> Weighed:
    return Weighed(said, true, {**PARTS, "vlm_token": token}, {})


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [
        ([0.99, 0.97, 0.95], [0.6, 0.7], 0.7, 0.95),
        ([0.99, 0.6, 0.7], [0.2], 0.5, 0.6),
        # One more mistaken alert costs more than one more missed window, so the doubtful ones go together.
        ([0.99] * 6 + [0.61], [0.62, 0.63], 0.63, 0.99),
        ([0.99] * 2 + [0.61] * 6, [0.7], 0.5, 0.61),
    ],
)
def test_a_yes_counts_from_where_it_is_right_often_enough(
    right: list[float], wrong: list[float], low: float, high: float
) -> None:
    rows = [weighed(token, True) for token in right] + [weighed(token, False) for token in wrong]
    found = yes_from([*rows, weighed(0.01, False, said=False), weighed(0.01, True, said=False)])
    assert found in YES_FROM and low <= found <= high


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    weigher = Weigher(str(BUNDLED))
    alone, together = (list(itertools.islice(weighed_scenes(weigher, 5_900_000, workers), 2)) for workers in (1, 2))
    assert [seed for seed, _ in together] == [5_900_000, 5_900_001]
    assert sum(len(windows) for _, windows in alone) > 0
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert [(w.said, w.true) for w in one] == [(w.said, w.true) for w in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine.parts == pytest.approx(theirs.parts, abs=1e-4)
