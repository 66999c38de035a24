"""CPU of watching one 1080p25 H.264 camera over RTSP, against decoding every frame of the same stream.

Ours: the camera's process (ring of packets, one key frame per 5 s decoded and reduced) and this process, which
receives it. Peers: PyAV decoding every frame in one thread, and, where ffmpeg is installed, the command with which
Frigate's detect role reads a camera. All read the same simulated camera, one after the other, several rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.footage import FPS, SIZE, camera_stream
from bench.process import children, cpu_s

SETTLE_S = 4.0
NAME = "bench"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one measurement (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default 3)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "camera.stream"
        stream = camera_stream(gop_s=5.0)
        stream.save(path)
        bitrate = stream.size_bytes * 8 / stream.duration_s / 1e6
        with _Server(path) as url:
            watchers: dict[str, Callable[[str, float], float]] = {"ours": _ours, "pyav": _pyav}
            if shutil.which("ffmpeg"):
                watchers["ffmpeg"] = _ffmpeg
            found: dict[str, list[float]] = {name: [] for name in watchers}
            for _ in range(options.rounds):
                for name, watch in watchers.items():
                    found[name].append(watch(url, options.seconds))
    medians = {name: statistics.median(values) for name, values in found.items()}
    figures: dict[str, Any] = {
        "stream": f"{SIZE[0]}x{SIZE[1]} {FPS} fps, {bitrate:.1f} Mbit/s, key frame per 5 s, RTSP over TCP",
        "ours_ms_per_s": medians["ours"],
        "pyav_ms_per_s": medians["pyav"],
        "ffmpeg_ms_per_s": medians.get("ffmpeg", "not run: ffmpeg is not installed"),
        "ratio_pyav": medians["pyav"] / medians["ours"],
        "spread": {name: [min(values), max(values)] for name, values in found.items()},
        "target_ratio": 12.0,
    }
    if "ffmpeg" in medians:
        figures["ratio_ffmpeg"] = medians["ffmpeg"] / medians["ours"]
    return figures


class _Server:
    """The simulated camera in a process of its own, so that serving it is nobody's cost."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(path, there), daemon=True)

    def __enter__(self) -> str:
        self._process.start()
        url: str = self._here.recv()
        return url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(path: Path, answer: Connection) -> None:
    from ingest.simulator.rtsp import SimulatedServer
    from ingest.simulator.stream import Stream

    with SimulatedServer({NAME: Stream.load(path)}) as server:
        answer.send(server.url(NAME))
        while True:
            time.sleep(3600)


def _ours(url: str, seconds: float) -> float:
    """CPU ms per second of stream: the camera's process and what this process spends on it."""
    from ingest.config import CameraConfig, IngestConfig
    from ingest.supervisor import Camera

    before = set(children())
    coarse: list[int] = []
    camera = Camera(
        CameraConfig(id="bench", url=url),
        IngestConfig(coarse_interval_s=4.5),
        lambda frame: coarse.append(frame.stamp.pts),
        lambda event: None,
    )
    camera.start()
    try:
        deadline = time.monotonic() + 30
        while not coarse:
            if time.monotonic() > deadline:
                raise TimeoutError("no picture of the simulated camera within 30 s")
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        (child,) = set(children()) - before
        start_s, own_s, seen = cpu_s(child), time.process_time(), len(coarse)
        time.sleep(seconds)
        spent = cpu_s(child) - start_s + time.process_time() - own_s
        if len(coarse) - seen < int(seconds / 5):
            raise RuntimeError(f"only {len(coarse) - seen} coarse frames in {seconds} s")
    finally:
        camera.stop()
    return spent / seconds * 1000


def _pyav(url: str, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_decode_all, args=(url, seconds, there), daemon=True)
    process.start()
    there.close()
    spent: float = here.recv()
    process.join()
    return spent / seconds * 1000


def _decode_all(url: str, seconds: float, answer: Connection) -> None:
    import av

    with av.open(url, format="rtsp", timeout=(10, 10), options={"rtsp_transport": "tcp"}) as container:
        video = container.streams.video[0]
        video.thread_type = "NONE"
        begin_s, settle = 0.0, time.monotonic() + SETTLE_S
        end = settle + seconds
        for _ in container.decode(video):
            now = time.monotonic()
            if begin_s == 0.0 and now >= settle:
                begin_s = time.process_time()
                end = now + seconds
            if now >= end:
                break
    answer.send(time.process_time() - begin_s)


def _ffmpeg(url: str, seconds: float) -> float:
    """Frigate's detect role at its default 5 fps and 320x320, one decoder thread."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-threads", "1", "-rtsp_transport", "tcp", "-i", url]
    command += ["-r", "5", "-vf", "fps=5,scale=320:320", "-threads", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        time.sleep(SETTLE_S)
        start_s = cpu_s(process.pid)
        time.sleep(seconds)
        if process.poll() is not None:
            raise RuntimeError(f"ffmpeg ended early with status {process.returncode}")
        spent = cpu_s(process.pid) - start_s
        process.terminate()
    return spent / seconds * 1000
