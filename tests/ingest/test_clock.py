"""PTS to UTC: sender reports, arrival, epochs."""

import random

import pytest

from ingest.clock import CameraClock, Stamp, Timeline

TICK = (1, 90_000)
START_NS = 1_800_000_000_000_000_000
FRAME = 3600
S = 1_000_000_000


def media_ns(pts: int) -> int:
    return pts * S // 90_000


def test_sender_reports_give_the_cameras_time_from_the_first_packet() -> None:
    clock = CameraClock(TICK, 5)
    for index in range(100):
        pts = index * FRAME
        captured = START_NS + media_ns(pts)
        clock.feed(pts, pts, captured + 80_000_000, captured)
    stamp = clock.timeline.stamp(50 * FRAME)
    assert stamp == Stamp(pts=180_000, time_base=TICK, utc_ns=START_NS + 2 * S, source="rtcp_sr", uncertainty_ms=80.0)
    assert clock.timeline.epoch == 5


def test_arrival_minus_the_smallest_delay() -> None:
    rng = random.Random(3)
    clock = CameraClock(TICK, 1)
    delays = [rng.randrange(20_000_000, 180_000_000) for _ in range(500)]
    for index, delay in enumerate(delays):
        clock.feed(index * FRAME, index * FRAME, START_NS + media_ns(index * FRAME) + delay)
    stamp = clock.timeline.stamp(0)
    assert stamp.source == "arrival"
    assert stamp.utc_ns == START_NS + min(delays)
    assert stamp.uncertainty_ms == 250.0
    assert clock.timeline.epoch == 1


def test_a_backlog_sent_at_once_ends_no_epoch() -> None:
    """Cameras begin with the last key frame and what followed: seconds of pictures within milliseconds."""
    for reported in (False, True):
        clock = CameraClock(TICK, 1)
        for index in range(400):
            pts = index * FRAME
            captured = START_NS + media_ns(pts)
            arrival = max(captured, START_NS + 4 * S) + 1000 * index
            clock.feed(pts, pts, arrival, captured if reported else None, key=index % 50 == 0)
        assert clock.timeline.epoch == 1
        assert abs(clock.timeline.utc_ns(0) - START_NS) < 1_000_000
        assert clock.timeline.source == ("rtcp_sr" if reported else "arrival")


def test_a_slow_crystal_is_followed() -> None:
    """100 ppm over an hour are 360 ms: the mapping must not stay with the first minute's smallest delay."""
    clock = CameraClock(TICK, 1)
    for index in range(0, 3600 * 25, 25):
        pts = index * FRAME
        clock.feed(pts, None, START_NS + round(media_ns(pts) * 1.0001), key=True)
    newest = (3600 * 25 - 25) * FRAME
    error_ns = clock.timeline.utc_ns(newest) - (START_NS + round(media_ns(newest) * 1.0001))
    assert abs(error_ns) < 10_000_000
    assert clock.timeline.epoch == 1


@pytest.mark.parametrize(
    ("step", "new_epoch"),
    [(FRAME, False), (2 * 90_000, False), (2 * 90_000 + 1, True), (3600 * 90_000, True), (0, True), (-135_000, True)],
)
def test_jumps_of_dts_start_an_epoch(step: int, new_epoch: bool) -> None:
    clock = CameraClock(TICK, 1)
    for index in range(50):
        before = clock.feed(index * FRAME, index * FRAME, START_NS + media_ns(index * FRAME))
    pts = 49 * FRAME + step
    after = clock.feed(pts, pts, START_NS + 2 * S, key=False)
    assert (after is not before) == new_epoch
    assert after.epoch == before.epoch + new_epoch


def test_reordered_pictures_without_dts_are_no_jump() -> None:
    clock = CameraClock(TICK, 1)
    for group in range(20):
        for place in (0, 3, 1, 2):
            pts = (group * 4 + place) * FRAME
            clock.feed(pts, None, START_NS + media_ns(pts), key=place == 0)
    assert clock.timeline.epoch == 1


def test_dts_that_appear_after_the_first_packets() -> None:
    """FFmpeg gives the first packets of a stream with B-frames without DTS, and the next with DTS behind their PTS."""
    clock = CameraClock(TICK, 1)
    for pts, dts in [(0, None), (10_800, None), (3_600, None), (7_200, 3_600), (21_600, 7_200), (14_400, 10_800)]:
        clock.feed(pts, dts, START_NS, key=pts == 0)
    assert clock.timeline.epoch == 1


def test_a_wrong_clock_is_not_believed_but_reported() -> None:
    clock = CameraClock(TICK, 1)
    for index in range(200):
        pts = index * FRAME
        captured = START_NS + media_ns(pts)
        clock.feed(pts, pts, captured, captured + 3600 * S)
    assert clock.timeline.source == "arrival"
    assert clock.timeline.utc_ns(0) == START_NS
    assert clock.camera_offset_ms == pytest.approx(3_600_000)


@pytest.mark.parametrize(("late_ms", "epochs"), [(120, 1), (900, 2)])
def test_late_reports_correct_the_epoch_or_end_it(late_ms: int, epochs: int) -> None:
    clock = CameraClock(TICK, 1)
    for index in range(300):
        pts = index * FRAME
        captured = START_NS + media_ns(pts)
        key = index % 25 == 0
        clock.feed(pts, pts, captured + late_ms * 1_000_000, captured if index > 120 and key else None, key)
    assert clock.timeline.epoch == epochs
    assert clock.timeline.utc_ns(0) == START_NS
    assert clock.timeline.uncertainty_ms == late_ms


def test_renewed_epochs_keep_the_mapping() -> None:
    clock = CameraClock(TICK, 1)
    before = clock.feed(0, 0, START_NS, START_NS)
    after = clock.renew()
    assert (after.epoch, after.utc_ns(0), after.source) == (before.epoch + 1, before.utc_ns(0), before.source)
    assert clock.feed(FRAME, FRAME, START_NS + media_ns(FRAME)) is after


def test_pts_and_utc_are_inverse() -> None:
    rng = random.Random(11)
    for _ in range(500):
        base = (1, rng.choice([1000, 12_800, 90_000, 1_000_000]))
        timeline = Timeline(1, base, rng.randrange(2**60))
        pts = rng.randrange(-(2**40), 2**40)
        assert timeline.pts(timeline.utc_ns(pts)) == pts


@pytest.mark.parametrize("change", [{"time_base": (0, 1)}, {"time_base": (1, -1)}, {"uncertainty_ms": -1.0}])
def test_stamps_are_checked_at_birth(change: dict[str, object]) -> None:
    fields = {"pts": 0, "time_base": TICK, "utc_ns": 0, "source": "file", "uncertainty_ms": 0.0} | change
    with pytest.raises(ValueError, match=r"time base|uncertainty"):
        Stamp(**fields)  # type: ignore[arg-type]
