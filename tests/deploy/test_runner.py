"""The one loop: order, batches, second attempts, poison, and a drain that leaves nothing unspoken."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from deploy.inbox import Fifo
from deploy.runner import Link, Observation, Runner


class Ends:
    """What became of records that did not get through."""

    def __init__(self) -> None:
        self.poisoned: list[tuple[Any, str]] = []
        self.left: list[Any] = []

    def link(self, name: str, stage: Callable[[Sequence[Any]], Sequence[Any]], **settings: Any) -> Link[Any, Any]:
        settings.setdefault("inboxes", [Fifo[Any](4)])
        return Link(
            name=name,
            stage=stage,
            on_poison=lambda item, error: self.poisoned.append((item, str(error))),
            on_left=self.left.append,
            **settings,
        )


@pytest.fixture
def ends() -> Ends:
    return Ends()


def collect(out: list[Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """A last stage that keeps what it is given."""

    def stage(batch: Sequence[Any]) -> list[Any]:
        out.extend(batch)
        return []

    return stage


def same(batch: Sequence[Any]) -> list[Any]:
    return list(batch)


def test_order_is_kept_through_bounded_links(ends: Ends) -> None:
    out: list[int] = []
    links = [
        ends.link("a", same, max_batch=3),
        ends.link("b", lambda batch: [item * 10 for item in batch], max_batch=2),
        ends.link("c", collect(out), inboxes=[Fifo[Any](1)]),
    ]
    runner = Runner(links)
    runner.start()
    assert all(runner.put(number) for number in range(50))
    assert runner.stop(10) == 0
    assert out == [number * 10 for number in range(50)]
    assert [(link.stats.received, link.stats.done, link.stats.poisoned) for link in links] == [(50, 50, 0)] * 3


def test_lanes_work_side_by_side_and_keep_their_own_order(ends: Ends) -> None:
    out: list[tuple[int, int]] = []
    slow = threading.Event()

    def stage(batch: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        if batch[0][0] == 0:
            slow.wait(10)
        return list(batch)

    lanes = [Fifo[Any](64) for _ in range(3)]
    links = [
        ends.link("lanes", stage, inboxes=lanes, lane=lambda item: item[0]),
        ends.link("end", collect(out)),
    ]
    runner = Runner(links)
    runner.start()
    for number in range(10):
        for lane in range(3):
            runner.put((lane, number))
    deadline = time.monotonic() + 10
    while len(out) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {lane for lane, _ in out} == {1, 2}
    slow.set()
    runner.stop(10)
    for lane in range(3):
        assert [number for at, number in out if at == lane] == list(range(10))


@pytest.mark.parametrize("error", [ConnectionError("away"), TimeoutError("late"), ConnectionRefusedError("away")])
def test_trouble_that_passes_is_tried_again(ends: Ends, error: Exception) -> None:
    attempts: list[float] = []

    def stage(batch: Sequence[int]) -> list[int]:
        attempts.append(time.monotonic())
        if len(attempts) < 4:
            raise error
        return list(batch)

    runner = Runner([ends.link("again", stage)])
    runner.start()
    runner.put(1)
    assert runner.stop(10) == 0
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert len(attempts) == 4
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.09
    assert (runner.links[0].stats.retries, ends.poisoned) == (3, [])


def test_trouble_that_does_not_pass_ends_the_record(ends: Ends) -> None:
    def stage(batch: Sequence[int]) -> list[int]:
        raise ConnectionError("nobody answers")

    runner = Runner([ends.link("never", stage, retry_s=0.25, max_batch=2)])
    runner.start()
    runner.put(1)
    runner.put(2)
    runner.stop(10)
    assert sorted(ends.poisoned) == [(1, "nobody answers"), (2, "nobody answers")]


@pytest.mark.parametrize("seed", range(5))
def test_one_bad_record_spoils_no_other(ends: Ends, seed: int) -> None:
    dice = random.Random(seed)
    bad = set(dice.sample(range(40), dice.randint(1, 10)))
    out: list[int] = []

    def stage(batch: Sequence[int]) -> list[int]:
        if bad & set(batch):
            raise ValueError("poison")
        return list(batch)

    links = [
        ends.link("stage", stage, max_batch=dice.randint(1, 7), max_wait_s=0.01),
        ends.link("end", collect(out)),
    ]
    runner = Runner(links)
    runner.start()
    for number in range(40):
        runner.put(number)
    assert runner.stop(10) == 0
    assert out == [number for number in range(40) if number not in bad]
    assert sorted(item for item, _ in ends.poisoned) == sorted(bad)
    assert links[0].stats.received == links[0].stats.done + links[0].stats.poisoned == 40


def test_the_deadline_leaves_what_is_left_by_name(ends: Ends) -> None:
    hold = threading.Event()

    def stage(batch: Sequence[int]) -> list[int]:
        hold.wait(10)
        return list(batch)

    runner = Runner([ends.link("stuck", stage, inboxes=[Fifo[Any](9)]), ends.link("end", same)])
    runner.start()
    for number in range(6):
        runner.put(number)
    time.sleep(0.1)
    began = time.monotonic()
    left = runner.stop(0.3)
    assert time.monotonic() - began < 2
    assert (left, ends.left) == (5, [1, 2, 3, 4, 5])
    assert not runner.put(7)
    hold.set()
    deadline = time.monotonic() + 5
    while len(ends.left) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ends.left[-1] == 0, "what a late worker brings is not lost silently either"


def test_a_stage_gives_up_what_it_holds_before_the_next_one_drains(ends: Ends) -> None:
    held: list[int] = []
    out: list[int] = []

    def keep(batch: Sequence[int]) -> list[int]:
        held.extend(batch)
        return []

    runner = Runner([ends.link("keep", keep, flush=lambda: held), ends.link("end", collect(out))])
    runner.start()
    for number in range(3):
        runner.put(number)
    runner.stop(10)
    assert out == [0, 1, 2]


def test_the_observer_sees_every_attempt(ends: Ends) -> None:
    seen: list[Observation] = []
    fail = iter([True, False])

    def stage(batch: Sequence[str]) -> list[str]:
        if next(fail):
            raise TimeoutError("late")
        return [*batch, *batch]

    runner = Runner([ends.link("twice", stage)], seen.append)
    runner.start()
    before_ns = time.time_ns()
    runner.put("w1")
    runner.stop(10)
    assert [(one.link, one.keys, one.emitted, one.outcome) for one in seen] == [
        ("twice", ("w1",), 0, "retry"),
        ("twice", ("w1",), 2, "ok"),
    ]
    assert all(one.started_ns >= before_ns and one.seconds >= 0 for one in seen)
