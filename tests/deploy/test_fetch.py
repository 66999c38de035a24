"""Spans of several rules share a cut, each window keeps what belongs to its span, one that fails harms no other."""

from __future__ import annotations

import pytest

from alerts.errors import StoreFull
from deploy.fetch import Fetch, part_of, together
from detector.rule import Rule
from detector.window import Span, Window
from ingest.clock import Stamp
from ingest.errors import CutUnavailable
from ingest.frame import Cut, FineFrame

SECOND = 10**9


def span(start_s: float, end_s: float, camera: str = "a", epoch: int = 1) -> Span:
    start, end = round(start_s * SECOND), round(end_s * SECOND)
    return Span(
        window_id=f"{camera}-{start_s}-{end_s}",
        camera_id=camera,
        rule_id="r",
        epoch=epoch,
        start_utc_ns=start,
        end_utc_ns=end,
        first_hot_utc_ns=start,
        peak_utc_ns=start,
        score=0.5,
        scores=(),
        flagged_utc_ns=end,
    )


def cut(times_s: list[float], expected: int | None = None) -> Cut:
    frames = tuple(
        FineFrame(
            stamp=Stamp(pts=0, time_base=(1, 90000), utc_ns=round(at * SECOND), source="arrival", uncertainty_ms=1.0),
            jpeg=b"",
            size=(64, 36),
        )
        for at in times_s
    )
    return Cut(
        camera_id="a", epoch=1, source_size=(64, 36), frames=frames, clip=None, expected=expected or len(times_s)
    )


@pytest.mark.parametrize(
    ("spans", "sizes"),
    [
        ([], []),
        ([span(0, 6)], [1]),
        ([span(0, 6), span(0.5, 6.5), span(1, 7)], [3]),
        ([span(0, 6), span(1.5, 7.5)], [1, 1]),
        ([span(0, 6), span(0, 6, "b")], [1, 1]),
        ([span(0, 6), span(0, 6, epoch=2)], [1, 1]),
        ([span(0, 6), span(3, 9), span(3, 9)], [1, 2]),
        ([span(0, 6), span(0, 3)], [1, 1]),
        ([span(0, 6), span(0, 6, "b"), span(0, 6)], [2, 1]),
    ],
)
def test_who_shares_a_cut(spans: list[Span], sizes: list[int]) -> None:
    groups = together(spans)
    assert [len(group) for group in groups] == sizes
    assert sorted(one.window_id for group in groups for one in group) == sorted(one.window_id for one in spans)


def test_a_window_keeps_the_frames_of_its_span() -> None:
    whole = cut([at / 2 for at in range(17)])
    part = part_of(whole, span(1, 6))
    assert [frame.stamp.utc_ns / SECOND for frame in part.frames] == [at / 2 for at in range(2, 13)]
    assert part.expected == 11
    assert part_of(whole, span(0, 8)) == whole


def test_what_is_missing_stays_missing() -> None:
    part = part_of(cut([0.0, 0.5, 1.0, 1.5, 5.0], expected=11), span(0, 5))
    assert (len(part.frames), part.expected) == (5, 11)


def test_no_frame_no_window() -> None:
    with pytest.raises(CutUnavailable):
        part_of(cut([0.0, 0.5, 1.0]), span(10, 16))


class Ring:
    """A camera that has everything of the first ten seconds."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    def cut(self, start_utc_ns: int, end_utc_ns: int, timeout_s: float) -> Cut:
        self.asked.append((start_utc_ns / SECOND, end_utc_ns / SECOND))
        return cut([at / 2 for at in range(20) if start_utc_ns <= at * SECOND / 2 <= end_utc_ns])


class Spool:
    """A store that has no room for one window."""

    def __init__(self, too_large: str) -> None:
        self.windows: dict[str, int] = {}
        self.too_large = too_large

    def put_window(self, window: Window) -> None:
        if window.window_id == self.too_large:
            raise StoreFull("no room")
        self.windows[window.window_id] = len(window.cut.frames)


def test_one_cut_serves_a_group_and_one_failure_is_its_own() -> None:
    group = (span(0, 6), span(0.5, 6.5), span(1, 7))
    ring, spool = Ring(), Spool(group[1].window_id)
    failed: list[tuple[str, str]] = []
    fetch = Fetch(
        {"a": ring},
        {"r": Rule(id="r", category="fall", watch="w", question="q", severity="low")},
        spool,  # type: ignore[arg-type]
        lambda camera, before_utc_ns: b"",
        lambda one, error: failed.append((one.window_id, str(error))),
    )
    tickets = fetch([group])
    assert ring.asked == [(0.0, 7.0)]
    assert spool.windows == {group[0].window_id: 13, group[2].window_id: 13}
    assert [(ticket.span, ticket.severity) for ticket in tickets] == [(group[0], "low"), (group[2], "low")]
    assert failed == [(group[1].window_id, "no room")]
