"""The last stage of the line on a real store: what becomes of an alert that a later look contradicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerts.store import Store
from alerts.verify import verify
from deploy.ledger import Ledger
from deploy.stages import Decide, Judgement, Published
from deploy.summary import Windows
from detector.window import Window
from reasoner.verdict import Verdict
from tests.alerts import sample


class Line:
    """Decide with what it needs; windows are flagged and stored as the stages before it do."""

    def __init__(self, store: Store) -> None:
        self.store, self.ledger = store, Ledger()
        self.told: list[Published] = []
        cameras, rules = {sample.CAMERA.id: sample.CAMERA}, {sample.RULE.id: sample.RULE}
        self._decide = Decide(cameras, rules, lambda: sample.ORIGIN, store, self.ledger, self.told.append)

    def __call__(self, window: Window, verdict: Verdict) -> None:
        self.store.flag(window.span)
        self.ledger.flag(window.window_id)
        self.store.put_window(window)
        self._decide([Judgement(window, verdict)])


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Store.open(tmp_path / "data") as store:
        yield Line(store)


def later() -> Window:
    return sample.window(0.5, frames=8, clip=False)


def test_an_alert_is_raised_taken_back_and_followed_by_another(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    first, last = sample.window(), sample.window(4.0)
    line(first, sample.verdict(first, p=0.7))
    line(later(), sample.no(later()))
    line(last, sample.verdict(last))
    assert [(alert.state, alert.revision) for alert in line.store.alerts()] == [("open", 1), ("retracted", 2)]
    assert line.ledger.windows() == Windows(flagged=3, alert=2, rejected=1)
    assert line.store.counts() == {"flagged": 3, "alert": 2, "rejected": 1, "merged": 0, "shed": 0}
    assert [one.alert.revision for one in line.told] == [1, 1], "a retraction is no new alert"
    assert "taken back after a later look: Object left behind at Gate 1" in caplog.text
    assert verify(line.store) == []


def test_a_person_who_was_quicker_is_heard(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sample.window()
    line(first, sample.verdict(first, p=0.7))
    look = line.store.latest_alert

    def looked_then_reviewed(*asked: Any) -> Any:
        found = look(*asked)
        if found is not None and found.review.status == "none":
            line.store.review(found.alert_id, "confirmed", "Ana")
        return found

    monkeypatch.setattr(line.store, "latest_alert", looked_then_reviewed)
    line(later(), sample.no(later()))
    (alert,) = line.store.alerts()
    assert (alert.state, alert.revision, alert.review.status) == ("open", 2, "confirmed")
    assert line.ledger.windows() == Windows(flagged=2, alert=1, rejected=1) and verify(line.store) == []
