"""A rule with zones is scored on the cells that its zones touch, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.config import DetectorConfig
from detector.folder import ScorerFolder, Shape
from detector.scorer import Scorer
from detector.similarity import pooled
from detector.zone import ZoneMasks, token_mask, touched
from tests.detector.material import coarse, rule

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def drawn(mask: NDArray[np.bool_], columns: int) -> str:
    return "/".join("".join("#" if cell else "." for cell in row) for row in mask.reshape(-1, columns))


@pytest.mark.parametrize(
    ("polygons", "cells"),
    [
        ([LEFT], "##../##../##.."),
        ([[(0.0, 0.0), (0.51, 0.0), (0.51, 0.3), (0.0, 0.3)]], "###./..../...."),
        ([[(0.6, 0.4), (0.7, 0.4), (0.65, 0.45)]], "..../..#./...."),
        ([[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]], "####/###./##.."),
        ([[(0.1, 0.1), (0.9, 0.1), (0.9, 0.2), (0.2, 0.2), (0.2, 0.9), (0.1, 0.9)]], "####/#.../#..."),
        ([[(0.0, 0.7), (0.2, 0.7), (0.2, 1.0)], [(0.8, 0.0), (1.0, 0.0), (1.0, 0.2)]], "...#/..../#..."),
        ([[(0.0, 0.5), (1.0, 0.5), (0.5, 0.5)]], "####/####/####"),
        ([[(1.5, 0.0), (2.0, 0.0), (2.0, 1.0)]], "####/####/####"),
    ],
    ids=["half", "a sliver beyond", "inside one cell", "triangle", "an L", "two", "no area", "outside"],
)
def test_cells_that_a_polygon_touches(polygons: list[list[tuple[float, float]]], cells: str) -> None:
    assert drawn(touched((4, 3), polygons), 4) == cells


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3))
def test_a_cell_with_a_point_of_a_triangle_inside_is_touched(corners: list[tuple[float, float]]) -> None:
    (x1, y1), (x2, y2), (x3, y3) = corners
    twice = abs((x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1))
    mask = touched((7, 5), [corners]).reshape(5, 7)
    x, y = (x1 + x2 + x3) / 3, (y1 + y2 + y3) / 3
    if twice > 0.01:
        assert mask[min(4, int(y * 5)), min(6, int(x * 7))]
        box = mask[int(min(y1, y2, y3) * 5) : int(max(y1, y2, y3) * 5) + 1]
        assert box.sum() == mask.sum(), "nothing above or below its corners"


SIZES = {"width": 64, "depth": 1, "text_width": 32, "text_depth": 1, "vocabulary": 300, "dim": 8, "patch": 64}


@pytest.mark.parametrize(
    ("tokens", "length", "without", "left"),
    [
        ("grid", 8, "########", "##..##.."),
        ("summary+grid", 9, "#........", ".##..##.."),
        ("summary", 1, "#", "#"),
    ],
)
def test_which_tokens_count(tokens: str, length: int, without: str, left: str) -> None:
    shape = Shape(**SIZES, tokens=tokens, picture_size=(256, 128))  # type: ignore[arg-type]
    assert shape.length == length
    assert drawn(token_mask(shape, None), length) == without
    assert drawn(token_mask(shape, [LEFT]), length) == left


def test_each_camera_has_its_own() -> None:
    shape = Shape(**SIZES, picture_size=(256, 128))  # type: ignore[arg-type]
    rules = [rule("fall", zones=("gate",)), rule("fight")]
    masks = ZoneMasks(shape, rules, {"a": {"gate": LEFT}, "b": {"other": LEFT}}).of(["b", "a", "c"])
    assert masks is not None
    assert [[drawn(row, 8) for row in camera] for camera in masks] == [
        ["########", "########"], ["##..##..", "########"], ["########", "########"]
    ]  # fmt: skip
    assert ZoneMasks(shape, [rule("fall")], {"a": {"gate": LEFT}}).of(["a"]) is None


def test_what_is_masked_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.normal(size=(2, 6, 8)).astype(np.float32)
    texts = rng.normal(size=(3, 8)).astype(np.float32)
    mask = np.zeros((2, 3, 6), bool)
    mask[0, :, :2], mask[1, :, 3:] = True, True
    changed = tokens.copy()
    changed[0, 2:], changed[1, :3] = 9.0, -9.0
    np.testing.assert_allclose(pooled(tokens, texts, 5.0, mask), pooled(changed, texts, 5.0, mask), rtol=1e-6)
    alone = np.stack([pooled(tokens[:1, :2], texts, 5.0)[0], pooled(tokens[1:, 3:], texts, 5.0)[0]])
    np.testing.assert_allclose(pooled(tokens, texts, 5.0, mask), alone, rtol=1e-5)


def test_a_change_outside_the_zone_does_not_move_the_score() -> None:
    """Through the bundled model's real tokens: attention reaches across the picture, the pool does not."""
    zones = {"cam": {"left": LEFT}}
    rules = [rule("fall", zones=("left",)), rule("fall", id="everywhere")]
    near, far = np.full((180, 320, 3), 90, np.uint8), np.full((180, 320, 3), 90, np.uint8)
    near[60:150, 40:100], far[60:150, 230:290] = (200, 40, 40), (200, 40, 40)
    quiet = np.full((180, 320, 3), 90, np.uint8)

    def lift(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        scorer = Scorer.load(DetectorConfig(engine="onnx"), rules, zones)
        before = [scorer.score([coarse(quiet, float(second))])[0] for second in range(6)][-1]
        after = scorer.score([coarse(picture, 6.0)])[0]
        scorer.close()
        return np.asarray(np.log(after / (1 - after)) - np.log(before / (1 - before)), np.float32)

    inside, outside = lift(near), lift(far)
    assert inside[0] > outside[0] + 0.5
    assert outside[1] > outside[0] + 0.5


def test_zones_reach_the_scorer(small: DetectorConfig, small_folder: ScorerFolder) -> None:
    rng = np.random.default_rng(0)
    frame = coarse(rng.integers(0, 256, (180, 320, 3), dtype=np.uint8), 0.0)
    rules = [rule("fall", zones=("left",)), rule("fall", id="whole")]
    with_zones = Scorer.load(small, rules, {"cam": {"left": LEFT}}).score([frame])[0]
    without = Scorer.load(small, rules, {"cam": {}}).score([frame])[0]
    assert with_zones[0] != with_zones[1] and without[0] == without[1] == with_zones[1]
