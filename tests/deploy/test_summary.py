"""The comparison with the truth, on cases worked out by hand."""

import json

import pytest

from deploy.summary import (
    SCHEMA_FILE,
    Latency,
    Raised,
    SummaryAlert,
    SummaryClaim,
    SummaryEvent,
    Windows,
    percentile,
    schema,
    summarise,
)

WINDOWS = Windows(flagged=5, alert=2, rejected=1, merged=1, shed=1)


def event(camera: str, label: str, start: float, end: float) -> SummaryEvent:
    return SummaryEvent(camera=camera, label=label, start=start, end=end)


def alert(camera: str, category: str, onset: float, published: float | None = None) -> Raised:
    one = SummaryAlert(
        alert_id=f"{camera}-{category}-{onset}",
        camera=camera,
        rule=f"rule-of-{category}",
        onset=onset,
        confidence=0.9,
        decision="confirmed",
        claims=(SummaryClaim(object="person", time=onset + 1, box=(0.1, 0.2, 0.3, 0.4)),),
    )
    return Raised(alert=one, category=category, published=onset + 4 if published is None else published)


FALL = event("a", "fall", 10, 15)
CASES = {
    # name: (events, alerts, matched, missed, false)
    "onset inside": ([FALL], [alert("a", "fall", 12)], 1, 0, 0),
    "two seconds early": ([FALL], [alert("a", "fall", 8.0)], 1, 0, 0),
    "just too early": ([FALL], [alert("a", "fall", 7.99)], 0, 1, 1),
    "two seconds late": ([FALL], [alert("a", "fall", 17.0)], 1, 0, 0),
    "just too late": ([FALL], [alert("a", "fall", 17.01)], 0, 1, 1),
    "another camera": ([FALL], [alert("b", "fall", 12)], 0, 1, 1),
    "another category": ([FALL], [alert("a", "fight", 12)], 0, 1, 1),
    "no alert": ([FALL], [], 0, 1, 0),
    "no event": ([], [alert("a", "fall", 12)], 0, 0, 1),
    "two alerts of one event": ([FALL], [alert("a", "fall", 11), alert("a", "fall", 14)], 1, 0, 0),
    "one alert for two events": ([FALL, event("a", "fall", 16, 20)], [alert("a", "fall", 16)], 1, 1, 0),
    "two alerts, either fits the first event, one the second": (
        [event("a", "fall", 10, 30), event("a", "fall", 12, 14)],
        [alert("a", "fall", 11), alert("a", "fall", 25)],
        2,
        0,
        0,
    ),
    "the same moment on two cameras": (
        [FALL, event("b", "fall", 10, 15)],
        [alert("a", "fall", 12), alert("b", "fall", 12)],
        2,
        0,
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_matching(name: str) -> None:
    events, raised, matched, missed, false = CASES[name]
    summary = summarise(60, 2, events, raised, WINDOWS)
    assert (summary.matched, summary.missed, summary.false) == (matched, missed, false)
    assert summary.matched + summary.missed == len(summary.events)


def test_latency_runs_from_the_start_of_the_event_to_the_publication() -> None:
    events = [event("a", "fall", 10, 15), event("a", "fall", 40, 45), event("b", "fight", 20, 25)]
    raised = [alert("a", "fall", 12, 14.0), alert("a", "fall", 41, 48.0), alert("b", "fight", 20, 22.5)]
    raised.append(alert("b", "running", 20, 99.0))
    assert summarise(60, 2, events, raised, WINDOWS).latency_s == Latency(p50=4.0, p95=7.6)


def test_without_truth_nothing_is_judged() -> None:
    summary = summarise(60, 2, None, [alert("a", "fall", 12)], WINDOWS)
    assert (summary.events, summary.matched, summary.missed, summary.false) == ((), 0, 0, 0)
    assert summary.latency_s == Latency(p50=None, p95=None)
    assert len(summary.alerts) == 1


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 95, 3.0),
        ([1.0, 2.0], 50, 1.5),
        ([4.0, 1.0, 3.0, 2.0, 5.0], 95, 4.8),
        ([1.0, 9.0], 100, 9.0),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected


def test_the_schema_file_is_what_the_code_says() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == schema(), (
        "write deploy.summary.schema() to deploy/schema/summary.json"
    )


def test_a_summary_holds_to_its_schema_and_a_crooked_one_does_not() -> None:
    import msgspec
    from jsonschema import Draft202012Validator

    check = Draft202012Validator(schema())
    printed = json.loads(msgspec.json.encode(summarise(60, 2, [FALL], [alert("a", "fall", 12)], WINDOWS)))
    assert list(check.iter_errors(printed)) == []
    for change in ({"matched": -1}, {"seconds": "60"}, {"extra": 1}, {"latency_s": {"p50": 1.0}}):
        assert list(check.iter_errors({**printed, **change})) != []
