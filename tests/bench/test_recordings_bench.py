"""Alerts on labelled recordings are counted against what people saw."""

import pytest

from bench.recordings import LabelledEvent, Told, counted


def event(start_s: float, end_s: float, alert: str) -> LabelledEvent:
    return LabelledEvent(label="something", start_s=start_s, end_s=end_s, alert=alert)


def alert(onset_s: float) -> Told:
    return Told(category="fall", onset_s=onset_s, p=0.9, decision="confirmed")


@pytest.mark.parametrize(
    ("events", "onsets", "wanted", "told", "false"),
    [
        ((), (), 0, 0, 0),
        ((), (3.0,), 0, 0, 1),
        ((event(5, 8, "yes"),), (), 1, 0, 0),
        ((event(5, 8, "yes"),), (3.1,), 1, 1, 0),
        ((event(5, 8, "yes"),), (2.9, 10.1), 1, 0, 2),
        ((event(5, 8, "yes"), event(7, 9, "yes")), (8.0,), 2, 2, 0),
        ((event(5, 8, "no"),), (6.0,), 0, 0, 1),
        ((event(5, 8, "depends"),), (6.0,), 0, 0, 0),
        ((event(5, 8, "no"), event(6, 9, "yes")), (6.0,), 1, 1, 0),
    ],
)
def test_what_is_told_and_what_is_false(
    events: tuple[LabelledEvent, ...], onsets: tuple[float, ...], wanted: int, told: int, false: int
) -> None:
    found = counted(events, [alert(onset) for onset in onsets])
    assert (found["wanted"], found["told"], found["false"]) == (wanted, told, false)
