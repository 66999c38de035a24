"""A bounded inbox: never longer than its capacity, in order, and it tells what it gives up."""

import threading
import time

import pytest

from deploy.inbox import Fifo


def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    dropped: list[int] = []
    inbox = Fifo[int](3, "drop_oldest", dropped.append)
    assert all(inbox.put(number) for number in range(10))
    assert (len(inbox), inbox.dropped, dropped) == (3, 7, list(range(7)))
    assert inbox.take(10, 0) == [7, 8, 9]


def test_wait_holds_the_sender_back() -> None:
    inbox = Fifo[int](2)
    sent: list[int] = []

    def send() -> None:
        for number in range(6):
            assert inbox.put(number)
            sent.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(0.1)
    assert sent == [0, 1]
    received: list[int] = []
    while len(received) < 6:
        received += inbox.take(1, 0)
    sender.join(5)
    assert (received, inbox.dropped) == (list(range(6)), 0)


def test_a_batch_waits_for_company_but_not_long() -> None:
    inbox = Fifo[int](8)
    inbox.put(1)
    threading.Timer(0.05, inbox.put, [2]).start()
    began = time.monotonic()
    assert inbox.take(2, 5) == [1, 2]
    assert time.monotonic() - began < 2
    inbox.put(3)
    assert inbox.take(2, 0.02) == [3]


def test_close_frees_everybody() -> None:
    full, empty = Fifo[int](1), Fifo[int](1)
    full.put(1)
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(full.put(2))),
        threading.Thread(target=lambda: answers.append(empty.take(1, 0))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    full.close()
    empty.close()
    for thread in threads:
        thread.join(5)
    assert sorted(map(str, answers)) == ["False", "[]"]
    assert full.take(1, 0) == [1]
    assert full.take(1, 0) == []


def test_clear_takes_everything_at_once() -> None:
    inbox = Fifo[int](4)
    inbox.put(1)
    inbox.put(2)
    assert (inbox.clear(), len(inbox)) == ([1, 2], 0)


def test_no_inbox_without_room() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        Fifo[int](0)
