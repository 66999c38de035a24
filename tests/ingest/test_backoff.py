"""When a camera is tried again."""

import random

import pytest

from ingest.backoff import Backoff
from ingest.errors import Fault


def delays(faults: list[tuple[Fault, float]], max_s: float = 30.0, seed: int = 1) -> list[float]:
    backoff = Backoff(max_s, random.Random(seed))
    return [backoff.delay_s(fault, online_s) for fault, online_s in faults]


@pytest.mark.parametrize("seed", range(20))
def test_failures_double_up_to_the_limit(seed: int) -> None:
    expected = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    for wait, mean in zip(delays([("unreachable", 0.0)] * 9, seed=seed), expected, strict=True):
        assert 0.8 * mean <= wait <= 1.2 * mean


def test_a_good_stream_that_ends_is_opened_at_once() -> None:
    assert delays([("ended", 20.0), ("ended", 20.0)]) == [0.0, 0.0]


def test_a_stream_that_ends_at_once_is_not_hammered() -> None:
    waits = delays([("ended", 0.1)] * 5)
    assert all(wait > 0.3 for wait in waits)
    assert waits[-1] > 5


def test_a_good_connection_starts_the_count_anew() -> None:
    faults: list[tuple[Fault, float]] = [*[("unreachable", 0.0)] * 6, ("stalled", 60.0)]  # type: ignore[list-item]
    waits = delays(faults)
    assert waits[-1] <= 0.6


@pytest.mark.parametrize("seed", range(20))
def test_passwords_are_never_tried_often(seed: int) -> None:
    waits = delays([("credentials", 0.0)] * 4, seed=seed)
    assert all(wait >= 30 for wait in waits)


def test_the_limit_is_the_limit() -> None:
    assert max(delays([("died", 0.0)] * 200, max_s=5.0)) <= 6.0
