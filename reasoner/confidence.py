"""From independent components to one probability: the calibrator, its fit, and how well it is known to do.

Components, each 0..1: `coarse` (the ViT's score), `vlm_token` (the model's probability of a yes),
`detector_agreement` (claimed boxes against changed regions), `temporal_agreement` (claimed times against activity),
`evidence_match` (both), `consistency` (answer and claims say the same), `frame_order` (pictures follow each other),
`crop_check` (the cited boxes asked about again on their own); in the grey band also `counterfactual` (how much of the
yes goes with the cited boxes), `self_consistency` (the share of yes among sampled answers) and `second_look` (a yes to
a closer look), which no calibrator weighs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from reasoner.verdict import Calibration, Confidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FITTED = ("coarse", "vlm_token", "detector_agreement", "temporal_agreement", "consistency")
"""Components a fit uses when not told otherwise; `evidence_match` is made of two of them."""
DENIED = ("coarse", "vlm_token")
"""Components of `fit_denied`."""
_LOGIT = frozenset({"coarse", "vlm_token", "crop_check"})
"""Probabilities enter by their logit, agreements as they are."""
_EDGE = 0.002
_RIDGE = 0.5
_BINS = 10
DOUBTED = 0.7
"""What is left of a confidence whose yes stands without its evidence."""


class Coefficients(msgspec.Struct, frozen=True, kw_only=True):
    """p = sigmoid(bias + sum of weight x component)."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    def probability(self, components: Mapping[str, float]) -> float:
        pairs = zip(self.names, self.weights, strict=True)
        return _sigmoid(self.bias + sum(weight * _feature(name, components[name]) for name, weight in pairs))


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """p = sigmoid(bias + sum of weight x component); no weight is negative, so losing support never raises p.

    What a no that shows nothing is worth is another question, for there is nothing to agree with: how often it is
    wrong. `denied` answers it where there were enough of them to learn from.
    """

    id: str
    method: Literal["logistic"] = "logistic"
    names: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float
    denied: Coefficients | None = None
    ece: float
    """Expected calibration error on labelled data the coefficients were not fitted on."""
    n: int
    date: str

    def __post_init__(self) -> None:
        if len(self.names) != len(self.weights):
            raise ValueError(f"calibrator {self.id}: {len(self.weights)} weights for {len(self.names)} components")
        if any(weight < 0 for weight in self.weights):
            raise ValueError(f"calibrator {self.id}: a negative weight would raise confidence when support is lost")

    def probability(self, components: Mapping[str, float]) -> float:
        if self.denied is not None and is_denied(components):
            return self.denied.probability(components)
        return Coefficients(names=self.names, weights=self.weights, bias=self.bias).probability(components)


def is_denied(components: Mapping[str, float]) -> bool:
    """A no that shows nothing. A yes that shows nothing is judged like every other yes: by evidence that it lacks."""
    return components["consistency"] == 0 and components["vlm_token"] < 0.5


def combine(components: Mapping[str, float], calibrator: Calibrator | None) -> Confidence:
    """The calibrated probability. Without a calibrator p = token x (0.1 + 0.4 boxes + 0.3 times + 0.2 crop), and the
    calibration is said to be `none`.

    The interval is what the labelled data can tell: nothing (0 to 1) when there is none.
    """
    if calibrator is None:
        boxes, times = components["detector_agreement"], components["temporal_agreement"]
        support = 0.1 + 0.4 * boxes + 0.3 * times + 0.2 * components["crop_check"]
        unknown = Calibration(id="none", method="none", ece=1.0, n=0, date="")
        return Confidence(
            p=_clip(components["vlm_token"] * support),
            interval=(0.0, 1.0),
            components=dict(components),
            calibration=unknown,
        )
    p = _clip(calibrator.probability(components))
    # 90 %: the calibration error plus the spread of the tenth of the data that lies near p.
    reach = calibrator.ece + 1.645 * math.sqrt(max(p * (1 - p), 0.01) / max(1.0, calibrator.n / _BINS))
    return Confidence(
        p=p,
        interval=(max(0.0, p - reach), min(1.0, p + reach)),
        components=dict(components),
        calibration=Calibration(
            id=calibrator.id, method="logistic", ece=calibrator.ece, n=calibrator.n, date=calibrator.date
        ),
    )


def with_counterfactual(confidence: Confidence, score: float, contradicted: bool) -> Confidence:
    """With the masked counterfactual among the components; where the yes stands without its evidence, less of it."""
    share = DOUBTED if contradicted else 1.0
    low, high = confidence.interval
    p = confidence.p * share
    return msgspec.structs.replace(
        confidence,
        p=p,
        interval=(min(low * share, p), max(high, p)),
        components={**confidence.components, "counterfactual": round(score, 6)},
    )


def with_second_look(confidence: Confidence, score: float) -> Confidence:
    """With a second look among the components: it counts as much as all that was found before, by the logits' mean."""
    return _met(confidence, score, {"second_look": score})


def with_votes(confidence: Confidence, share: float, probability: float) -> Confidence:
    """With the share of yes among sampled answers as a component; what these votes tell (`vote.Tally.probability`)
    counts as much as all that was found before."""
    return _met(confidence, probability, {"self_consistency": share})


def _met(confidence: Confidence, score: float, parts: Mapping[str, float]) -> Confidence:
    """Halfway, by the logits' mean, to a score that stands beside all that was found before."""
    before, after = (_feature("vlm_token", value) for value in (confidence.p, score))
    p = _sigmoid((before + after) / 2)
    low, high = confidence.interval
    return msgspec.structs.replace(
        confidence,
        p=p,
        interval=(min(low, p), max(high, p)),
        components={**confidence.components, **{name: round(value, 6) for name, value in parts.items()}},
    )


def fit(
    components: Sequence[Mapping[str, float]],
    correct: Sequence[bool],
    *,
    date: str,
    names: Sequence[str] = FITTED,
    id: str = "",
) -> Calibrator:
    """Logistic coefficients from labelled verdicts, with the ECE of five-fold held-out predictions.

    components: one mapping per verdict; correct: whether the rule's question was in truth answered by yes.
    date: ISO day of the fit. Raises ValueError with fewer than 20 verdicts or only one kind of them.
    """
    import numpy as np

    if len(components) != len(correct) or len(correct) < 20 or len(set(correct)) < 2:
        raise ValueError(f"{len(correct)} labelled verdicts of {len(set(correct))} kinds: 20 of both kinds are needed")
    x = np.array([[_feature(name, row[name]) for name in names] for row in components])
    y = np.array(correct, dtype=np.float64)
    folds = np.random.default_rng(0).permutation(len(y)) % 5
    held_out = np.empty(len(y))
    for fold in range(5):
        inside = folds != fold
        bias, weights = _logistic(x[inside], y[inside])
        held_out[~inside] = _sigmoids(bias + x[~inside] @ weights)
    bias, weights = _logistic(x, y)
    return Calibrator(
        id=id or f"logistic-{len(y)}",
        names=tuple(names),
        weights=tuple(float(weight) for weight in weights),
        bias=float(bias),
        ece=expected_calibration_error(held_out.tolist(), correct),
        n=len(y),
        date=date,
    )


def fit_denied(components: Sequence[Mapping[str, float]], correct: Sequence[bool]) -> Coefficients | None:
    """How likely the question of a no was in truth answered by yes, by the model's and the ViT's own certainty. None
    with fewer than 20 of them, or only one kind."""
    import numpy as np

    if len(correct) < 20 or len(set(correct)) < 2:
        return None
    x = np.array([[_feature(name, row[name]) for name in DENIED] for row in components])
    bias, weights = _logistic(x, np.array(correct, dtype=np.float64))
    return Coefficients(names=DENIED, weights=tuple(float(weight) for weight in weights), bias=bias)


def rescaled(calibrator: Calibrator, components: Sequence[Mapping[str, float]], correct: Sequence[bool]) -> Calibrator:
    """The same order of confidences, moved to the shares of right answers on these verdicts (Platt 1999).

    For coefficients that were fitted on other cases beside, as a calibrator's on spoilt evidence. Raises ValueError
    where they say nothing about these.
    """
    import numpy as np

    p = np.clip([calibrator.probability(each) for each in components], 1e-6, 1 - 1e-6)
    x, y = np.log(p / (1 - p))[:, None], np.array(correct, dtype=np.float64)
    bias, (slope,) = _logistic(x, y)
    if slope <= 0:
        raise ValueError("these verdicts are right no oftener where the confidence is higher")
    return msgspec.structs.replace(
        calibrator,
        weights=tuple(float(slope) * weight for weight in calibrator.weights),
        bias=float(slope) * calibrator.bias + bias,
    )


def expected_calibration_error(p: Sequence[float], correct: Sequence[bool], bins: int = _BINS) -> float:
    """Mean distance between confidence and share of right answers over equal-width bins, weighted by their size."""
    total = 0.0
    for index in range(bins):
        inside = [i for i, value in enumerate(p) if min(bins - 1, int(value * bins)) == index]
        if inside:
            confidence = sum(p[i] for i in inside)
            right = sum(bool(correct[i]) for i in inside)
            total += abs(confidence - right)
    return total / max(1, len(p))


def _logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Ridge logistic regression by Newton steps; features with a negative weight are left out and it is fitted anew."""
    import numpy as np

    used = np.ones(x.shape[1], bool)
    while True:
        design = np.column_stack([np.ones(len(x)), x[:, used]])
        ridge = np.diag([1e-6] + [_RIDGE] * int(used.sum()))
        theta = np.zeros(design.shape[1])
        for _ in range(50):
            p = _sigmoids(design @ theta)
            gradient = design.T @ (p - y) + ridge @ theta
            hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
            step = np.linalg.solve(hessian, gradient)
            theta -= np.clip(step, -4, 4)
            if np.abs(step).max() < 1e-9:
                break
        weights = np.zeros(x.shape[1])
        weights[used] = theta[1:]
        if (weights >= 0).all():
            return float(theta[0]), weights
        used &= weights >= 0


def _sigmoids(z: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(z, -40, 40)))


def _feature(name: str, value: float) -> float:
    if name not in _LOGIT:
        return value
    inside = min(1 - _EDGE, max(_EDGE, value))
    return math.log(inside / (1 - inside))


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, z))))


def _clip(p: float) -> float:
    return min(1.0, max(0.0, p))
