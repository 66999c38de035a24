"""Clips: the camera's own packets in an MP4 that plays, with nothing re-encoded."""

import io
import random
from itertools import pairwise

import av
import pytest

from ingest.clip import decode_times, mux
from ingest.clock import Timeline
from ingest.ring import Packet, Ring, Run
from tests.ingest.numbered import encoded, play

S = 1_000_000_000
START = 1_800_000_000 * S


def run_of(packets: list[Packet], start_s: float = 1.0, end_s: float = 3.0) -> Run:
    ring, line = Ring(600.0, 10**9), Timeline(1, (1, 90_000), START)
    for packet in packets:
        ring.append(packet, line, packet.order / 90_000)
    run = ring.select(START + round(start_s * S), START + round(end_s * S))
    assert run is not None
    return run


@pytest.mark.parametrize(
    ("codec", "b_frames", "gop"), [("h264", 0, 25), ("h264", 3, 25), ("hevc", 0, 25), ("hevc", 2, 25), ("mjpeg", 0, 1)]
)
def test_a_clip_plays_every_picture_of_its_span(codec: str, b_frames: int, gop: int) -> None:
    run = run_of(encoded(codec, 125, gop, b_frames=b_frames))
    clip = mux(run, codec, None, (384, 216))
    assert clip is not None
    assert clip.codec == codec
    with av.open(io.BytesIO(clip.mp4), "r") as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.width, context.height) == (codec, 384, 216)
    shown = play(clip.mp4)
    numbers = [number for _, number in shown]
    assert numbers[0] == 25
    assert {*range(25, 76)} <= {*numbers}
    assert numbers == sorted(numbers)
    for time_s, number in shown:
        assert time_s - shown[0][0] == pytest.approx((number - 25) / 25, abs=1e-4)
    assert clip.start_utc_ns == START + S
    assert clip.end_utc_ns == START + (max(numbers) + 1) * S // 25


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_packets_are_copied_bit_by_bit(codec: str) -> None:
    run = run_of(encoded(codec, 75, 25))
    clip = mux(run, codec, None, (384, 216))
    assert clip is not None
    with av.open(io.BytesIO(clip.mp4), "r") as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    if codec == "mjpeg":
        assert stored == [packet.data for packet in run.packets]
    for mine, theirs in zip(run.packets, stored, strict=True):
        assert mine.data[-16:] == theirs[-16:]  # H.264: only start codes became lengths


def test_parameter_sets_that_only_the_description_gave() -> None:
    """Cameras may send SPS and PPS once, in their SDP, and never again."""
    packets = encoded("h264", 75, 25)
    first = packets[0].data
    cut = first.index(b"\x00\x00\x01\x65") - 1
    sets = first[: first.index(b"\x00\x00\x01\x06") - 1] if b"\x00\x00\x01\x06" in first[:cut] else first[:cut]
    for packet in packets:
        if packet.key:
            packet.data = packet.data[packet.data.index(b"\x00\x00\x01\x65") - 1 :]
    clip = mux(run_of(packets), "h264", sets, (384, 216))
    assert clip is not None
    assert [number for _, number in play(clip.mp4)][:3] == [25, 26, 27]


def test_two_pictures_that_claim_one_instant() -> None:
    packets = encoded("mjpeg", 75, 1)
    packets[30].pts = packets[30].dts = packets[29].pts
    clip = mux(run_of(packets), "mjpeg", None, (384, 216))
    assert clip is not None


def test_what_cannot_be_stored_gives_no_clip() -> None:
    run = Run(timeline=Timeline(1, (1, 90_000), 0), packets=(Packet(b"x", 0, 0, 1, True),), start_pts=0, end_pts=1)
    assert mux(run, "no such codec", None, (16, 16)) is None


def test_decode_times_are_valid_for_any_order() -> None:
    rng = random.Random(2)
    for _ in range(300):
        pts = rng.sample(range(10_000), rng.randint(1, 40))
        dts = decode_times(pts)
        assert all(a < b for a, b in pairwise(dts))
        assert all(d <= p for d, p in zip(dts, pts, strict=True))
        assert any(d == p for d, p in zip(dts, pts, strict=True))
