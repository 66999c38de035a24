"""Signs and unlettered pictures in training rows: nothing that changed is touched, and nothing else is kept."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoner.train.row import Thing
from reasoner.train.signs import board, seen_share, signed, unlettered, with_signs

GROUPS, HEIGHT, WIDTH = 3, 96, 160
BOX = (0.5, 0.25, 0.75, 0.75)
"""Where something changed."""


def clip(seed: int = 0) -> NDArray[np.uint8]:
    """Grain everywhere, and a block that changed over all three pictures; uint8 (G, 2, H, W, 3)."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((GROUPS, 2, HEIGHT, WIDTH, 3), np.uint8)
    pictures[:, 0] = random.integers(0, 256, (HEIGHT, WIDTH, 3))
    pictures[:, 1, 24:72, 80:120, 1:] = 255
    return pictures


def thing(box: tuple[float, float, float, float], actor: bool = True) -> Thing:
    return Thing(label="person", box=box, actor=actor, visible=1.0)


def test_unlettered_pictures_keep_what_changed_and_nothing_else() -> None:
    before = clip()
    after = unlettered(before)
    np.testing.assert_array_equal(after[:, 0, 30:66, 86:114], before[:, 0, 30:66, 86:114])
    np.testing.assert_array_equal(after[:, 1, ..., 1:], before[:, 1, ..., 1:])
    assert after[:, 0, :, :60].std(axis=(1, 2)).max() < 25 < before[:, 0, :, :60].std(axis=(1, 2)).min()
    assert (before == clip()).all(), "the originals stay"


@pytest.mark.parametrize("seed", range(12))
def test_a_sign_stands_at_one_place_and_changes_no_map(seed: int) -> None:
    before = clip()
    after = signed(before, np.random.default_rng(seed))
    differs = (after[:, 0] != before[:, 0]).any(axis=-1)
    assert differs.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(differs[0], differs[-1])
    np.testing.assert_array_equal(after[:, 1, ..., 1:], before[:, 1, ..., 1:])
    rows, columns = np.flatnonzero(differs[0].any(axis=1)), np.flatnonzero(differs[0].any(axis=0))
    assert rows[-1] - rows[0] < HEIGHT / 3 and columns[-1] - columns[0] < 0.95 * WIDTH
    assert (before == clip()).all(), "the originals stay"


def test_most_signs_hang_behind_what_moves() -> None:
    before = clip()
    covered = [
        bool((signed(before, np.random.default_rng(seed))[:, 0] != before[:, 0])[:, 36:60, 90:110].any())
        for seed in range(120)
    ]
    assert 0 < sum(covered) < 30


def test_what_acts_is_never_blurred_away() -> None:
    pictures = clip()
    seen, still = [[thing(BOX)]] * GROUPS, [[thing((0.1, 0.1, 0.3, 0.6))]] * GROUPS
    assert seen_share(pictures, seen) > 0.95 and seen_share(pictures, still) == 0.0
    assert seen_share(pictures, [[thing((0.1, 0.1, 0.3, 0.6), actor=False)]] * GROUPS) == 1.0
    drawn = np.random.default_rng(3)
    left = [with_signs(pictures, still, drawn)[0, 0, :, :20] for _ in range(200)]
    blurred = [picture for picture in left if picture.std() < 30]
    assert not blurred
    drawn = np.random.default_rng(3)
    kinds = [with_signs(pictures, seen, drawn) for _ in range(400)]
    plain = sum((each == pictures).all() for each in kinds)
    assert 0.7 < plain / 400 < 0.9
    assert any(each[0, 0, :, :60].std() < 25 for each in kinds)


def test_boards_differ_and_can_be_read() -> None:
    random = np.random.default_rng(5)
    boards = [board(random) for _ in range(40)]
    assert len({each.tobytes() for each in boards}) == 40
    for each in boards:
        grey = each.mean(axis=-1)
        assert 0.02 < float((np.abs(grey - grey[0, 0]) > 40).mean()) < 0.7
