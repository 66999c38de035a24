"""The simulated cameras played by a client that is not FFmpeg: GStreamer's rtspsrc, through the system's Python."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from ingest.simulator.rtsp import SimulatedServer
from ingest.simulator.stream import Stream, StreamCodec, encode
from tests.ingest import numbered

PYTHON = "/usr/bin/python3"
CODECS: tuple[StreamCodec, ...] = ("h264", "hevc", "mjpeg")
NEEDED = ("rtspsrc", "decodebin", "fakesink", "avdec_h264", "avdec_h265", "rtph264depay", "rtph265depay", "jpegdec")
PROBE = f"""
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
print(" ".join(name for name in {NEEDED!r} if not Gst.ElementFactory.find(name)))
"""
PLAY = """
import sys
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
pipeline = Gst.parse_launch(
    f"rtspsrc location={sys.argv[1]} protocols=tcp buffer-mode=none ! decodebin"
    " ! identity name=eye ! fakesink sync=false"
)
times = []
pipeline.get_by_name("eye").connect("handoff", lambda element, buffer: times.append(buffer.pts))
pipeline.set_state(Gst.State.PLAYING)
while len(times) < 30:
    message = pipeline.get_bus().timed_pop_filtered(Gst.SECOND // 10, Gst.MessageType.ERROR | Gst.MessageType.EOS)
    if message is not None:
        sys.exit(str(message.parse_error()) if message.type == Gst.MessageType.ERROR else "ended")
pipeline.set_state(Gst.State.NULL)
print(*(b - a for a, b in zip(times, times[1:])))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    streams: dict[str, Stream] = {
        codec: encode((numbered.draw(n) for n in range(50)), 25, 0.4, codec=codec) for codec in CODECS
    }
    with SimulatedServer(streams) as server:
        yield server


@pytest.mark.gstreamer
@pytest.mark.parametrize("codec", CODECS)
def test_gstreamer_plays(server: SimulatedServer, codec: str) -> None:
    if shutil.which(PYTHON) is None:
        pytest.skip(f"GStreamer client: no {PYTHON}")
    probe = subprocess.run([PYTHON, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    if probe.returncode or probe.stdout.strip():
        pytest.skip(f"GStreamer client: {probe.stdout.strip() or 'python3-gi'} is missing")
    done = subprocess.run(
        [PYTHON, "-c", PLAY, server.url(codec)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    steps_ms = [int(step) / 1e6 for step in done.stdout.split()]
    assert len(steps_ms) >= 29
    assert sorted(steps_ms)[len(steps_ms) // 2] == pytest.approx(40, abs=8)
