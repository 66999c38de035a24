"""Change maps, regions and the view: what is measured without any model."""

import numpy as np
import pytest

from reasoner.boxes import WHOLE, Box, from_model, to_view
from reasoner.change import activity, change_maps, regions
from reasoner.view import choose_view, crop, view_of

RNG = np.random.default_rng(3)
PLACE = np.clip(RNG.normal(120, 25, (180, 320, 3)), 0, 255).astype(np.uint8)


def with_block(x1: int, y1: int, x2: int, y2: int, level: int = 250) -> np.ndarray:
    picture = PLACE.copy()
    picture[y1:y2, x1:x2] = level
    return picture


def test_nothing_changed_is_zero() -> None:
    assert change_maps(np.stack([PLACE] * 4), PLACE).max() == 0


def test_a_block_is_found_where_it_stands() -> None:
    maps = change_maps(np.stack([with_block(100, 60, 140, 120)]), PLACE)
    found = regions(maps[0])
    assert len(found) == 1
    assert found[0].iou(Box(100 / 320, 60 / 180, 140 / 320, 120 / 180)) > 0.8


def test_without_background_the_median_of_the_window_stands_for_it() -> None:
    frames = np.stack([PLACE, PLACE, with_block(10, 10, 60, 60), PLACE, PLACE])
    maps = change_maps(frames)
    assert maps[2].max() == 255 and maps[0].max() < 48


def test_a_change_of_exposure_is_no_change() -> None:
    brighter = np.clip(PLACE.astype(float) * 1.25, 0, 255).astype(np.uint8)
    assert (change_maps(np.stack([brighter]), PLACE)[0] > 48).mean() < 0.02


def test_activity_is_high_where_something_moves() -> None:
    still = [with_block(50, 50, 90, 90)] * 3
    moving = [with_block(50 + 30 * k, 50, 90 + 30 * k, 90) for k in range(3)]
    values = activity(np.stack(still + moving))
    assert values[:3].max() == 0 and values[4:].min() > 0.01


@pytest.mark.parametrize(
    ("block", "min_share", "width"),
    [((150, 80, 170, 110), 0.25, 0.25), ((100, 40, 220, 140), 0.25, 0.69), ((2, 2, 318, 178), 0.25, 1.0)],
)
def test_the_view_holds_the_change_and_is_never_too_small(
    block: tuple[int, int, int, int], min_share: float, width: float
) -> None:
    maps = change_maps(np.stack([with_block(*block)]), PLACE)
    view = choose_view(maps, min_share)
    changed = Box(block[0] / 320, block[1] / 180, block[2] / 320, block[3] / 180)
    assert view.x2 - view.x1 == pytest.approx(width, abs=0.06)
    assert view.intersection(changed) > 0.97 * changed.area


def test_the_view_is_whole_when_nothing_changed() -> None:
    assert view_of(np.stack([PLACE] * 3), PLACE, 0.25) == WHOLE


def test_a_crop_shows_the_view() -> None:
    picture = with_block(160, 90, 320, 180, 255)
    out = crop(picture, Box(0.5, 0.5, 1, 1), (160, 96))
    assert out.shape == (96, 160, 3) and out.min() > 250


@pytest.mark.parametrize("seed", range(20))
def test_a_box_comes_back_from_its_view(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x1, y1 = rng.uniform(0, 0.6, 2)
    view = Box(x1, y1, x1 + 0.35, y1 + 0.35)
    a, b = rng.uniform(0.05, 0.5, 2)
    box = Box(x1 + 0.35 * a, y1 + 0.35 * b, x1 + 0.35 * (a + 0.4), y1 + 0.35 * (b + 0.4))
    inside = to_view(box, view)
    assert inside is not None
    numbers = (inside.x1 * 1000, inside.y1 * 1000, inside.x2 * 1000, inside.y2 * 1000)
    back = from_model(numbers, "rel1000", view)
    assert back is not None and back.iou(box) > 0.999


@pytest.mark.parametrize(
    ("numbers", "coordinates", "size", "expected"),
    [
        ((0, 0, 1000, 1000), "rel1000", (1, 1), (0, 0, 1, 1)),
        ((-5, 10, 2000, 900), "rel1000", (1, 1), (0, 0.01, 1, 0.9)),
        ((64, 36, 320, 180), "pixels", (640, 360), (0.1, 0.1, 0.5, 0.5)),
        ((0.1, 0.2, 0.3, 0.4), "norm01", (1, 1), (0.1, 0.2, 0.3, 0.4)),
        ((500, 10, 500, 90), "rel1000", (1, 1), None),
    ],
)
def test_model_numbers_become_boxes(numbers, coordinates, size, expected) -> None:  # type: ignore[no-untyped-def]
    box = from_model(numbers, coordinates, WHOLE, size)
    if expected is None:
        assert box is None
    else:
        assert box is not None
        assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx(expected)
