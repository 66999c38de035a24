"""Background, preprocessing, camera memory and novelty: small exact cases."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from detector import preprocess
from detector.background import FRAMES, Background
from detector.memory import CameraMemory
from detector.novelty import Novelty

SECOND = 1_000_000_000


def plain(value: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


def test_median_is_numpys_lower_middle() -> None:
    rng = np.random.default_rng(1)
    background, pictures = Background(), []
    for index in range(FRAMES):
        pictures.append(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8))
        assert background.add(index * 3 * SECOND, pictures[-1])
        wanted = np.sort(np.stack(pictures), axis=0)[(len(pictures) - 1) // 2]
        median = background.median()
        assert median is not None and median.dtype == np.uint8
        np.testing.assert_array_equal(median, wanted)


def test_frames_are_spaced_and_bounded() -> None:
    background = Background()
    taken = [background.add(round(t * SECOND), plain(t % 256)) for t in range(60)]
    assert [t for t, yes in enumerate(taken) if yes] == list(range(0, 60, 3))
    assert len(background) == FRAMES


@pytest.mark.parametrize(("utc_ns", "picture"), [(9 * SECOND, plain(1, (40, 24))), (SECOND, plain(1))])
def test_another_size_or_an_earlier_time_starts_afresh(utc_ns: int, picture: np.ndarray) -> None:
    background = Background()
    background.add(3 * SECOND, plain(9))
    background.add(6 * SECOND, plain(9))
    assert background.add(utc_ns, picture)
    assert len(background) == 1


def test_the_jpeg_is_the_median_once_it_is_known() -> None:
    background = Background()
    assert (background.median(), background.jpeg()) == (None, b"")
    for index, value in enumerate((40, 200, 42)):
        assert background.jpeg() == b""
        background.add(index * 3 * SECOND, plain(value))
    shown = cv2.imdecode(np.frombuffer(background.jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None and shown.shape == (24, 32, 3)
    assert np.abs(shown.astype(int) - 42).max() <= 1


def test_what_passes_is_no_background_and_what_appears_is_change() -> None:
    background = Background()
    for index in range(FRAMES):
        picture = plain(100)
        picture[:, index * 2 : index * 2 + 4] = 220
        background.add(index * 3 * SECOND, picture)
    now = plain(100)
    now[8:16, 8:16] = 30
    shown = background.change(preprocess.smooth(now))
    assert shown is not None and shown.shape == (24, 32)
    assert shown[10:14, 10:14].min() == 255
    assert shown[:6].max() == 0 and shown[:, 20:].max() == 0


@seed(2)
@settings(max_examples=50, deadline=None)
@given(st.integers(-60, 60))
def test_light_is_no_change(shift: int) -> None:
    rng = np.random.default_rng(3)
    before = rng.integers(80, 160, (36, 64, 3), dtype=np.uint8)
    after = (before.astype(int) + shift).astype(np.uint8)
    assert preprocess.change(after, before).max() == 0


def test_change_is_the_largest_channel_above_the_noise() -> None:
    before, after = plain(100), plain(100)
    after[4, 5] = (100, 117, 90)
    after[9, 9] = (100 + preprocess.NOISE_LEVEL, 100, 100)
    wanted = np.zeros((24, 32), np.uint8)
    wanted[4, 5] = (17 - preprocess.NOISE_LEVEL) * preprocess.CONTRAST
    np.testing.assert_array_equal(preprocess.change(after, before), wanted)
    halved = preprocess.change(after, before, 0.5)
    assert halved[4, 5] == wanted[4, 5] // 2


@pytest.mark.parametrize(("age_s", "weight"), [(0.2, 1.0), (1.0, 1.0), (2.0, 0.5), (9.0, 0.25)])
def test_weight_of_age(age_s: float, weight: float) -> None:
    assert preprocess.per_second(age_s) == weight


def test_memory_gives_seven_planes() -> None:
    memory = CameraMemory((64, 36))
    first = memory.look(0, 0, plain(90, (128, 72)))
    assert first.shape == (36, 64, 7) and first.dtype == np.uint8 and first.flags.c_contiguous
    assert first[..., :3].min() == 90 and first[..., 3:].max() == 0
    moved = plain(90, (128, 72))
    moved[20:40, 20:40] = 200
    second = memory.look(0, SECOND, moved)
    assert second[15, 15, 3] == 255 and second[15, 15, 4] == 255
    third = memory.look(0, 2 * SECOND, moved)
    assert third[15, 15, 3] == 255 and third[15, 15, 4] == 0


def test_memory_keeps_a_trail_and_how_long_things_dwell() -> None:
    memory = CameraMemory((64, 36))
    for second in range(4):
        memory.look(0, second * SECOND, plain(90, (64, 36)))
    for second in range(4, 9):
        there = plain(90, (64, 36))
        there[10:20, 10:20] = 200
        there[10:20, 4 * second : 4 * second + 4] = 200
        planes = memory.look(0, second * SECOND, there)
    trail, dwell = planes[15, :, 5].astype(int), planes[15, :, 6].astype(int)
    assert trail[29] > trail[25] > trail[21] > 0, "the trail of what moves fades behind it"
    assert trail[33] == 0, "what is there now is in the change planes, the trail is what was"
    assert dwell[15] > 2 * dwell[29] > 0, "what stays is told from what passes"
    assert memory.look(1, 10 * SECOND, plain(90, (64, 36)))[..., 5:].max() == 0, "a new epoch forgets both"


def test_memory_forgets_the_neighbour_but_not_the_background() -> None:
    memory = CameraMemory((64, 36))
    memory.look(0, 0, plain(90, (64, 36)))
    moved = plain(90, (64, 36))
    moved[10:20, 10:20] = 200
    assert memory.look(1, 5 * SECOND, moved)[15, 15].tolist() == [200, 200, 200, 255, 0, 0, 0]
    late = memory.look(1, 4 * SECOND, plain(90, (64, 36)))
    assert late[..., 4].max() == 0
    assert memory.look(1, 6 * SECOND, moved)[..., 4].max() == 0, "the late frame was not remembered"
    assert memory.look(1, 60 * SECOND, plain(90, (64, 36)))[..., 4].max() == 0, "too old to be a neighbour"


def test_novelty_is_zero_for_the_usual_and_high_for_the_unusual() -> None:
    rng = np.random.default_rng(4)
    usual = rng.normal(0, 1, 16)
    novelty = Novelty()
    values = [novelty.update((usual + rng.normal(0, 0.05, (9, 16))).astype(np.float32)) for _ in range(40)]
    assert values[:5] == [0.0] * 5
    assert np.mean(values[5:]) < 0.2
    assert novelty.update(rng.normal(0, 1, (9, 16)).astype(np.float32)) == 1.0
