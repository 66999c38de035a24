"""Components to a probability: fitting, honesty about what is not known, and monotony."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from reasoner.confidence import (
    FITTED,
    Calibrator,
    combine,
    expected_calibration_error,
    fit,
    fit_denied,
    is_denied,
    rescaled,
)

FULL = {
    "coarse": 0.8, "vlm_token": 0.95, "evidence_match": 0.9, "detector_agreement": 0.9, "temporal_agreement": 0.9,
    "consistency": 0.9, "crop_check": 0.8,
}  # fmt: skip


def labelled(count: int, seed: int = 0) -> tuple[list[dict[str, float]], list[bool]]:
    """Verdicts whose truth follows from token and boxes with known coefficients; the rest is noise."""
    rng = np.random.default_rng(seed)
    rows = [dict(zip(FITTED, rng.uniform(0.02, 0.98, len(FITTED)).tolist(), strict=True)) for _ in range(count)]
    logits = [1.2 * np.log(r["vlm_token"] / (1 - r["vlm_token"])) + 3 * r["detector_agreement"] - 1.5 for r in rows]
    return rows, [bool(rng.random() < 1 / (1 + np.exp(-z))) for z in logits]


def test_fit_finds_the_coefficients() -> None:
    rows, correct = labelled(4000)
    made = fit(rows, correct, date="2026-01-31")
    weights = dict(zip(made.names, made.weights, strict=True))
    assert weights["vlm_token"] == pytest.approx(1.2, abs=0.15)
    assert weights["detector_agreement"] == pytest.approx(3.0, abs=0.4)
    assert weights["coarse"] < 0.1
    assert made.bias == pytest.approx(-1.5, abs=0.4)
    assert made.ece < 0.03
    assert (made.n, made.date) == (4000, "2026-01-31")


def test_fitted_probabilities_hold_on_new_data() -> None:
    rows, correct = labelled(3000)
    made = fit(rows, correct, date="2026-01-31")
    fresh, truth = labelled(3000, seed=1)
    assert expected_calibration_error([made.probability(row) for row in fresh], truth) < 0.04


def test_rescaling_keeps_the_order_and_moves_to_what_is_right() -> None:
    """A fit that also saw spoilt cases is too timid on sound ones; rescaled, it is honest there."""
    rows, correct = labelled(3000)
    spoilt = [{**row, "detector_agreement": row["detector_agreement"] * 0.5} for row in rows]
    timid = fit([*rows, *spoilt], [*correct, *[False] * len(spoilt)], date="2026-01-31")
    made = rescaled(timid, rows, correct)
    fresh, truth = labelled(3000, seed=1)
    before, after = ([each.probability(row) for row in fresh] for each in (timid, made))
    assert expected_calibration_error(before, truth) > 0.1 > 0.05 > expected_calibration_error(after, truth)
    assert np.argsort(before).tolist() == np.argsort(after).tolist()


def test_no_weight_is_negative() -> None:
    """A component that speaks against the truth by chance is left out rather than turned round."""
    rows, correct = labelled(400)
    contrary = [{**row, "temporal_agreement": 0.1 if good else 0.9} for row, good in zip(rows, correct, strict=True)]
    made = fit(contrary, correct, date="2026-01-31")
    assert dict(zip(made.names, made.weights, strict=True))["temporal_agreement"] == 0.0


@pytest.mark.parametrize(("count", "kinds"), [(19, 2), (40, 1)])
def test_too_little_to_fit_is_refused(count: int, kinds: int) -> None:
    rows, _ = labelled(count)
    with pytest.raises(ValueError, match="20 of both kinds"):
        fit(rows, [bool(i % kinds) for i in range(count)], date="2026-01-31")


@pytest.mark.parametrize("calibrated", [False, True])
def test_confidence_never_rises_when_support_is_lost(calibrated: bool) -> None:
    made = fit(*labelled(500), date="2026-01-31") if calibrated else None
    steps = [0.0, 0.3, 0.6, 1.0]
    for name in ("vlm_token", "detector_agreement", "temporal_agreement", "crop_check"):
        values = [combine({**FULL, name: value}, made).p for value in steps]
        assert all(a <= b for a, b in itertools.pairwise(values)), name
        assert values[0] < values[-1] or calibrated


def test_without_a_calibrator_it_says_so() -> None:
    plain = combine(FULL, None)
    assert (plain.calibration.method, plain.calibration.n, plain.interval) == ("none", 0, (0.0, 1.0))
    assert plain.p == pytest.approx(0.95 * (0.1 + 0.36 + 0.27 + 0.16))
    assert combine({**FULL, "detector_agreement": 0.0}, None).p < 0.6


def test_a_no_has_coefficients_of_its_own() -> None:
    """How often it is wrong follows from the model's and the ViT's certainty; evidence it has none."""
    rng = np.random.default_rng(5)
    rows = [
        {**FULL, "consistency": 0.0, "coarse": float(c), "vlm_token": float(t)}
        for c, t in zip(rng.uniform(0.1, 0.95, 400), rng.uniform(0.001, 0.499, 400), strict=True)
    ]
    wrong = [bool(rng.random() < 0.8 * row["coarse"] * row["vlm_token"] * 2) for row in rows]
    denied = fit_denied(rows, wrong)
    assert denied is not None and min(denied.weights) > 0
    made = msgspec.structs.replace(fit(*labelled(500), date="2026-01-31"), denied=denied)
    p = [made.probability(row) for row in rows]
    assert expected_calibration_error(p, wrong) < 0.06
    yes = {**FULL, "consistency": 0.0}
    assert not is_denied(yes) and made.probability(yes) == msgspec.structs.replace(made, denied=None).probability(yes)
    assert fit_denied(rows[:19], wrong[:19]) is None and fit_denied(rows, [False] * 400) is None
    assert msgspec.json.decode(msgspec.json.encode(made), type=Calibrator) == made


def test_the_interval_narrows_with_data() -> None:
    def width(n: int) -> float:
        calibrator = Calibrator(
            id="c", names=("vlm_token",), weights=(1.0,), bias=0.0, ece=0.02, n=n, date="2026-01-31"
        )
        made = combine({**FULL, "vlm_token": 0.7}, calibrator)
        assert made.interval[0] <= made.p <= made.interval[1]
        return made.interval[1] - made.interval[0]

    assert width(10_000) < width(500) < width(50)


def test_a_calibrator_is_checked() -> None:
    with pytest.raises(ValueError, match="negative"):
        Calibrator(id="c", names=("coarse",), weights=(-1.0,), bias=0.0, ece=0.0, n=1, date="")
    with pytest.raises(ValueError, match="2 weights for 1"):
        Calibrator(id="c", names=("coarse",), weights=(1.0, 1.0), bias=0.0, ece=0.0, n=1, date="")


def test_calibration_error_of_known_cases() -> None:
    assert expected_calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0)
    assert expected_calibration_error([1.0] * 10, [False] * 10) == pytest.approx(1.0)
    assert expected_calibration_error([], []) == 0.0
