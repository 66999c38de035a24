"""The terms of a reward table as TRL's reward functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reasoner.boxes import Coordinates
from reasoner.grade import RewardTable, Truth
from reasoner.reward_table import Name
from reasoner.train.judge import reader

RewardFunction = Callable[..., list[float | None]]


def reward_functions(table: RewardTable, coordinates: Coordinates) -> list[RewardFunction]:
    """One for each term that is on, in the order of `table.weights()`; unweighted, TRL weighs them."""
    return [_function(name, table, coordinates) for name in table.weights()]


def _function(name: Name, table: RewardTable, coordinates: Coordinates) -> RewardFunction:
    def points(
        completions: Sequence[Sequence[dict[str, str]]],
        truth: Sequence[Truth],
        size: Sequence[tuple[int, int]],
        trainer_state: Any,
        **_: Any,
    ) -> list[float | None]:
        term = table.terms(trainer_state.global_step / max(1, trainer_state.max_steps))[name]
        return [
            term(reader(coordinates, shown)(turn[0]["content"]), true)
            for turn, true, shown in zip(completions, truth, size, strict=True)
        ]

    points.__name__ = name
    return points
