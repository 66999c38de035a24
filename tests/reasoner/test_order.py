"""Pictures that follow each other are told from the same pictures in another order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoner.ablation import derangement
from reasoner.order import UNKNOWN, order_score


def walk(count: int = 12, step_px: int = 14, height: int = 40) -> NDArray[np.uint8]:
    """Change maps of a figure that crosses the picture."""
    maps = np.zeros((count, 90, 160), np.uint8)
    for index in range(count):
        x = index * step_px % 150
        maps[index, 30 : 30 + height, x : x + 10] = 255
    return maps


def appears(count: int = 12, at: int = 5) -> NDArray[np.uint8]:
    """Change maps of something that is there from some moment on."""
    maps = np.zeros((count, 90, 160), np.uint8)
    maps[at:, 20:60, 40:90] = 255
    return maps


@pytest.mark.parametrize("maps", [walk(), appears(), walk(8, 18), appears(12, 9)], ids=["walk", "there", "few", "late"])
def test_another_order_scores_lower(maps: NDArray[np.uint8]) -> None:
    """On average: a shuffled order may by chance be a good one too."""
    right = order_score(maps)
    wrong = [order_score(maps[derangement(len(maps), np.random.default_rng(seed))]) for seed in range(24)]
    assert 0.6 < right <= 1
    assert float(np.mean(wrong)) < right - 0.3


def test_backwards_is_an_order_too() -> None:
    assert order_score(walk()[::-1]) == pytest.approx(order_score(walk()))


@pytest.mark.parametrize(
    "maps",
    [np.zeros((12, 90, 160), np.uint8), np.full((12, 90, 160), 255, np.uint8), walk(3)],
    ids=["empty", "full", "3"],
)
def test_where_nothing_differs_nothing_is_said(maps: NDArray[np.uint8]) -> None:
    assert order_score(maps) == UNKNOWN
