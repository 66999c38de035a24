"""A server that is not ours: GStreamer's, in three codecs, with a stream that ends."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from ingest.config import CameraConfig, IngestConfig
from ingest.frame import CoarseFrame
from ingest.supervisor import Camera, CameraEvent

PYTHON = "/usr/bin/python3"
SOURCE = "videotestsrc is-live=true pattern=ball {} ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 config-interval=1"
PIPELINES = {
    "h264": SOURCE.format("") + H264,
    "hevc": SOURCE.format("")
    + "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph265pay name=pay0 pt=96",
    "mjpeg": SOURCE.format("") + "jpegenc quality=70 ! rtpjpegpay name=pay0 pt=26",
    "ends": SOURCE.format("num-buffers=100") + H264,
}

pytestmark = pytest.mark.gstreamer


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    try:
        check = "import gi; gi.require_version('GstRtspServer', '1.0')"
        subprocess.run([PYTHON, "-c", check], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0) is not installed")
    script = Path(__file__).with_name("gst_server.py")
    command = [PYTHON, str(script), *(f"{name}={pipeline}" for name, pipeline in PIPELINES.items())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def wait_for(done: list[CoarseFrame], count: int, camera: Camera) -> None:
    deadline = time.monotonic() + 25
    while len(done) < count:
        assert time.monotonic() < deadline, camera.status
        time.sleep(0.05)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_coarse_frames_and_a_cut(port: int, codec: str) -> None:
    coarse: list[CoarseFrame] = []
    url = f"rtsp://127.0.0.1:{port}/{codec}"
    camera = Camera(CameraConfig(id="foreign", url=url), IngestConfig(), coarse.append, lambda _: None)
    camera.start()
    try:
        wait_for(coarse, 3, camera)
        assert camera.status.codec == codec
        assert camera.status.size == (320, 240)
        start = coarse[1].stamp.utc_ns
        cut = camera.cut(start, start + 2_000_000_000, 8.0)
        assert len(cut.frames) == cut.expected == 5
        assert cut.corrupt == 0
        assert abs(cut.frames[2].stamp.utc_ns - start - 1_000_000_000) <= 20_000_000
        assert cut.clip is not None
        with av.open(io.BytesIO(cut.clip.mp4), "r") as container:
            assert len(list(container.decode(video=0))) >= 50
    finally:
        camera.stop()


def test_a_stream_that_ends_is_opened_again(port: int) -> None:
    coarse: list[CoarseFrame] = []
    events: list[CameraEvent] = []
    url = f"rtsp://127.0.0.1:{port}/ends"
    camera = Camera(CameraConfig(id="foreign", url=url), IngestConfig(), coarse.append, events.append)
    camera.start()
    try:
        wait_for(coarse, 8, camera)
        assert len({frame.epoch for frame in coarse}) >= 2
        assert {event.fault for event in events if event.state == "offline"} <= {"ended", "undecodable", "unreachable"}
    finally:
        camera.stop()
