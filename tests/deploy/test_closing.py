"""Open alerts are over once their cool-down has passed without another window, also after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.errors import StoreFull
from alerts.policy import Merged, decide
from alerts.store import Store
from deploy.closing import MOST_AT_ONCE, SLACK_S, Closing
from detector.window import Window
from tests.alerts import sample

RULES = {sample.RULE.id: sample.RULE}
OVER_S = sample.RULE.cooldown_s + SLACK_S


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def spooled(store: Store, offset_s: float, camera_id: str = "gate-1") -> Window:
    window = sample.window(offset_s, camera_id=camera_id, clip=False)
    store.flag(window.span)
    store.put_window(window)
    return window


def raised(store: Store, offset_s: float = 0.0, camera_id: str = "gate-1") -> str:
    window = spooled(store, offset_s, camera_id)
    alert = sample.alert(window)
    store.raise_alert(window.window_id, alert)
    return alert.alert_id


def states(store: Store) -> list[str]:
    return [alert.state for alert in store.alerts()]


def test_it_closes_after_the_cool_down_and_not_before(store: Store) -> None:
    clock = Clock()
    closing = Closing(store, RULES, clock)
    raised(store)
    clock.s += OVER_S - 0.1
    assert closing() == 0 and states(store) == ["open"]
    clock.s += 0.1
    assert closing() == 1 and states(store) == ["closed"]
    clock.s += 10 * OVER_S
    assert closing() == 0 and len(store.outbox_pending(9)) == 2


def test_a_merged_window_starts_the_cool_down_anew_a_review_does_not(store: Store) -> None:
    clock = Clock()
    closing = Closing(store, RULES, clock)
    alert_id = raised(store)
    clock.s += 50
    store.review(alert_id, "claimed")
    window = spooled(store, 5.0)
    latest = store.latest_alert("gate-1", "bag-left")
    outcome = decide(sample.verdict(window), window, sample.RULE, sample.CAMERA, sample.ORIGIN, latest, 0)
    assert isinstance(outcome, Merged)
    store.merge(window.window_id, outcome.alert)
    clock.s += OVER_S - 50
    store.review(alert_id, "confirmed")
    assert closing() == 0
    clock.s += 50
    assert closing() == 1 and states(store) == ["closed"]


def test_a_window_on_its_way_keeps_it_open(store: Store) -> None:
    clock = Clock()
    closing = Closing(store, RULES, clock)
    raised(store)
    window = spooled(store, 5.0)
    clock.s += OVER_S
    assert closing() == 0 and states(store) == ["open"]
    store.shed(window.window_id, "overload")
    assert closing() == 0, "not asked again at once"
    clock.s += SLACK_S
    assert closing() == 1


def test_a_restart_counts_anew_and_closes_what_is_of_no_rule_any_more(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        raised(store)
    with Store.open(tmp_path) as store:
        clock = Clock()
        closing, ruleless = Closing(store, RULES, clock), Closing(store, {}, clock)
        clock.s += SLACK_S
        assert closing() == 0 and ruleless() == 1 and states(store) == ["closed"]
        clock.s += OVER_S
        assert closing() == 0


def test_many_are_closed_in_turns_and_a_full_disk_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MOST_AT_ONCE + 2):
        raised(store, camera_id=f"gate-{number}")
    clock = Clock()
    closing = Closing(store, RULES, clock)
    clock.s += OVER_S
    with monkeypatch.context() as patched:
        patched.setattr(Store, "close_alert", _full)
        assert closing() == 0
    assert closing() == 2, "those whose turn it was not"
    clock.s += SLACK_S
    assert closing() == MOST_AT_ONCE and set(states(store)) == {"closed"}


def test_a_damaged_record_ends_neither_the_start_nor_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(tmp_path) as store:
        clock = Clock()
        damaged, whole = raised(store), raised(store, camera_id="gate-2")
        closing = Closing(store, RULES, clock)
        with sqlite3.connect(tmp_path / "witness.db") as db:
            db.execute(
                "UPDATE revision SET record = CAST(replace(CAST(record AS TEXT), 'alert/1.0', 'alert/0.x') AS BLOB)"
                " WHERE alert_id = ?",
                (damaged,),
            )
        again = Closing(store, RULES, clock)
        assert damaged in caplog.text and whole not in caplog.text
        caplog.clear()
        for _ in range(3):
            clock.s += OVER_S
            closing(), again()
        assert [record.getMessage().count(damaged) for record in caplog.records] == [1]
        assert [alert.state for alert in store.revisions(whole)] == ["open", "closed"]


def _full(*_: object) -> None:
    raise StoreFull("no room")
