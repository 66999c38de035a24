"""A camera from socket to coarse frames and cuts: real processes, a real RTSP server, real faults."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from ingest.config import CameraConfig, IngestConfig
from ingest.errors import CredentialsRefused, CutUnavailable, Fault, SourceRefused, SourceUnreachable
from ingest.frame import CoarseFrame
from ingest.simulator.faults import Fault as Misbehaviour
from ingest.simulator.faults import FaultKind
from ingest.simulator.rtsp import SimulatedServer
from ingest.simulator.stream import Stream, encode
from ingest.supervisor import Camera, CameraEvent, probe
from tests.ingest.numbered import draw, play, read, read_jpeg
from tests.ingest.scripted import ScriptedServer, answer

S = 1_000_000_000
LOOP = 500
QUICK = IngestConfig(open_timeout_s=1.5, read_timeout_s=1.5, backoff_max_s=1.0)


class Watched:
    """A camera and everything it said."""

    def __init__(self, url: str, ingest: IngestConfig = QUICK) -> None:
        self.coarse: list[CoarseFrame] = []
        self.events: list[CameraEvent] = []
        self.camera = Camera(CameraConfig(id="cam", url=url), ingest, self.coarse.append, self.events.append)

    def __enter__(self) -> Watched:
        self.camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.camera.stop()

    def until(self, condition: Callable[[], object], timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (self.camera.status, self.events)
            time.sleep(0.02)

    def offline(self) -> CameraEvent:
        self.until(lambda: any(event.state == "offline" for event in self.events))
        return next(event for event in self.events if event.state == "offline")

    def pid(self) -> int:
        process = self.camera._process
        assert process is not None
        return process.pid


@pytest.fixture(scope="module")
def numbers() -> Stream:
    """20 s at 25 frames/s, a key frame each second; each picture shows its number."""
    return encode((draw(number) for number in range(LOOP)), 25.0)


@pytest.fixture
def server(numbers: Stream) -> Iterator[SimulatedServer]:
    with SimulatedServer({"cam": numbers}) as simulated:
        yield simulated


def shown_at(server: SimulatedServer, utc_ns: int) -> int:
    """The number that the camera shows at an instant."""
    return round((utc_ns - server.started_utc_ns) / S * 25) % LOOP


def test_coarse_frames_and_an_exact_cut(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: len(watched.coarse) >= 4)
        for frame in watched.coarse:
            assert (frame.size, frame.source_size, frame.epoch) == ((384, 216), (384, 216), 1)
            assert frame.stamp.source == "rtcp_sr"
            assert read(frame.image()) == shown_at(server, frame.stamp.utc_ns)
        start = watched.coarse[0].stamp.utc_ns + S // 2
        end = start + 4 * S
        cut = watched.camera.cut(start, end, 8.0)
        assert (cut.expected, len(cut.frames), cut.corrupt, cut.source_size, cut.epoch) == (9, 9, 0, (384, 216), 1)
        for index, fine in enumerate(cut.frames):
            # Half a frame, and clocks that tick in milliseconds.
            assert abs(fine.stamp.utc_ns - (start + index * S // 2)) <= S // 50 + S // 1000
            assert read_jpeg(fine.jpeg) == shown_at(server, fine.stamp.utc_ns)
        assert cut.clip is not None
        assert cut.clip.start_utc_ns <= start
        assert cut.clip.end_utc_ns >= end - S // 25
        played = [number for _, number in play(cut.clip.mp4)]
        assert played == [(played[0] + index) % LOOP for index in range(len(played))]
        assert played[0] == shown_at(server, cut.clip.start_utc_ns)
        watched.until(lambda: watched.camera.status.received_packets > 50)
        status = watched.camera.status
        assert (status.state, status.codec, status.size, status.reason) == ("online", "h264", (384, 216), "")
        assert status.ring_s > 0
        assert 0 < status.ring_bytes <= status.received_bytes
    assert watched.camera.status.state == "stopped"
    assert [event.state for event in watched.events] == ["connecting", "online", "stopped"]


def test_a_cut_waits_for_its_end_and_no_longer(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: len(watched.coarse) >= 3)
        began = time.time_ns()
        cut = watched.camera.cut(began - S, began + S, 5.0)
        waited_s = (time.time_ns() - began) / 1e9
        assert len(cut.frames) == cut.expected == 5
        assert 1.0 <= waited_s < 4.0
        short = watched.camera.cut(time.time_ns() - S, time.time_ns() + 60 * S, 0.5)
        assert short.expected == 123
        assert 2 <= len(short.frames) < 20
        with pytest.raises(CutUnavailable, match="no pictures of that time"):
            watched.camera.cut(began - 3600 * S, began - 3590 * S, 0.1)
        with pytest.raises(CutUnavailable, match="longer than 0"):
            watched.camera.cut(began, began, 0.1)


def test_cuts_from_many_threads(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: len(watched.coarse) >= 2)
        start = watched.coarse[0].stamp.utc_ns
        found: list[list[int]] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(
                    [read_jpeg(frame.jpeg) for frame in watched.camera.cut(start, start + 2 * S, 5.0).frames]
                )
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 6
        assert len({tuple(numbers) for numbers in found}) == 1


FAULTS: list[tuple[FaultKind, Fault, str]] = [
    ("silent", "stalled", "did not answer"),
    ("stall", "stalled", "stopped sending"),
    ("rtcp_only", "stalled", "stopped sending"),
    ("trickle", "stalled", "stopped sending"),
    ("close", "ended", "ended the stream"),
    ("wrong_password", "credentials", "refuses the user or the password"),
]


def test_faults_end_offline_with_one_clear_line(server: SimulatedServer, capfd: pytest.CaptureFixture[str]) -> None:
    """All at once beside a healthy camera, which notices nothing."""
    with contextlib.ExitStack() as stack:
        healthy = stack.enter_context(Watched(server.url("cam")))
        faulty = [
            stack.enter_context(Watched(server.url("cam", fault).replace("rtsp://", "rtsp://viewer:CANARY@")))
            for fault, _, _ in FAULTS
        ]
        for watched, (fault, kind, says) in zip(faulty, FAULTS, strict=True):
            event, status = watched.offline(), watched.camera.status
            assert (event.fault, says in event.reason) == (kind, True), (fault, event.reason)
            assert "\n" not in event.reason
            assert "CANARY" not in repr(watched.events) + repr(status) + repr(watched.camera.config)
        healthy.until(lambda: len(healthy.coarse) >= 4)
        assert [event.state for event in healthy.events] == ["connecting", "online"]
    assert capfd.readouterr().err == ""


def test_dead_port_and_policy(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Watched(f"rtsp://u:CANARY@127.0.0.1:{port}/x") as watched:
        event = watched.offline()
        assert event.fault == "unreachable"
        assert "connection refused" in event.reason
    av1 = b"v=0\r\ns=c\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 AV1/90000\r\n"
    with (
        ScriptedServer(lambda method, _: answer("200 OK", body=av1 if method == "DESCRIBE" else b"")) as scripted,
        Watched(scripted.url("u:CANARY@")) as watched,
    ):
        event = watched.offline()
        assert event.fault == "refused"
        assert "its video is AV1; set the camera to H.264" in event.reason
        assert "SETUP" not in scripted.methods
    with pytest.raises(SourceRefused, match="only rtsp"):
        Watched("http://u:CANARY@127.0.0.1/x")
    assert capfd.readouterr().err == ""


def test_a_stream_that_ends_comes_back_and_its_last_seconds_can_be_cut(server: SimulatedServer) -> None:
    with Watched(server.url("cam", "close")) as watched:
        watched.until(lambda: len({frame.epoch for frame in watched.coarse}) >= 2)
        last = max(frame.stamp.utc_ns for frame in watched.coarse if frame.epoch == 1)
        cut = watched.camera.cut(last - S, last + S // 4, 3.0)
        assert cut.epoch == 1
        assert [read_jpeg(frame.jpeg) for frame in cut.frames] == [
            shown_at(server, frame.stamp.utc_ns) for frame in cut.frames
        ]
        assert len(cut.frames) >= 2
        assert watched.camera.status.reconnects >= 1
        ended = next(event for event in watched.events if event.fault == "ended")
        back = next(event for event in watched.events if event.state == "online" and event.utc_ns > ended.utc_ns)
        assert (back.utc_ns - ended.utc_ns) / 1e9 < 4


def test_a_process_that_dies_is_replaced(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: watched.coarse)
        os.kill(watched.pid(), signal.SIGSEGV)
        event = watched.offline()
        assert (event.fault, "killed by signal 11" in event.reason) == ("died", True)
        watched.until(lambda: watched.camera.status.state == "online")


def test_a_process_that_hangs_is_killed(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: watched.coarse)
        pid = watched.pid()
        os.kill(pid, signal.SIGSTOP)
        event = watched.offline()
        assert (event.fault, "no picture for" in event.reason) == ("stalled", True)
        watched.until(lambda: watched.camera.status.state == "online")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_process_holds_no_secret_of_ours(server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WITNESS_TEST_SECRET", "CANARY")
    url = server.url("cam").replace("rtsp://", "rtsp://viewer:CANARY@")
    with Watched(url) as watched:
        watched.until(lambda: watched.coarse)
        folder = f"/proc/{watched.pid()}"
        with open(f"{folder}/environ", "rb") as environ, open(f"{folder}/cmdline", "rb") as cmdline:
            assert b"CANARY" not in environ.read() + cmdline.read()
        with open(f"{folder}/status") as status, open(f"{folder}/limits") as limits:
            assert "NoNewPrivs:\t1" in status.read()
            assert "unlimited" not in next(line for line in limits if line.startswith("Max address space"))
        pid = watched.pid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_jumps_of_the_cameras_clock_start_an_epoch(server: SimulatedServer) -> None:
    with Watched(server.url("cam")) as watched:
        watched.until(lambda: len(watched.coarse) >= 2)
        server.set_fault("cam", Misbehaviour("time_jump", 0.0))
        watched.until(lambda: watched.coarse[-1].epoch > 1)
        stamps = [frame.stamp.utc_ns for frame in watched.coarse]
        assert abs(stamps[-1] - time.time_ns()) < 5 * S


def test_credentials_and_probe(numbers: Stream) -> None:
    with SimulatedServer({"cam": numbers}, credentials=("user.name", "p@ss:w/rd")) as server:
        url = server.url("cam")
        with_user = url.replace("rtsp://", "rtsp://user.name:p%40ss%3Aw%2Frd@")
        report = probe(CameraConfig(id="cam", url=with_user), QUICK, 10.0)
        assert (report.codec, report.size, report.clock_source) == ("h264", (384, 216), "rtcp_sr")
        for wrong, says in [
            (url, "wants a user and a password"),
            (url.replace("rtsp://", "rtsp://user.name:CANARY@"), "refuses the user or the password"),
        ]:
            with pytest.raises(CredentialsRefused, match=says) as caught:
                probe(CameraConfig(id="cam", url=wrong), QUICK, 10.0)
            assert "CANARY" not in str(caught.value)
        with pytest.raises(SourceUnreachable, match="no such stream"):
            probe(CameraConfig(id="cam", url=with_user + "x"), QUICK, 10.0)


def test_long_gops_are_looked_into() -> None:
    """One key frame in 12 s: coarse frames come all the same, at least one in 5 s, with the right picture and time."""
    stream = encode((draw(number) for number in range(300)), 25.0, gop_s=12.0)
    with SimulatedServer({"cam": stream}) as server, Watched(server.url("cam")) as watched:
        watched.until(lambda: len(watched.coarse) >= 5, 20.0)
        for frame in watched.coarse:
            assert read(frame.image()) == round((frame.stamp.utc_ns - server.started_utc_ns) / S * 25) % 300
        stamps = [frame.stamp.utc_ns for frame in watched.coarse]
        assert max(b - a for a, b in pairwise(stamps)) <= 5.2 * S
