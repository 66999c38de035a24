"""Coordinates are read at the median of their distribution; every other token is left to greedy decoding."""

import pytest
import torch

from reasoner.backends.median import Median

IDS = (5, 6, 7, 8)
"""Tokens of four coordinates in a vocabulary of ten."""


def scores(**probability: float) -> torch.Tensor:
    row = torch.full((10,), 1e-6)
    for name, value in probability.items():
        row[int(name[1:])] = value
    return row.log()


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (scores(t5=0.4, t6=0.3, t7=0.3), 6),
        (scores(t5=0.05, t8=0.6, t7=0.35), 8),
        (scores(t5=0.34, t6=0.33, t7=0.33), 6),
        (scores(t8=1.0), 8),
        (scores(t5=1.0), 5),
        (scores(t1=0.5, t5=0.3, t8=0.2), 1),
    ],
)
def test_the_median_of_a_coordinate_and_the_likeliest_of_anything_else(given: torch.Tensor, chosen: int) -> None:
    before = given.clone()
    assert int(Median(IDS)(torch.zeros(1, 1), given[None]).argmax()) == chosen
    assert torch.equal(given, before), "what a recorder has seen stays as it was"


def test_rows_of_a_batch_are_read_one_by_one() -> None:
    batch = torch.stack([scores(t5=0.4, t6=0.3, t7=0.3), scores(t2=0.9, t5=0.1), scores(t7=0.9, t5=0.1)])
    assert Median(IDS)(torch.zeros(3, 1), batch).argmax(-1).tolist() == [6, 2, 7]
