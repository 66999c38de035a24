"""Which windows wait for the reasoner, against the rules that are stated for it."""

import random
import threading
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.admission import Admission, Bound, Shed, Ticket, admit, expire, importance
from deploy.inbox import Fifo
from deploy.runner import Link, Runner
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
                queue.done(taken[-1:])
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


class Line:
    """Workers over the queue, and one that decides what they made."""

    def __init__(self, queue: Admission, workers: int) -> None:
        self.decided: list[Ticket] = []
        self.ended: list[Ticket] = []
        """Poisoned or left."""
        settings: dict[str, Any] = {
            "on_poison": lambda one, error: self.ended.append(one), "on_left": self.ended.append, "retry_s": 5.0
        }  # fmt: skip
        self.judge: Link[Ticket, Ticket] = Link(
            name="reason", stage=self.answer, inboxes=[queue], workers=workers, **settings
        )
        self.runner = Runner([self.judge, Link(name="decide", stage=self.decide, inboxes=[Fifo(1)], **settings)])

    def answer(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        return list(tickets)

    def decide(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        self.decided += tickets
        return []


class Unsteady(Line):
    """Answers take any time; some fail, some only at first."""

    def __init__(self, queue: Admission, workers: int, dice: random.Random) -> None:
        super().__init__(queue, workers)
        self._dice, self._tried = dice, set[str]()

    def answer(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        luck = self._dice.random()
        time.sleep(0.01 * self._dice.random() ** 3)
        if luck < 0.1:
            raise RuntimeError("the model gave up")
        if luck < 0.13 and tickets[0].span.window_id not in self._tried:
            self._tried.add(tickets[0].span.window_id)
            raise TimeoutError("the model is late")
        return list(tickets)


@pytest.mark.parametrize("seed", range(8))
def test_each_camera_is_decided_in_order_whatever_its_answers_take(seed: int) -> None:
    dice = random.Random(seed)
    shed: list[Shed] = []
    queue = Admission(Bound(dice.choice([4, 200]), 60.0), shed.append)
    line = Unsteady(queue, dice.randint(2, 8), dice)
    cameras = "abcde"[: dice.randint(1, 5)]
    put = [ticket(dice.choice(cameras), start=10 * at, end=10 * at + 6, since_s=time.monotonic()) for at in range(80)]
    for one in put[:20]:
        queue.restore(one.span, "high")
    line.runner.start()
    for one in put[20:]:
        assert queue.put(one)
        time.sleep(0.002 * dice.random())
    assert line.runner.stop(20) == 0 and line.runner.wait(1)
    spans = [one.span for one in (*line.decided, *line.ended)] + [one.span for one in shed]
    assert sorted(span.window_id for span in spans) == sorted(one.span.window_id for one in put)
    assert len(line.decided) > 5 and line.ended
    for camera in cameras:
        order = [one.span.start_utc_ns for one in line.decided if one.span.camera_id == camera]
        assert order == sorted(order)


class Held(Line):
    """Answers about camera a come when they are let go."""

    go = threading.Event()

    def answer(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        if tickets[0].span.camera_id == "a":
            assert self.go.wait(30)
        return list(tickets)


def test_other_cameras_go_on_and_the_end_waits_for_nobody() -> None:
    queue = Admission(Bound(50, 60.0), lambda shed: None)
    line = Held(queue, workers=3)
    line.runner.start()
    for at in range(5):
        for camera in "ab":
            assert queue.put(ticket(camera, start=10 * at, end=10 * at + 6, since_s=time.monotonic()))
    until = time.monotonic() + 10
    while len(line.decided) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert [one.span.camera_id for one in line.decided] == list("bbbbb")
    assert line.judge.stats.received == 6 and len(queue) == 4
    assert line.runner.stop(0.3) == 4, "those behind the one that hangs"
    line.go.set()
    assert line.runner.wait(10)
    assert len(line.ended) == 5, "and the one whose answer came after the end"
