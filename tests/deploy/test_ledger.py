"""A flagged window ends once, whoever comes first, and is counted when its row is written."""

import threading

import pytest

from deploy.ledger import Ledger
from deploy.summary import Windows


def test_each_end_is_counted_once() -> None:
    ledger = Ledger()
    ledger.flag("w")
    assert ledger.end("w", "alert", lambda: None)
    assert not ledger.end("w", "shed", lambda: pytest.fail("a second end was recorded"))
    assert ledger.windows() == Windows(flagged=1, alert=1)
    assert ledger.late == 1
    assert ledger.open() == []


def test_what_could_not_be_recorded_stays_open() -> None:
    ledger = Ledger()
    ledger.flag("w")
    with pytest.raises(OSError, match="full"):
        ledger.end("w", "alert", _full)
    assert ledger.open() == ["w"]
    assert ledger.end("w", "shed", lambda: None)
    assert ledger.windows() == Windows(flagged=1, shed=1)


def _full() -> None:
    raise OSError("disk full")


def test_windows_of_an_earlier_run_do_not_count_as_this_runs() -> None:
    ledger = Ledger()
    ledger.take_over("old")
    ledger.flag("new")
    assert (ledger.of_this_run("old"), ledger.of_this_run("new")) == (False, True)
    ledger.end("old", "merged", lambda: None)
    ledger.end("new", "rejected", lambda: None)
    assert ledger.windows() == Windows(flagged=1, rejected=1)
    assert ledger.finished_earlier["merged"] == 1


def test_many_hands_one_end() -> None:
    ledger = Ledger()
    recorded: list[str] = []
    for number in range(200):
        ledger.flag(str(number))

    def end_all() -> None:
        for number in range(200):
            ledger.end(str(number), "shed", lambda number=number: recorded.append(str(number)))  # type: ignore[misc]

    hands = [threading.Thread(target=end_all) for _ in range(4)]
    for hand in hands:
        hand.start()
    assert ledger.wait_until_done(10)
    for hand in hands:
        hand.join()
    assert sorted(recorded, key=int) == [str(number) for number in range(200)]
    assert ledger.windows() == Windows(flagged=200, shed=200)
