"""Labelled scenes as cameras and as files: rendered once, the same from the same seed, with the truth beside them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from av.packet import Packet

from ingest.simulator import cameras, reel
from ingest.simulator.cameras import SimulatedCamera, events_on_wall_clock, simulated_cameras
from ingest.simulator.episode import EVENTS, EventTruth
from ingest.simulator.scene_cache import SceneCache, default_folder
from ingest.simulator.stream import encode

SIZE = (192, 108)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def pair(shelf: Path) -> list[SimulatedCamera]:
    shares: list[float] = []
    made = simulated_cameras(2, 5, 20, SIZE, 5, cache=shelf, progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    return made


def test_cameras_show_their_scenes(pair: list[SimulatedCamera]) -> None:
    assert [camera.name for camera in pair] == ["cam-1", "cam-2"]
    for index, camera in enumerate(pair):
        stream = camera.stream
        assert (stream.width, stream.height, stream.duration_s, len(stream.packets)) == (*SIZE, 20.0, 100)
        assert stream.keys == tuple(range(0, 100, 5))
        scene = cameras.scene_of(5, index, 20, SIZE)
        assert (camera.events, camera.lookalikes) == (scene.events, scene.lookalikes)
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        frames = [frame for packet in stream.packets for frame in decoder.decode(Packet(packet.data))]
        for number in (0, 37, 74, 75, 99):
            seen = frames[number].to_ndarray(format="rgb24").astype(np.int16)
            assert np.abs(seen - scene.frame(number / 5)).mean() < 8, f"picture {number} of {camera.name}"


@pytest.mark.parametrize("seed", [0, 1, 99, 100, 700, 999, 1000, 5000, 20_260_101])
def test_no_live_scene_is_one_that_a_model_learnt_from(seed: int) -> None:
    """Trainings and calibrations count from 0, in millions; rendered clips from a milliard, the bench from 1 << 52."""
    live = {cameras.scene_seed(seed, index) for index in (0, 1, 255)}
    assert len(live) == 3 and min(live) >= 1 << 54
    assert live.isdisjoint({cameras.scene_seed(seed + 1, index) for index in (0, 1, 255)})
    assert cameras.scene_of(seed, 1, 1.0, (64, 48)).seed in live


def test_the_second_start_renders_nothing(
    pair: list[SimulatedCamera], shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras, "ProcessPoolExecutor", None)
    assert simulated_cameras(2, 5, 20, SIZE, 5, cache=shelf) == pair
    assert simulated_cameras(1, 5, 20, SIZE, 5, cache=shelf) == pair[:1]


def test_a_damaged_file_is_rendered_again(pair: list[SimulatedCamera], shelf: Path) -> None:
    damaged = sorted(shelf.iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert simulated_cameras(2, 5, 20, SIZE, 5, cache=shelf) == pair
    assert len(list(shelf.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert len(simulated_cameras(1, 1, 2, (64, 48), 5, cache=tmp_path / "file" / "scenes")) == 1
    assert "not kept" in caplog.text


@pytest.mark.parametrize(
    ("count", "seconds", "size", "fps"), [(0, 10, SIZE, 5), (1, 0, SIZE, 5), (1, 10, (191, 108), 5), (1, 10, SIZE, 0)]
)
def test_what_makes_no_camera(count: int, seconds: float, size: tuple[int, int], fps: float) -> None:
    with pytest.raises(ValueError, match="cannot be simulated"):
        simulated_cameras(count, 1, seconds, size, fps)


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    cache = SceneCache(tmp_path, limit_bytes=2500)
    for name in ("a", "b"):
        cache.put(name, name * 1000)
    assert cache.get("a", str) == "a" * 1000  # used: "b" is now the older one
    cache.put("c", "c" * 1000)
    assert [cache.get(name, str) is not None for name in ("a", "b", "c")] == [True, False, True]
    cache.put("large", "x" * 9000)
    assert [path.name for path in tmp_path.iterdir()] == ["large.scene"]
    assert cache.get("large", int) is None, "of another kind"


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "witness" / "scenes"


def test_events_on_the_wall_clock() -> None:
    stream = encode((np.zeros((16, 16, 3), np.uint8) for _ in range(10)), 1)
    events = (EventTruth("fall", 2.0, 2.5, 4.0, (1,)), EventTruth("fight", 6.0, 6.5, 9.0, (2, 3)))
    camera = SimulatedCamera(name="cam-1", stream=stream, events=events, lookalikes=())
    begun = 1_000_000_000_000
    for until_s, starts in [
        (-1, []),
        (0, []),
        (2, []),
        (2.1, [2]),
        (10, [2, 6]),
        (12.5, [2, 6, 12]),
        (26, [2, 6, 12, 16, 22]),
    ]:
        found = events_on_wall_clock(camera, begun, begun + round(until_s * 1e9))
        assert [(event.start_utc_ns - begun) / 1e9 for event in found] == starts, until_s
    assert found[-2] == cameras.WallClockEvent(
        camera="cam-1",
        label="fight",
        start_utc_ns=begun + 16_000_000_000,
        evident_utc_ns=begun + 16_500_000_000,
        end_utc_ns=begun + 19_000_000_000,
        loop=1,
        actors=(2, 3),
    )


def test_rendered_clips(tmp_path: Path) -> None:
    path = reel.render_clips(tmp_path / "clips", 3, 11, size=SIZE, fps=4)
    truths = json.loads(path.read_text())
    assert [sorted(truth) for truth in truths] == [["events", "file"]] * 3
    assert [len(truth["events"]) for truth in truths] == [1, 0, 1]
    for truth in truths:
        with av.open(str(path.parent / truth["file"])) as container:
            assert [stream.type for stream in container.streams] == ["video"]
            frames = sum(1 for _ in container.decode(video=0))
            assert container.streams.video[0].codec_context.name == "h264"
        assert 20 * 4 <= frames <= 40 * 4
        for event in truth["events"]:
            assert event["label"] in EVENTS
            assert 0 <= event["start"] < event["end"] <= frames / 4 + 0.25
            times = sorted({box["t"] for box in event["boxes"]})
            assert all(event["start"] - 1e-3 <= t <= event["end"] + 1e-3 for t in times)
            assert {round((t - times[0]) % 0.5, 2) for t in times} <= {0.0, 0.5}
            for box in event["boxes"]:
                x1, y1, x2, y2 = box["box"]
                assert 0 <= x1 < x2 <= 1
                assert 0 <= y1 < y2 <= 1
                assert sorted(box) == ["box", "label", "t"]
    assert truths == json.loads(msgspec.json.encode(msgspec.json.decode(path.read_bytes(), type=list[reel.ClipTruth])))


def test_clips_go_through_every_kind_and_repeat_from_the_seed() -> None:
    scenes = [reel.clip_scene(3, number, SIZE) for number in range(2 * len(EVENTS))]
    assert {event.label for scene, _ in scenes for event in scene.events} == set(EVENTS)
    assert all(not scene.events for scene, _ in scenes[1::2])
    again, seconds = reel.clip_scene(3, 2, SIZE)
    assert (again.events, seconds) == (scenes[2][0].events, scenes[2][1])
    assert np.array_equal(again.frame(7.0), scenes[2][0].frame(7.0))


@pytest.mark.parametrize("seconds", [15.0, 75.0, 150.0])
def test_a_clip_is_as_long_as_is_asked_for(seconds: float) -> None:
    """One of each event: every second clip has one, told before its end; long ones have it anywhere."""
    starts = []
    for number in range(2 * len(EVENTS)):
        scene, length_s = reel.clip_scene(5, number, SIZE, seconds)
        assert (length_s, scene.duration_s) == (seconds, seconds)
        assert len(scene.events) == (number + 1) % 2
        for event in scene.events:
            assert event.evident_s + min(reel.AFTERMATH_S, seconds / 5) <= seconds
            starts.append(event.start_s / seconds)
    assert len(starts) == len(EVENTS)
    if seconds > 100:
        assert min(starts) < 0.25 and max(starts) > 0.4


def test_a_long_clip_is_written_whole_and_one_too_short_is_refused(tmp_path: Path) -> None:
    path = reel.render_clips(tmp_path, 1, 11, seconds=63.5, size=SIZE, fps=2)
    (truth,) = json.loads(path.read_text())
    with av.open(str(tmp_path / truth["file"])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 127
    assert len(truth["events"]) == 1 and 0 < truth["events"][0]["end"] <= 63.5
    with pytest.raises(ValueError, match=r"no scene of '\w+' fits in 0\.5 s"):
        reel.render_clips(tmp_path / "short", 1, 11, seconds=0.5, size=SIZE)


def test_no_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        reel.render_clips(tmp_path, 0, 1)
