"""New, merged or rejected: tables over time, state and decision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from alerts.alert import Alert
from alerts.birth import PRIORITY
from alerts.cloudevent import headers
from alerts.instant import utc_ns, utc_text
from alerts.policy import Merged, New, Outcome, Rejected, closed, decide, last_supported_ns
from alerts.store import Store
from detector.rule import Severity
from tests.alerts import sample


def judged(offset_s: float, latest: Alert | None, cooldown_s: float = 60.0, **verdict: Any) -> Outcome:
    window = sample.window(offset_s)
    rule = replace(sample.RULE, cooldown_s=cooldown_s)
    return decide(sample.verdict(window, **verdict), window, rule, sample.CAMERA, sample.ORIGIN, latest, 0)


FIRST = sample.alert(sample.window())
LAST_S = (last_supported_ns(FIRST) - sample.START_NS) / 1e9  # 2.0: the peak; a window's onset is 1 s after its start

TIMES = [
    # offset of the second window's start, cool-down, outcome
    (0.5, 60.0, Merged),
    (5.0, 60.0, Merged),
    (LAST_S + 60.0 - 1.0, 60.0, Merged),
    (LAST_S + 60.0 - 1.0 + 0.1, 60.0, New),
    (500.0, 60.0, New),
    (500.0, 600.0, Merged),
    (0.5, 0.0, Merged),
    (LAST_S, 0.0, New),
    (-30.0, 60.0, Merged),
    (-120.0, 60.0, New),
]


@pytest.mark.parametrize(("offset_s", "cooldown_s", "outcome"), TIMES)
def test_cool_down_counts_from_the_last_supported_moment(offset_s: float, cooldown_s: float, outcome: type) -> None:
    assert type(judged(offset_s, FIRST, cooldown_s)) is outcome


def test_a_lasting_event_is_one_alert_however_long_it_lasts() -> None:
    alert = FIRST
    for number, offset_s in enumerate(range(50, 2000, 50), start=2):
        outcome = judged(float(offset_s), alert)
        assert isinstance(outcome, Merged)
        alert = outcome.alert
        assert (alert.alert_id, alert.revision, alert.occurrences) == (FIRST.alert_id, number, number)
        assert alert.time.end == utc_text(sample.START_NS + (offset_s + 2) * 10**9)


def test_a_merged_revision_keeps_evidence_and_moves_no_time_backwards() -> None:
    outcome = judged(20.0, FIRST)
    assert isinstance(outcome, Merged)
    early = judged(-20.0, outcome.alert)
    assert isinstance(early, Merged)
    assert early.alert.time.end == outcome.alert.time.end
    assert early.alert.time.window[0] < outcome.alert.time.window[0]
    assert (early.alert.evidence, early.alert.media) == (FIRST.evidence, FIRST.media)
    assert utc_ns(early.alert.time.onset) == utc_ns(FIRST.time.onset)


def test_a_closed_alert_ended_when_it_was_last_supported() -> None:
    merged = judged(20.0, FIRST)
    assert isinstance(merged, Merged)
    for alert, end_s in ((FIRST, 2), (merged.alert, 22)):
        over = closed(alert)
        assert (over.state, over.revision) == ("closed", alert.revision + 1)
        assert over.time.end == utc_text(sample.START_NS + end_s * 10**9)
        assert dict(headers(over, 0))["ce_type"].endswith(".alert.closed.v1")
        assert dict(headers(over, 0))["ce_time"] == over.time.end


def test_no_latest_alert_is_a_new_alert() -> None:
    assert isinstance(judged(0.0, None), New)


@pytest.mark.parametrize("state", ["closed", "retracted"])
def test_an_alert_that_is_over_takes_nothing_more(state: Any) -> None:
    assert isinstance(judged(5.0, replace(FIRST, state=state)), New)


def begun_before(offset_s: float, before_s: float, latest: Alert | None) -> Outcome:
    """What is made of a window in whose first picture the event goes on already."""
    window = sample.window(offset_s)
    onset_ns = window.cut.frames[0].stamp.utc_ns - round(before_s * 1e9)
    verdict = replace(sample.verdict(window), onset_utc_ns=onset_ns)
    return decide(verdict, window, sample.RULE, sample.CAMERA, sample.ORIGIN, latest, 0)


def test_an_onset_before_the_window_is_told_and_no_picture_is_called_so() -> None:
    outcome = begun_before(0.0, 3.0, None)
    assert isinstance(outcome, New)
    alert, first_ns = outcome.alert, sample.window().cut.frames[0].stamp.utc_ns
    assert utc_ns(alert.time.onset) == first_ns - 3 * 10**9
    assert alert.time.onset < alert.time.window[0] <= alert.time.peak
    assert "onset" not in {frame.role for frame in alert.media.keyframes}
    assert alert.media.clip.pre_roll_s == 0


@pytest.mark.parametrize("state", ["closed", "retracted"])
def test_windows_after_an_alert_that_is_over_make_one_more_and_no_more(state: Any, tmp_path: Path) -> None:
    """However early their event began: the next window goes on with the new alert, not with the one that is over."""
    outcomes = []
    with Store.open(tmp_path / "data") as store:
        for offset_s in (0.0, 1.5, 2.5, 3.0):
            window = sample.window(offset_s)
            latest = store.latest_alert(sample.CAMERA.id, sample.RULE.id)
            outcome = begun_before(offset_s, 4.0, latest) if latest else New(alert=replace(FIRST, state=state))
            store.flag(window.span)
            store.put_window(window)
            keep = store.merge if isinstance(outcome, Merged) else store.raise_alert
            assert isinstance(outcome, (New, Merged))
            keep(window.window_id, outcome.alert, sample.verdict(window))
            outcomes.append(type(outcome))
    assert outcomes == [New, New, Merged, Merged]


def test_rejected_by_the_reasoner() -> None:
    outcome = judged(0.0, FIRST, decision="rejected", p=0.1)
    assert outcome == Rejected(reason="answer_no")


def test_no_evidence_is_rejected_with_its_reason() -> None:
    window = sample.window()
    verdict = replace(sample.verdict(window), evidence=())
    outcome = decide(verdict, window, sample.RULE, sample.CAMERA, sample.ORIGIN, None, 0)
    assert outcome == Rejected(reason="no_evidence")


@pytest.mark.parametrize(
    ("severity", "priority", "number"), [("critical", 1, 21), ("high", 2, 17), ("low", 3, 13), ("info", 4, 9)]
)
def test_severity_becomes_priority(severity: Severity, priority: int, number: int) -> None:
    alert = sample.alert(sample.window(), replace(sample.RULE, severity=severity))
    assert alert.priority == priority
    assert dict(headers(alert, 0))["ce_severitynumber"] == str(number)


def test_every_severity_has_a_priority() -> None:
    assert set(PRIORITY) == set(get_args(Severity))


def test_headers_tell_new_from_updated() -> None:
    merged = judged(5.0, FIRST)
    assert isinstance(merged, Merged)
    first, second = dict(headers(FIRST, 0)), dict(headers(merged.alert, 0))
    assert first["ce_type"].endswith(".alert.opened.v1")
    assert second["ce_type"].endswith(".alert.updated.v1")
    assert first["ce_id"] != second["ce_id"]
    assert first["ce_sequence"] < second["ce_sequence"]
    assert dict(headers(FIRST, 99))["ce_id"] == first["ce_id"]
    assert first["ce_subject"] == f"camera/gate-1/alert/{FIRST.alert_id}"
