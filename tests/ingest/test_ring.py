"""The ring of packets: bounded, evicted by whole GOPs, cut from key frame to end."""

import random

import pytest

from ingest.clock import Timeline
from ingest.ring import Packet, Ring

S = 1_000_000_000


def packet(index: int, gop: int = 10, size: int = 100) -> Packet:
    return Packet(bytes(size), index * 100, index * 100, 100, index % gop == 0)


def timeline(epoch: int = 1, offset_s: int = 0) -> Timeline:
    return Timeline(epoch, (1, 1000), offset_s * S)


def fill(ring: Ring, count: int, line: Timeline, first: int = 0, gop: int = 10, size: int = 100) -> None:
    for index in range(first, first + count):
        ring.append(packet(index, gop, size), line, index / 10)


def test_whole_gops_leave_when_their_time_is_over() -> None:
    ring, line = Ring(5.0, 10**9), timeline()
    for index in range(100):
        ring.append(packet(index), line, index / 10)
        assert ring.seconds <= 5.0
        assert everything(ring)[0].key
    assert len(ring) >= 40
    run = ring.select(0, 10 * S)
    assert run is not None
    assert run.packets[0].key
    assert run.packets[-1].pts == 9900


def test_bytes_are_bounded_whatever_comes() -> None:
    rng = random.Random(5)
    for _ in range(60):
        limit = rng.randrange(2000, 20_000)
        ring, line = Ring(rng.uniform(1, 20), limit), timeline()
        gop = rng.randrange(1, 40)
        for index in range(rng.randrange(10, 400)):
            size = rng.randrange(1, 1500)
            ring.append(Packet(bytes(size), index * 100, index * 100, 100, index % gop == 0), line, index / 10)
            assert ring.size <= limit
            assert ring.size == sum(len(p.data) for p in everything(ring))
            held = everything(ring)
            assert not held or held[0].key


def everything(ring: Ring) -> tuple[Packet, ...]:
    run = ring.select(-(10**18), 10**18)
    return run.packets if run else ()


def test_a_gop_larger_than_the_ring_is_given_up_until_the_next_key_frame() -> None:
    ring, line = Ring(60.0, 1000), timeline()
    taken = [ring.append(packet(index, gop=30), line, index / 10) for index in range(30)]
    assert taken.count(False) == 20  # the eleventh outgrew the ring, the others came without a key frame
    assert ring.refused == 30
    assert ring.size == 0
    assert ring.append(packet(30, gop=30), line, 3.0)


def test_packets_before_the_first_key_frame_are_refused() -> None:
    ring, line = Ring(60.0, 10**6), timeline()
    fill(ring, 15, line, first=5)
    assert ring.refused == 5
    assert len(ring) == 10


def test_an_epoch_needs_its_own_key_frame() -> None:
    ring, first, second = Ring(60.0, 10**6), timeline(1), timeline(2, 100)
    fill(ring, 15, first)
    assert not ring.append(packet(16), second, 1.6)
    assert not ring.append(packet(17), second, 1.7)
    assert ring.append(packet(20), second, 2.0)


@pytest.mark.parametrize(
    ("start_s", "end_s", "first", "last"),
    [
        (2.5, 4.0, 20, 40),  # from the key frame before
        (2.0, 2.0, 20, 20),
        (2.05, 2.95, 20, 29),
        (-5.0, 0.5, 0, 5),
        (9.0, 60.0, 90, 99),
    ],
)
def test_cut_selection(start_s: float, end_s: float, first: int, last: int) -> None:
    ring = Ring(60.0, 10**6)
    fill(ring, 100, timeline())
    run = ring.select(round(start_s * S), round(end_s * S))
    assert run is not None
    assert (run.packets[0].pts, run.packets[-1].pts) == (first * 100, last * 100)
    assert run.packets[0].key


def test_reordered_packets_of_the_last_pictures_are_included() -> None:
    ring, line = Ring(60.0, 10**6), timeline()
    order = [(0, -200), (300, -100), (100, 0), (200, 100), (600, 200), (400, 300), (500, 400)]
    for index, (pts, dts) in enumerate(order):
        ring.append(Packet(b"x", pts, dts, 100, index == 0), line, index / 10)
    run = ring.select(0, S * 2 // 10)
    assert run is not None
    assert {p.pts for p in run.packets} >= {0, 100, 200, 300}


def test_nothing_of_the_span_is_held() -> None:
    ring = Ring(60.0, 10**6)
    assert ring.select(0, S) is None
    fill(ring, 20, timeline())
    assert ring.select(50 * S, 51 * S) is None
    assert ring.newest_utc_ns() == 1_900_000_000


def test_the_epoch_that_holds_most_of_the_span() -> None:
    ring, first, second = Ring(600.0, 10**6), timeline(1), timeline(2, 10)
    fill(ring, 50, first)
    fill(ring, 50, second)
    for span, epoch in [((0, 5), 1), ((4, 12), 2), ((1, 11), 1), ((10, 15), 2)]:
        run = ring.select(span[0] * S, span[1] * S)
        assert run is not None
        assert run.timeline.epoch == epoch


def test_relabelling_moves_the_newest_gop_only() -> None:
    ring, first, second = Ring(600.0, 10**6), timeline(1), timeline(2)
    fill(ring, 21, first)
    ring.relabel(second)
    fill(ring, 5, second, first=21)
    assert ring.refused == 0
    run = ring.select(2 * S, 3 * S)
    assert run is not None
    assert run.timeline is second
    assert len(run.packets) == 6
