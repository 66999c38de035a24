"""Which windows wait for the reasoner, against the rules that are stated for it."""

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.admission import Admission, Bound, Shed, Ticket, admit, expire, importance
from detector.rule import Severity
from detector.window import Span

NUMBERS = count()


def ticket(
    camera: str = "a",
    rule: str = "r",
    *,
    start: int = 0,
    end: int = 6,
    score: float = 0.5,
    severity: Severity = "high",
    since_s: float = 0.0,
    restored: bool = False,
) -> Ticket:
    span = Span(
        window_id=f"{next(NUMBERS):032x}",
        camera_id=camera,
        rule_id=rule,
        epoch=1,
        start_utc_ns=start * 10**9,
        end_utc_ns=end * 10**9,
        first_hot_utc_ns=start * 10**9,
        peak_utc_ns=start * 10**9,
        score=score,
        scores=(),
        flagged_utc_ns=end * 10**9,
    )
    return Ticket(span, severity, since_s, restored)


def test_below_the_bound_nothing_is_given_up() -> None:
    waiting = [ticket(start=at, end=at + 6) for at in range(3)]
    kept, shed = admit(waiting, ticket(), 1.0, Bound(4, 60))
    assert (len(kept), shed) == (4, [])


def test_full_two_windows_of_the_same_time_become_one() -> None:
    weak, strong = ticket(start=0, end=6, score=0.4), ticket(start=3, end=9, score=0.9)
    kept, shed = admit([weak, ticket("b")], strong, 1.0, Bound(2, 60))
    assert shed == [Shed(weak.span, f"merged_into={strong.span.window_id}")]
    assert kept[-1] is strong


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"camera": "b"}, "another camera"),
        ({"rule": "s"}, "another rule"),
        ({"start": 6, "end": 12}, "touching is no overlap"),
    ],
)
def test_only_windows_of_one_camera_rule_and_time_become_one(other: dict[str, object], why: str) -> None:
    first, second = ticket(score=0.4), ticket(**{"score": 0.9, **other})  # type: ignore[arg-type]
    _, shed = admit([first], second, 1.0, Bound(1, 60))
    assert [one.reason for one in shed] == ["overload"], why


def test_the_least_important_goes() -> None:
    waiting = [
        ticket("a", start=0, end=6, severity="critical", score=0.4),
        ticket("a", start=20, end=26, severity="info", score=0.9),
        ticket("a", start=40, end=46, severity="high", score=0.3),
    ]
    kept, shed = admit(waiting, ticket("a", start=60, end=66, score=0.6), 0.0, Bound(3, 60))
    assert [one.span for one in shed] == [waiting[1].span]
    assert kept[0] is waiting[0]


def test_the_only_window_of_a_camera_stays() -> None:
    noisy = [ticket("noisy", start=10 * at, end=10 * at + 6, score=0.9) for at in range(3)]
    quiet = ticket("quiet", score=0.1, severity="info")
    _, shed = admit(noisy, quiet, 0.0, Bound(3, 60))
    assert [one.span.camera_id for one in shed] == ["noisy"]


def test_who_waited_too_long_goes_first() -> None:
    old, fresh = ticket(since_s=0.0), ticket(since_s=59.0)
    assert expire([old, fresh], 60.5, 60.0) == ([fresh], [Shed(old.span, "expired")])


def test_importance_fades_with_age() -> None:
    one = ticket(score=0.5, severity="critical", since_s=0.0)
    assert [importance(one, now, 60.0) for now in (0.0, 30.0, 60.0, 90.0)] == [1.0, 0.5, 0.0, 0.0]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_nothing_vanishes_and_the_bound_holds(seed: int, bound: int) -> None:
    dice = random.Random(seed)
    shed: list[Shed] = []
    now = [0.0]
    queue = Admission(Bound(bound, 5.0), shed.append, clock=lambda: now[0])
    put, taken = [], []
    for _ in range(60):
        now[0] += dice.random()
        if dice.random() < 0.7:
            start = dice.randrange(50)
            one = ticket(
                dice.choice("abc"), dice.choice("rs"), start=start, end=start + 6, score=dice.random(), since_s=now[0]
            )
            put.append(one)
            assert queue.put(one)
            assert len(queue) <= bound
        elif len(queue):
            queue_was = len(queue)
            if any(now[0] - one.since_s <= 5.0 for one in queue._waiting):
                taken += queue.take(1, 0)
                assert len(queue) < queue_was
    left = queue.clear()
    ends = [one.span.window_id for one in (*taken, *left)] + [one.span.window_id for one in shed]
    assert sorted(ends) == sorted(one.span.window_id for one in put)
    assert queue.dropped == len(shed)
    for camera in "abc":
        order = [one.since_s for one in taken if one.span.camera_id == camera]
        assert order == sorted(order)


def test_windows_of_an_earlier_run_are_not_given_up_again() -> None:
    shed: list[Shed] = []
    now = [0.0]
    queue = Admission(Bound(1, 5.0), shed.append, clock=lambda: now[0])
    for at in range(3):
        queue.restore(ticket(start=10 * at, end=10 * at + 6).span, "high")
    queue.put(ticket("b", since_s=0.0))
    now[0] = 4.0
    assert (len(queue.take(10, 0)), shed) == (4, [])


def test_a_closed_queue_takes_nothing_and_gives_what_it_has() -> None:
    queue = Admission(Bound(2, 60), lambda shed: None)
    one = ticket(since_s=1e18)
    queue.put(one)
    queue.close()
    assert not queue.put(ticket())
    assert queue.take(5, 0) == [one]
    assert queue.take(5, 0) == []
