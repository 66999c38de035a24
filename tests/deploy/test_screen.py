"""What a person reads: an alert with its claims, a table, and no control codes from outside."""

from deploy.screen import alert_lines, plain, summary_lines, table
from deploy.summary import Latency, Summary, SummaryAlert, SummaryClaim, Windows

ALERT = SummaryAlert(
    alert_id="0198",
    camera="cam-1",
    rule="fall",
    onset=11.5,
    confidence=0.934,
    decision="confirmed",
    claims=(SummaryClaim(object="person", time=12.0, box=(0.1, 0.25, 0.3, 0.5)),),
)


def test_an_alert_is_a_line_and_its_claims_are_below_it() -> None:
    assert alert_lines(ALERT, "Fall at Gate 1", 15.25) == [
        "    15.2 s  cam-1  fall  0.93  confirmed  Fall at Gate 1",
        "             person at 12.0 s, box x1=0.100 y1=0.250 x2=0.300 y2=0.500",
    ]


def test_nothing_from_outside_steers_the_terminal() -> None:
    assert plain("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    assert plain("中庭二层 éü") == "中庭二层 éü"


def test_the_summary_is_judged_only_against_a_truth() -> None:
    summary = Summary(
        seconds=60.0,
        cameras=2,
        events=(),
        alerts=(ALERT,),
        matched=3,
        missed=1,
        false=0,
        latency_s=Latency(p50=4.0, p95=6.5),
        windows=Windows(flagged=9, alert=3, rejected=4, merged=1, shed=1),
    )
    lines = summary_lines(summary, truth=True)
    assert lines[1] == "windows: 9 flagged = 3 alert + 4 rejected + 1 merged + 1 shed"
    assert lines[3] == "event to alert: p50 4.0 s, p95 6.5 s"
    assert len(summary_lines(summary, truth=False)) == 2


def test_a_table_lines_up() -> None:
    assert table([("ok", "camera a", "x"), ("FAIL", "b", "y z")]) == ["ok    camera a  x", "FAIL  b         y z"]
    assert table([]) == []
