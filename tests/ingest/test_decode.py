"""Coarse and fine frames: the right pictures, at the right times, in the displayed shape."""

import io
import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from ingest.clock import Timeline
from ingest.decode import Decoder, Fine, displayed_size, fine_frames, fitted, grid
from ingest.errors import SourceUndecodable
from ingest.ring import Packet, Ring, Run
from tests.ingest.numbered import encoded, read, read_jpeg

S = 1_000_000_000
START = 1_800_000_000 * S
MAX_PIXELS = 8_294_400


def run_of(packets: list[Packet], start_s: float, end_s: float) -> Run:
    ring, line = Ring(600.0, 10**9), Timeline(1, (1, 90_000), START)
    for packet in packets:
        ring.append(packet, line, packet.order / 90_000)
    run = ring.select(START + round(start_s * S), START + round(end_s * S))
    assert run is not None
    return run


def fine_of(codec: str, packets: list[Packet], start_s: float, end_s: float, step_s: float = 0.5) -> Fine:
    wanted = grid(START + round(start_s * S), START + round(end_s * S), step_s)
    return fine_frames(Decoder(codec, None, MAX_PIXELS), run_of(packets, start_s, end_s), wanted)


@pytest.mark.parametrize(
    ("codec", "b_frames", "gop"), [("h264", 0, 25), ("h264", 3, 50), ("hevc", 0, 25), ("hevc", 2, 50), ("mjpeg", 0, 1)]
)
@pytest.mark.parametrize(("start_s", "end_s"), [(1.0, 3.0), (0.52, 2.6), (1.98, 4.99)])
def test_each_step_gives_its_own_picture(codec: str, b_frames: int, gop: int, start_s: float, end_s: float) -> None:
    packets = encoded(codec, 125, gop, b_frames=b_frames)
    fine = fine_of(codec, packets, start_s, end_s)
    wanted = [start_s + 0.5 * index for index in range(int((end_s - start_s) / 0.5 + 1e-9) + 1)]
    assert [read_jpeg(frame.jpeg) for frame in fine.frames] == [
        math.ceil(at * 25 - 0.5 - 1e-6) for at in wanted
    ]  # of two as near the earlier
    for frame in fine.frames:
        number = read_jpeg(frame.jpeg)
        assert frame.stamp.pts == number * 3600
        assert frame.stamp.utc_ns == START + number * S // 25
    assert (fine.corrupt, fine.undecodable) == (0, 0)


def test_low_frame_rates_give_each_picture_once() -> None:
    packets = [p for p in encoded("mjpeg", 125, 1) if p.pts // 3600 % 25 == 0]  # one picture a second
    fine = fine_of("mjpeg", packets, 0.0, 4.0)
    assert [read_jpeg(frame.jpeg) for frame in fine.frames] == [0, 25, 50, 75, 100]


def test_a_gap_leaves_its_steps_out() -> None:
    packets = [p for p in encoded("mjpeg", 125, 1) if not 30 <= p.pts // 3600 < 80]
    fine = fine_of("mjpeg", packets, 0.0, 4.5)
    assert [read_jpeg(frame.jpeg) for frame in fine.frames] == [0, 12, 25, 80, 87, 100, 112]


def test_every_key_frame_alone_is_its_picture() -> None:
    packets = encoded("h264", 100, 20, b_frames=2)
    decoder = Decoder("h264", None, MAX_PIXELS)
    for packet in (p for p in packets if p.key):
        frame = decoder.single(packet)
        assert frame is not None
        picture = decoder.picture(frame, (192, 108))
        rgb = np.frombuffer(picture.rgb, np.uint8).reshape(108, 192, 3)
        assert read(rgb) == packet.pts // 3600
        assert (picture.size, picture.source_size, frame.pts) == ((192, 108), (384, 216), packet.pts)


def test_padded_rows_are_unpadded() -> None:
    packets = encoded("h264", 30, 10, size=(358, 202))
    decoder = Decoder("h264", None, MAX_PIXELS)
    frame = decoder.single(packets[0])
    assert frame is not None
    for bound in [(640, 360), (101, 360), (67, 31)]:
        picture = decoder.picture(frame, bound)
        rgb = np.frombuffer(picture.rgb, np.uint8).reshape(picture.size[1], picture.size[0], 3)
        assert read(rgb) == 0
        assert abs(int(rgb[-1, -1, 0]) - 96) < 12


def test_squashed_pictures_are_displayed_wide() -> None:
    packets = encoded("h264", 30, 10, size=(240, 216), aspect="8/5")
    fine = fine_of("h264", packets, 0.0, 1.0)
    assert fine.source_size == (384, 216)
    assert {Image.open(io.BytesIO(frame.jpeg)).size for frame in fine.frames} == {(384, 216)}
    assert read_jpeg(fine.frames[1].jpeg) == 12


@pytest.mark.parametrize(
    ("size", "aspect", "displayed"),
    [
        ((960, 1080), Fraction(2), (1920, 1080)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((720, 480), Fraction(8, 9), (720, 540)),
        ((640, 360), None, (640, 360)),
        ((640, 360), Fraction(0), (640, 360)),
        ((640, 360), Fraction(1000), (640, 360)),
    ],
)
def test_displayed_size(size: tuple[int, int], aspect: Fraction | None, displayed: tuple[int, int]) -> None:
    assert displayed_size(*size, aspect) == displayed


@pytest.mark.parametrize(
    ("size", "bound", "fits"),
    [
        ((1920, 1080), (640, 360), (640, 360)),
        ((640, 480), (640, 360), (480, 360)),
        ((320, 180), (640, 360), (320, 180)),
        ((3840, 2160), (1280, 1280), (1280, 720)),
        ((100, 4000), (640, 360), (9, 360)),
    ],
)
def test_fitted(size: tuple[int, int], bound: tuple[int, int], fits: tuple[int, int]) -> None:
    assert fitted(size, bound) == fits


def test_bombs_are_refused() -> None:
    packets = encoded("h264", 2, 1, size=(512, 512))
    with pytest.raises(SourceUndecodable, match="h264"):
        Decoder("h264", None, 512 * 512 - 1).single(packets[0])


def test_garbage_is_counted_and_survived() -> None:
    rng = np.random.default_rng(9)
    packets = encoded("h264", 100, 25)
    for index in range(26, 49):
        packets[index].data = packets[index].data[:5] + rng.bytes(len(packets[index].data))
    fine = fine_of("h264", packets, 0.0, 3.9)
    numbers = [read_jpeg(frame.jpeg) for frame in fine.frames]
    assert fine.undecodable + fine.corrupt > 0
    assert {0, 12, 50, 62, 75, 87} <= set(numbers)


def test_another_picture_size_ends_the_frames() -> None:
    small = encoded("h264", 50, 25)
    large = [
        Packet(p.data, p.pts + 50 * 3600, (p.dts or 0) + 50 * 3600, 3600, p.key)
        for p in encoded("h264", 50, 25, size=(512, 288))
    ]
    fine = fine_of("h264", small + large, 0.0, 3.9)
    assert fine.source_size == (384, 216)
    assert [read_jpeg(frame.jpeg) for frame in fine.frames] == [0, 12, 25, 37, 49]


def test_grid_has_both_ends() -> None:
    assert grid(0, 2 * S, 0.5) == [0, S // 2, S, 3 * S // 2, 2 * S]
    assert grid(5, 5 + S - 1, 0.5) == [5, 5 + S // 2]
