"""The gate as tables and as properties."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from detector.config import GateConfig
from detector.gate import Gate
from detector.rule import Rule
from detector.window import Span

SECOND = 1_000_000_000
RULE = Rule(id="r", category="fall", watch="w", question="q")
PATIENT = GateConfig(max_hot_s=1.9, alone_from_s=0)
"""Three hot key frames, so that the tables have something between the first and the last; one opens a span."""
ALONE = GateConfig(alone_from_s=0)


def run(
    frames: list[tuple[float, float]], config: GateConfig | None = None, flush: bool = True
) -> tuple[list[Span], list[float]]:
    """(time, score) pairs through a gate (`PATIENT`) with threshold 0.5; the spans, and when each was flagged."""
    gate = Gate([RULE], [0.5], config or PATIENT)
    spans: list[Span] = []
    for t_s, score in frames:
        spans += gate.update("cam", 0, round(t_s * SECOND), [score])
    if flush:
        spans += gate.flush(round(frames[-1][0] * SECOND))
    return spans, [span.flagged_utc_ns / SECOND for span in spans]


def hot(span: Span, threshold: float = 0.3) -> list[float]:
    return [utc_ns / SECOND for utc_ns, score in span.scores if score >= threshold]


def bounds(spans: list[Span]) -> list[tuple[float, float]]:
    return [(span.start_utc_ns / SECOND, span.end_utc_ns / SECOND) for span in spans]


@pytest.mark.parametrize(
    ("name", "frames", "wanted", "flagged"),
    [
        ("quiet", [(0, 0.1), (1, 0.49), (2, 0.0)], [], []),
        ("one frame: short spans begin earlier", [(10, 0.9), (11, 0), (12, 0)], [(6.0, 11.5)], [12]),
        ("two frames", [(10, 0.9), (11, 0.9), (12, 0), (13, 0)], [(7.0, 12.5)], [13]),
        ("flagged while still hot", [(10, 0.9), (11, 0.9), (12, 0.9), (13, 0), (14, 0)], [(7.5, 13.5)], [12]),
        (
            "a lasting event gives a span every three seconds",
            [(10 + t, 0.9) for t in range(7)],
            [(7.5, 13.5), (10.5, 16.5), (12.0, 17.5)],
            [12, 15, 16],
        ),
        ("hysteresis keeps it hot", [(10, 0.5), (11, 0.31), (12, 0.2), (13, 0)], [(7.0, 12.5)], [13]),
        ("the lower level opens nothing", [(10, 0.4), (11, 0.45), (12, 0.4)], [], []),
        ("touching merges", [(10, 0.9), (11, 0), (11.4, 0.9), (12.5, 0), (13, 0)], [(7.4, 12.9)], [13]),
        ("apart are two", [(10, 0.9), (11, 0), (12, 0), (20, 0.9), (22, 0)], [(6.0, 11.5), (16.0, 21.5)], [12, 22]),
        ("no merge beyond the longest", [(10, 0.9), (15, 0.9), (20, 0)], [(6.0, 11.5), (11.0, 16.5)], [15, 20]),
        ("open at the end", [(10, 0.9)], [(6.0, 11.5)], [10]),
    ],
)
def test_spans(
    name: str, frames: list[tuple[float, float]], wanted: list[tuple[float, float]], flagged: list[float]
) -> None:
    spans, times = run(frames)
    assert sum(bounds(spans), ()) == pytest.approx(sum(wanted, ())), name
    assert times == pytest.approx(flagged), name


def test_as_shipped_a_lasting_event_gives_a_span_every_two_seconds() -> None:
    spans, flagged = run([(10 + t, 0.9) for t in range(6)], GateConfig())
    assert bounds(spans) == [(7.0, 12.5), (9.0, 14.5), (11.0, 16.5)]
    assert flagged == [11, 13, 15]


@pytest.mark.parametrize(
    ("name", "frames", "wanted", "flagged"),
    [
        ("one frame is a flicker", [(10, 0.9), (11, 0.4), (12, 0.0)], [], []),
        ("however often", [(10, 0.9), (11, 0.4), (12, 0.9), (13, 0.4), (14, 0.9), (15, 0.4)], [], []),
        ("the lower level is no second frame", [(10, 0.9), (11, 0.45), (12, 0.45), (13, 0)], [], []),
        ("two are flagged at the second", [(10, 0.5), (11, 0.5), (12, 0)], [(7.0, 12.5)], [11]),
        ("half a second apart as well", [(10, 0.5), (10.5, 0.5), (11, 0.4), (12, 0)], [(7.0, 12.5)], [11]),
        ("the second may be late", [(10, 0.9), (11.4, 0.9), (12, 0)], [(7.4, 12.9)], [11.4]),
        ("one of a slow camera stands alone", [(10, 0.9), (12, 0.1), (14, 0.1)], [(6.0, 11.5)], [12]),
        ("each of them", [(10, 0.9), (15, 0.9), (20, 0)], [(6.0, 11.5), (11.0, 16.5)], [15, 20]),
        ("what waits needs no second one", [(10, 0.9), (10.5, 0.9), (11, 0.1), (11.7, 0.9)], [(7.5, 13.2)], [11.7]),
        ("of a last one nobody knows", [(9, 0.1), (10, 0.9)], [], []),
    ],
)
def test_a_span_opens_with_two_frames(
    name: str, frames: list[tuple[float, float]], wanted: list[tuple[float, float]], flagged: list[float]
) -> None:
    spans, times = run(frames, GateConfig())
    assert sum(bounds(spans), ()) == pytest.approx(sum(wanted, ())), name
    assert times == pytest.approx(flagged), name
    assert [span.hot_since_utc_ns for span in spans] == [round(frames[0][0] * SECOND)] * len(spans)


def test_a_span_knows_its_peak_and_what_came_before() -> None:
    (span,), _ = run([(8, 0.1), (9, 0.2), (10, 0.6), (11, 0.9), (12, 0.1), (13, 0.1)])
    assert (span.score, span.peak_utc_ns, span.first_hot_utc_ns) == (0.9, 11 * SECOND, 10 * SECOND)
    assert span.scores == (
        (8 * SECOND, 0.1),
        (9 * SECOND, 0.2),
        (10 * SECOND, 0.6),
        (11 * SECOND, 0.9),
        (12 * SECOND, 0.1),
    )


def test_a_span_knows_since_when_it_has_been_hot() -> None:
    """Spans of one heat know of its beginning, a pause of `wait_s` or a long silence begins another."""
    lasting, late = [(10 + t, 0.9) for t in (0, 1, 2, 3, 5, 6)], [(20, 0.9), (21, 0.1), (22, 0.1), (23, 0.9)]
    spans, _ = run([(9, 0.1), *lasting, (17, 0.1), (18, 0.1), *late])
    seen = [(span.first_hot_utc_ns / SECOND, (span.hot_since_utc_ns or 0) / SECOND) for span in spans]
    assert seen == [(10, 10), (13, 10), (16, 10), (20, 20), (23, 23)]


@pytest.mark.parametrize(("silence_s", "since_s"), [(1, 10), (5, 10), (7, 19), (400, 412)])
def test_a_heat_does_not_outlast_a_silence(silence_s: float, since_s: float) -> None:
    spans, _ = run([(10, 0.9), (11, 0.9), (12, 0.9), (12 + silence_s, 0.9)])
    assert (spans[-1].hot_since_utc_ns or 0) / SECOND == since_s


def test_a_new_epoch_closes_and_an_old_one_is_ignored() -> None:
    gate = Gate([RULE], [0.5], ALONE)
    assert gate.update("cam", 3, 10 * SECOND, [0.9]) == []
    (span,) = gate.update("cam", 4, 2 * SECOND, [0.9])
    assert (span.epoch, span.first_hot_utc_ns) == (3, 10 * SECOND)
    assert gate.update("cam", 3, 11 * SECOND, [0.9]) == []
    assert gate.late == 1
    (after,) = gate.flush(3 * SECOND)
    assert (after.epoch, after.first_hot_utc_ns, after.scores) == (4, 2 * SECOND, ((2 * SECOND, 0.9),))


def test_cameras_and_rules_are_apart() -> None:
    here = Rule(id="here", category="fall", watch="w", question="q", cameras=("a",))
    gate = Gate([here, RULE], [0.5, 0.9], ALONE)
    for camera_id in ("a", "b"):
        assert gate.update(camera_id, 0, 10 * SECOND, [0.8, 0.8]) == []
    assert [(span.camera_id, span.rule_id) for span in gate.flush(11 * SECOND)] == [("a", "here")]


def test_a_late_frame_is_counted_in_the_open_span_and_opens_none() -> None:
    gate = Gate([RULE], [0.5], PATIENT)
    gate.update("cam", 0, 10 * SECOND, [0.6])
    gate.update("cam", 0, 11 * SECOND, [0.6])
    gate.update("cam", 0, 10_500_000_000, [0.95])
    gate.update("cam", 0, 8 * SECOND, [0.99])
    (span,) = gate.flush(12 * SECOND)
    assert (span.score, span.peak_utc_ns, gate.late) == (0.95, 10_500_000_000, 2)
    assert span.first_hot_utc_ns == 10 * SECOND
    assert [utc_ns // 100_000_000 for utc_ns, _ in span.scores] == [80, 100, 105, 110]


@pytest.mark.parametrize("config", [GateConfig(), ALONE])
def test_tick_flags_when_no_frame_comes(config: GateConfig) -> None:
    gate = Gate([RULE], [0.5], config)
    gate.update("cam", 0, 10 * SECOND, [0.9])
    assert gate.tick(11 * SECOND) == []
    (span,) = gate.tick(12 * SECOND)
    assert span.flagged_utc_ns == 12 * SECOND
    assert gate.tick(13 * SECOND) == []
    assert gate.flush(14 * SECOND) == []


def test_a_camera_that_is_silenced_at_once_is_flagged_in_its_new_epoch() -> None:
    gate = Gate([RULE], [0.5], GateConfig())
    assert gate.update("cam", 0, 9 * SECOND, [0.1]) == gate.update("cam", 0, 10 * SECOND, [0.9]) == []
    (span,) = gate.update("cam", 1, 60 * SECOND, [0.1])
    assert (span.epoch, span.first_hot_utc_ns, span.score) == (0, 10 * SECOND, 0.9)


def test_wall_clock_of_flagging() -> None:
    gate = Gate([RULE], [0.5], GateConfig(max_hot_s=0.5))
    gate.update("cam", 0, 10 * SECOND, [0.9], now_utc_ns=10 * SECOND + 7)
    (span,) = gate.update("cam", 0, 11 * SECOND, [0.9], now_utc_ns=11 * SECOND + 9)
    assert span.flagged_utc_ns == 11 * SECOND + 9


@pytest.mark.parametrize(("rules", "thresholds"), [([RULE], []), ([], [0.5])])
def test_rules_and_thresholds_must_fit(rules: list[Rule], thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        Gate(rules, thresholds, GateConfig())


@pytest.mark.parametrize(
    ("sure_from", "score", "sure"), [(None, 0.99, False), ([0.8], 0.79, False), ([0.8], 0.8, True), ([0.3], 0.6, True)]
)
def test_a_span_knows_whether_the_scorer_alone_would_be_believed(
    sure_from: list[float] | None, score: float, sure: bool
) -> None:
    gate = Gate([RULE], [0.5], PATIENT, sure_from)
    for at, value in ((10, 0.55), (11, score), (12, 0.1)):
        gate.update("cam", 0, at * SECOND, [value])
    (span,) = gate.flush(13 * SECOND)
    assert (span.sure_from, span.sure) == (None if sure_from is None else sure_from[0], sure)
    stored = msgspec.json.decode(msgspec.json.encode(span), type=Span)
    assert stored == span and stored.sure is sure
    old = {name: value for name, value in msgspec.to_builtins(span).items() if name != "sure_from"}
    assert not msgspec.convert(old, Span).sure
    with pytest.raises(ValueError, match="sure from 2"):
        Gate([RULE], [0.5], GateConfig(), [0.1, 0.2])


def test_scores_must_fit() -> None:
    with pytest.raises(ValueError, match="2 scores for 1 rules"):
        Gate([RULE], [0.5], GateConfig()).update("cam", 0, 1, [0.1, 0.2])


FRAMES = st.lists(
    st.tuples(st.integers(200, 5200), st.sampled_from([0.0, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0])), min_size=1, max_size=60
)


def timed(steps: list[tuple[int, float]]) -> list[tuple[float, float]]:
    out, t_ms = [], 0
    for step_ms, score in steps:
        t_ms += step_ms
        out.append((t_ms / 1000, score))
    return out


@seed(3)
@settings(max_examples=200, deadline=None)
@given(FRAMES, st.sampled_from([GateConfig(), ALONE]))
def test_properties(steps: list[tuple[int, float]], config: GateConfig) -> None:
    frames = timed(steps)
    spans, _ = run(frames, config)
    again, _ = run(frames, config)
    assert spans == again
    assert len({span.window_id for span in spans}) == len(spans)
    for span in spans:
        length = (span.end_utc_ns - span.start_utc_ns) / SECOND
        assert config.min_span_s - 1e-6 <= length <= config.max_span_s + 1e-6
        assert span.start_utc_ns <= span.first_hot_utc_ns - config.pad_before_s * SECOND
        assert span.first_hot_utc_ns <= span.peak_utc_ns <= span.end_utc_ns - config.pad_after_s * SECOND
        assert span.score == max(score for utc_ns, score in span.scores if utc_ns >= span.first_hot_utc_ns)
        assert span.hot_since_utc_ns is not None and span.hot_since_utc_ns <= span.first_hot_utc_ns
    for before, after in pairwise(spans):
        assert before.end_utc_ns < after.end_utc_ns
        assert before.first_hot_utc_ns < after.first_hot_utc_ns
    covered = [any(span.start_utc_ns <= t * SECOND <= span.end_utc_ns for span in spans) for t, _ in frames]
    # The last frame may wait for a second one.
    judged = frames if config == ALONE else frames[:-1]
    for place, (t_s, score) in enumerate(judged):
        next_s, second = frames[place + 1] if place + 1 < len(frames) else (t_s + 9, 0.0)
        if score >= 0.5 and (config == ALONE or second >= 0.5 or next_s - t_s >= config.alone_from_s):
            assert covered[place]
    if all(score < 0.5 for _, score in frames):
        assert spans == []


@seed(4)
@settings(max_examples=100, deadline=None)
@given(FRAMES)
def test_a_wide_gate_leaves_gaps_between_waiting_spans(steps: list[tuple[int, float]]) -> None:
    """Where nothing has to be split for length, spans that waited long enough to see each other were merged."""
    config = GateConfig(max_hot_s=1e6, max_span_s=1e6, min_span_s=1.0, wait_s=4.0)
    spans, _ = run(timed(steps), config)
    for before, after in pairwise(spans):
        assert before.end_utc_ns <= after.start_utc_ns
