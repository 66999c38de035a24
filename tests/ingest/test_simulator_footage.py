"""Recorded files as cameras."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream

from ingest.simulator.errors import FootageRefused
from ingest.simulator.rtsp import SimulatedServer
from ingest.simulator.stream import Stream
from tests.ingest import numbered
from tests.ingest.viewer import OPTIONS, decode, numbered_file, play

FOOTAGE = Path(os.environ.get("WITNESS_FOOTAGE") or Path(__file__).parents[3] / "shared" / "videos")
VIDEO = {".mp4", ".avi", ".mkv", ".mov"}


@pytest.mark.parametrize(
    ("name", "encoder", "gop", "b_frames", "codec", "keys"),
    [
        ("plain.mp4", "libx264", 25, 0, "h264", 2),
        ("reordered.mp4", "libx264", 25, 3, "h264", 2),
        ("annexb.ts", "libx264", 25, 0, "h264", 2),
        ("high.mp4", "libx265", 25, 0, "hevc", 2),
        ("high-reordered.mkv", "libx265", 25, 3, "hevc", 2),
        ("pictures.avi", "mjpeg", 1, 0, "mjpeg", 50),
        # Not what RTP carries, or of no use to a client who joins late: encoded again, a key frame each 2 s.
        ("old.avi", "mpeg4", 25, 2, "h264", 1),
        ("one-key.mp4", "libx264", 500, 0, "h264", 2),
    ],
)
def test_from_file(tmp_path: Path, name: str, encoder: str, gop: int, b_frames: int, codec: str, keys: int) -> None:
    count = 75 if name == "one-key.mp4" else 50
    stream = Stream.from_file(numbered_file(tmp_path / name, encoder, count, gop, b_frames))
    assert (stream.codec, stream.width, stream.height) == (codec, 384, 216)
    assert len(stream.keys) == keys
    assert stream.duration_s == pytest.approx(count / numbered.FPS, abs=0.002)
    shown = sorted(packet.pts_90k for packet in stream.packets)
    assert shown[0] == 0
    assert all(abs(b - a - 3600) <= 90 for a, b in pairwise(shown))
    assert decode(stream) == list(range(count))


def test_packets_are_used_as_they_are(tmp_path: Path) -> None:
    path = numbered_file(tmp_path / "a.avi", "mjpeg", 5)
    with av.open(str(path)) as container:
        held = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert [packet.data for packet in Stream.from_file(path).packets] == held


def test_only_the_beginning_of_a_long_file(tmp_path: Path) -> None:
    path = numbered_file(tmp_path / "a.mp4", "libx264", 75)
    assert len(Stream.from_file(path, limit_s=2.0).packets) == 50
    assert len(Stream.from_file(numbered_file(tmp_path / "b.avi", "mpeg4", 75), limit_s=2.0).packets) == 50


def test_reordered_pictures_come_at_their_times(tmp_path: Path) -> None:
    stream = Stream.from_file(numbered_file(tmp_path / "a.mp4", "libx264", 50, b_frames=3))
    assert any(packet.dts_90k < packet.pts_90k for packet in stream.packets)
    with SimulatedServer({"cam": stream}) as server:
        shown = play(server.url("cam"), 70)
    assert [picture.number for picture in shown] == [(shown[0].number + i) % 50 for i in range(70)]
    # FFmpeg guesses the first picture's PTS while it does not yet know how far pictures are reordered.
    assert all(b.pts_90k - a.pts_90k == 3600 for a, b in pairwise(shown[4:]))
    for picture in shown[4:]:
        assert picture.utc_ns is not None
        off_s = (picture.utc_ns - server.started_utc_ns) / 1e9 - picture.number / 25
        assert abs(off_s - 2.0 * round(off_s / 2.0)) < 0.001, "more than 1 ms from the media clock"


def text(path: Path) -> None:
    path.write_text("no pictures here\n" * 100)


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.rate = 8000
        frame.planes[0].update(bytes(4096))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def half(path: Path) -> None:
    whole = numbered_file(path.with_name("whole.mp4"), "libx264", 25).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "no such file"),
        (Path.touch, "cannot be read as a video"),
        (text, "cannot be read as a video"),
        (half, "cannot be read as a video"),
        (sound, "no pictures"),
    ],
    ids=["absent", "folder", "empty", "text", "half", "sound"],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    make(tmp_path / "clip.mp4")
    with pytest.raises(FootageRefused, match=why) as refused:
        Stream.from_file(tmp_path / "clip.mp4")
    assert str(tmp_path / "clip.mp4") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, ValueError)


def watch(url: str, seconds: float) -> tuple[float, int]:
    """Seconds of PTS that came, and pictures decoded of them."""
    times, pictures = [], 0
    with av.open(url, format="rtsp", timeout=(5, 5), options=OPTIONS) as container:
        for packet in container.demux(video=0):
            times.append((packet.pts or 0) / 90_000)
            pictures += len(packet.decode())
            if max(times) >= seconds:
                break
    return max(times), pictures


@pytest.mark.slow
def test_recorded_clips_play_as_cameras() -> None:
    if not FOOTAGE.is_dir():
        pytest.skip(f"recorded clips: no folder {FOOTAGE} (set WITNESS_FOOTAGE)")
    streams = {
        path.name: Stream.from_file(path, limit_s=12.0) for path in sorted(FOOTAGE.iterdir()) if path.suffix in VIDEO
    }
    assert streams, f"no clips in {FOOTAGE}"
    with SimulatedServer(streams) as server, ThreadPoolExecutor(4) as pool:
        results = dict(zip(streams, pool.map(lambda name: watch(server.url(name), 3.0), streams), strict=True))
    for name, (seconds, pictures) in results.items():
        assert seconds >= 3.0, name
        assert pictures >= 0.85 * 3.0 * streams[name].fps, name
