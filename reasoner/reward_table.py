"""The table of rewards: which terms count how much, from configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reasoner import rewards
from reasoner.measure import GATE_S
from reasoner.truth import Claimed, Truth

Weight = Annotated[float, Meta(ge=0, le=100)]
Positive = Annotated[float, Meta(gt=0)]
Term = Callable[[Claimed, Truth], float | None]
Name = Literal[
    "time_points", "coverage_points", "spread",
    "answer", "span", "answer_box", "closeness", "inside", "box_iou", "form",
]  # fmt: skip
PUBLISHED: tuple[Name, ...] = ("time_points", "coverage_points", "spread")
SEVEN: tuple[Name, ...] = ("answer", "span", "answer_box", "closeness", "inside", "box_iou", "form")
EVIDENCE: tuple[Name, ...] = tuple(name for name in (*PUBLISHED, *SEVEN) if name not in ("answer", "form"))
"""Terms about times and places."""


class RewardTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the terms of `rewards`; 0 switches a term off."""

    time_points: Weight = 1.0
    coverage_points: Weight = 1.0
    spread: Weight = 0.5
    answer: Weight = 1.0
    span: Weight = 1.0
    answer_box: Weight = 0.0
    closeness: Weight = 0.0
    inside: Weight = 0.0
    box_iou: Weight = 1.0
    form: Weight = 1.0
    area_cap: Annotated[float, Meta(ge=1)] = rewards.AREA_CAP
    """A claimed box of more than so many times the true one's area covers nothing."""
    gate_s: Positive = GATE_S
    """A claim further than this from every true moment has no IoU."""
    sigma_from_s: Positive = rewards.SIGMA_S[0]
    sigma_to_s: Positive = rewards.SIGMA_S[1]

    def __post_init__(self) -> None:
        if not self.weights():
            raise ValueError("every term of the reward has weight 0; give at least one a weight")

    def weights(self) -> dict[Name, float]:
        """Of the terms that are on, in the order of the table."""
        every = {name: float(getattr(self, name)) for name in (*PUBLISHED, *SEVEN)}
        return {name: weight for name, weight in every.items() if weight > 0}

    def terms(self, progress: float = 1.0) -> Mapping[Name, Term]:
        """The terms that are on. progress: how much of the training is done, 0..1."""
        sigma_s = rewards.sigma(progress, self.sigma_from_s, self.sigma_to_s)
        every: dict[Name, Term] = {
            "time_points": rewards.time_points,
            "coverage_points": partial(rewards.coverage_points, area_cap=self.area_cap),
            "spread": rewards.spread,
            "answer": rewards.answer,
            "span": rewards.span,
            "answer_box": rewards.answer_box,
            "closeness": partial(rewards.closeness, sigma_s=sigma_s),
            "inside": rewards.inside,
            "box_iou": partial(rewards.box_iou, gate_s=self.gate_s),
            "form": rewards.form,
        }
        return {name: every[name] for name in self.weights()}

    def pays_evidence(self, truth: Truth) -> bool:
        """Whether a term about times or places applies to this truth, whatever is claimed rightly of it."""
        bare = Claimed(yes=True)
        return any(term(bare, truth) is not None for name, term in self.terms().items() if name in EVIDENCE)

    def points(self, claimed: Claimed, truth: Truth, progress: float = 1.0) -> dict[Name, float]:
        """Weighted points of each term that applies."""
        weights = self.weights()
        each = {name: term(claimed, truth) for name, term in self.terms(progress).items()}
        return {name: weights[name] * value for name, value in each.items() if value is not None}
