"""Streams of simulated cameras, their NAL units, and the RTP payloads they become."""

from __future__ import annotations

import io
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from ingest.simulator import jpeg, nal, rtp, sdp
from ingest.simulator.stream import CLOCK_HZ, Packet, Stream, StreamCodec, encode
from ingest.simulator.track import Track
from tests.ingest import numbered
from tests.ingest.viewer import decode

CODECS: tuple[StreamCodec, ...] = ("h264", "hevc", "mjpeg")


def numbers(count: int, first: int = 0) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [numbered.draw(number) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("codec", "fps", "gop_s", "keys"),
    [
        ("h264", 10, 1.0, (0, 10, 20)),
        ("h264", 12.5, 1.0, (0, 12, 25)),
        ("h264", 30, 0.5, (0, 15)),
        ("hevc", 10, 2.0, (0, 20)),
        ("mjpeg", 10, 1.0, tuple(range(30))),
    ],
)
def test_encode(codec: StreamCodec, fps: float, gop_s: float, keys: tuple[int, ...]) -> None:
    stream = encode(numbers(30), fps, gop_s, codec=codec)
    assert (stream.codec, stream.width, stream.height) == (codec, 384, 216)
    assert stream.keys == keys
    assert stream.fps == pytest.approx(fps)
    assert [packet.pts_90k for packet in stream.packets] == [round(i * CLOCK_HZ / fps) for i in range(30)]
    assert decode(stream) == list(range(30))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_every_key_frame_can_be_the_first(codec: StreamCodec) -> None:
    stream = encode(numbers(30), 10, codec=codec)
    for key in stream.keys:
        late = msgspec.structs.replace(stream, packets=stream.packets[key:])
        assert decode(late) == list(range(key, 30))


def test_odd_sizes_lose_a_column() -> None:
    stream = encode([np.zeros((33, 51, 3), np.uint8)], 5)
    assert (stream.width, stream.height) == (50, 32)


def test_encode_refuses() -> None:
    with pytest.raises(ValueError, match="no frames"):
        encode([], 10)
    with pytest.raises(ValueError, match="above 0"):
        encode(numbers(1), 0)
    with pytest.raises(ValueError, match="in a stream of"):
        encode([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)], 10)


@pytest.mark.parametrize(
    "packets",
    [
        (),
        (Packet(b"x", 0, 0, False),),
        (Packet(b"x", 0, 0, True), Packet(b"x", 0, 0, False)),
        (Packet(b"x", 0, 0, True), Packet(b"x", 9000, 9000, False)),
    ],
    ids=["empty", "no key first", "times stand still", "longer than its loop"],
)
def test_a_stream_is_validated_at_birth(packets: tuple[Packet, ...]) -> None:
    with pytest.raises(ValueError):
        Stream(codec="h264", width=16, height=16, duration_90k=9000, packets=packets)


def test_saved_and_loaded(tmp_path: Path) -> None:
    stream = encode(numbers(12), 10)
    stream.save(tmp_path / "a.stream")
    assert Stream.load(tmp_path / "a.stream") == stream
    assert [path.name for path in tmp_path.iterdir()] == ["a.stream"]
    (tmp_path / "a.stream").write_bytes((tmp_path / "a.stream").read_bytes()[:-40])
    with pytest.raises(ValueError, match="truncated"):
        Stream.load(tmp_path / "a.stream")


def test_parts_join() -> None:
    parts = [encode(numbers(20), 10), encode(numbers(7, 20), 10)]
    whole = Stream.joined(parts)
    assert decode(whole) == list(range(27))
    assert [packet.pts_90k for packet in whole.packets] == [9000 * i for i in range(27)]
    assert whole.duration_90k == 27 * 9000
    with pytest.raises(ValueError, match="joined"):
        Stream.joined([parts[0], encode(numbers(3), 10, codec="hevc")])


def test_nal_units_survive_both_framings() -> None:
    draw = random.Random(3)
    for _ in range(50):
        # A NAL unit ends with a set bit, and emulation prevention keeps start codes out of it.
        units = [bytes([0x65]) + bytes(draw.randrange(1, 256) for _ in range(draw.randrange(1, 40))) for _ in range(4)]
        assert nal.split_annex_b(nal.join_annex_b(units)) == units
        assert nal.split_annex_b(b"\0\0\1" + b"\0\0\1".join(units) + b"\0\0\0") == units
        for size in (1, 2, 4):
            assert nal.split_lengths(b"".join(len(u).to_bytes(size, "big") + u for u in units), size) == units
    with pytest.raises(ValueError, match="9 bytes"):
        nal.split_lengths(b"\0\x09ab", 2)


def reassembled(codec: nal.NalCodec, payload: rtp.Payload) -> list[bytes]:
    """NAL units as a receiver puts them together: written from the RFCs, not from the sender."""
    units: list[bytes] = []
    wire = bytes(payload.wire(4, codec, 65_530, 77, 0xABCDEF))
    at, sequence = 0, 65_530
    while at < len(wire):
        assert wire[at : at + 2] == b"$\x04"
        size = int.from_bytes(wire[at + 2 : at + 4], "big")
        packet = wire[at + 4 : at + 4 + size]
        at += 4 + size
        assert int.from_bytes(packet[2:4], "big") == sequence & 0xFFFF
        assert packet[4:12] == (77).to_bytes(4, "big") + 0xABCDEF.to_bytes(4, "big")
        assert bool(packet[1] & 0x80) == (at == len(wire))
        sequence += 1
        body = packet[12:]
        assert len(body) <= rtp.MAX_PAYLOAD_BYTES
        if codec == "h264" and body[0] & 0x1F == 28:
            head, rest = bytes([body[0] & 0xE0 | body[1] & 0x1F]), body[2:]
            flags = body[1]
        elif codec == "hevc" and body[0] >> 1 & 0x3F == 49:
            head, rest = bytes([body[0] & 0x81 | (body[2] & 0x3F) << 1, body[1]]), body[3:]
            flags = body[2]
        else:
            units.append(body)
            continue
        if flags & 0x80:
            units.append(head)
        units[-1] += rest
    return units


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_rtp_payloads_give_the_nal_units_back(codec: nal.NalCodec) -> None:
    head = b"\x65" if codec == "h264" else b"\x26\x01"
    draw = random.Random(5)
    for size in (1, 2, 1397, 1398, 1399, 1400, 1401, 2795, 2796, 2797, 2798, 20_000):
        units = [head + bytes(draw.randrange(1, 256) for _ in range(size)), head + b"\x01"]
        payload = rtp.payload(codec, Packet(nal.join_annex_b(units), 0, 0, True))
        assert reassembled(codec, payload) == units, size


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"progressive": True, "subsampling": "4:2:0"}, "baseline"),
        ({"optimize": True, "subsampling": "4:2:0"}, "Huffman"),
        ({"subsampling": "4:4:4"}, "chroma"),
        ({"subsampling": "4:2:0"}, None),
        ({"subsampling": "4:2:2"}, None),
    ],
)
def test_which_jpeg_can_be_sent(options: dict[str, object], why: str | None) -> None:
    out = io.BytesIO()
    Image.fromarray(numbered.draw(5)).save(out, "jpeg", **options)
    if why is None:
        scan = jpeg.scan(out.getvalue())
        assert (scan.width, scan.height, len(scan.tables)) == (384, 216, 128)
    else:
        with pytest.raises(ValueError, match=why):
            jpeg.scan(out.getvalue())


def test_no_bytes_crash_the_jpeg_reader() -> None:
    out = io.BytesIO()
    Image.fromarray(numbered.draw(5, (64, 48))).save(out, "jpeg", subsampling="4:2:0")
    draw = random.Random(7)
    refused = 0
    for _ in range(500):
        data = bytearray(out.getvalue()[: draw.randrange(2, 700)])
        data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            jpeg.scan(bytes(data))
        except ValueError:
            refused += 1
    assert refused > 250  # nothing but ValueError came, and most cut or changed files are told from whole ones


@pytest.mark.parametrize(
    ("codec", "parts"),
    [
        ("h264", ["H264/90000", "packetization-mode=1", "profile-level-id=", "sprop-parameter-sets=Z"]),
        ("hevc", ["H265/90000", "sprop-vps=", "sprop-sps=", "sprop-pps="]),
        ("mjpeg", ["RTP/AVP 26", "JPEG/90000"]),
    ],
)
def test_description(codec: StreamCodec, parts: list[str]) -> None:
    text = sdp.describe("Tor\r\nm=audio 1", encode(numbers(2), 10, codec=codec)).decode()
    assert all(part in text for part in parts)
    assert [line[0] for line in text.splitlines()] == list("vosctamaaaa" if codec != "mjpeg" else "vosctamaaa")


def test_a_track_repeats_on_one_clock() -> None:
    stream = encode(numbers(15), 10)
    track = Track(stream, rtp_start=2**32 - 9000)
    assert [track.due_90k(n) for n in range(40)] == [9000 * n for n in range(40)]
    assert [track.rtp_time(track.captured_90k(n)) for n in range(3)] == [2**32 - 9000, 0, 9000]
    cases = {-5: 0, 0: 0, 89_999: 0, 90_000: 10, 134_999: 10, 135_000: 15, 224_999: 15, 225_000: 25, 1_350_000: 150}
    assert {now: track.newest_key(now) for now in cases} == cases
