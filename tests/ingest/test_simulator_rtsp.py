"""The server of the simulated cameras, over real sockets: what a client sees, and what it is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import av
import pytest

from ingest.simulator import playback
from ingest.simulator.errors import SimulatorUnreachable
from ingest.simulator.faults import FAULTS, Fault, FaultKind
from ingest.simulator.rtsp import SimulatedServer
from ingest.simulator.stream import CLOCK_HZ, Stream, StreamCodec, encode
from tests.ingest import numbered
from tests.ingest.viewer import OPTIONS, Dialogue, Shown, play

FPS, COUNT = 25, 40
STEP_90K = CLOCK_HZ // FPS
USER, PASSWORD = "user.name", "p@ss:w/rd"


@pytest.fixture(scope="module")
def streams() -> dict[str, Stream]:
    codecs: tuple[StreamCodec, ...] = ("h264", "hevc", "mjpeg")
    return {codec: encode((numbered.draw(n) for n in range(COUNT)), FPS, 0.4, codec=codec) for codec in codecs}


@pytest.fixture(scope="module")
def server(streams: dict[str, Stream]) -> Iterator[SimulatedServer]:
    # RTP time runs over its 32 bits in the first second of every stream.
    with SimulatedServer({**streams, "Tor 1-2": streams["h264"]}, rtp_start=2**32 - 60_000) as server:
        yield server


def check_truthful(server: SimulatedServer, shown: list[Shown]) -> None:
    """Order, spacing and capture times are those of the source, through all loops."""
    assert [b.number - a.number for a, b in pairwise(shown)] == [
        1 if a.number < COUNT - 1 else 1 - COUNT for a, _ in pairwise(shown)
    ]
    assert [picture.pts_90k for picture in shown] == [STEP_90K * i for i in range(len(shown))]
    loop_ns = COUNT * 1_000_000_000 // FPS
    for picture in shown:
        assert picture.utc_ns is not None
        off_ns = picture.utc_ns - server.started_utc_ns - picture.number * 1_000_000_000 // FPS
        assert abs((off_ns + loop_ns // 2) % loop_ns - loop_ns // 2) < 1_000_000, "more than 1 ms from the media clock"


def test_pictures_in_order_at_their_times_through_loops(server: SimulatedServer) -> None:
    """Several clients at once, in three codecs, on one clock."""
    names = ("h264", "hevc", "mjpeg", "h264", "Tor 1-2")
    with ThreadPoolExecutor(len(names)) as pool:
        for name, shown in zip(
            names, pool.map(lambda name: play(server.url(name), 2 * COUNT + 10), names), strict=True
        ):
            check_truthful(server, shown)
            assert shown[0].number % 10 == 0 or name == "mjpeg", "a client begins with a key frame"
            lags = sorted(picture.lag_s for picture in shown[-20:] if picture.lag_s is not None)
            assert lags[0] > -0.005, "a picture came before it was taken"
            assert lags[len(lags) // 2] < 0.5


def test_who_joins_late_starts_at_the_newest_key_frame(server: SimulatedServer) -> None:
    time.sleep(0.3)
    joined_s = server.media_time_s
    shown = play(server.url("h264"), 12)
    assert shown[0].utc_ns is not None
    age_s = joined_s - (shown[0].utc_ns - server.started_utc_ns) / 1e9
    assert -0.5 < age_s < 0.4 + 0.05


@pytest.mark.parametrize(
    ("login", "admitted"),
    [
        ("", False),
        ("user.name:wrong@", False),
        ("someone:p%40ss%3Aw%2Frd@", False),
        ("user.name:p%40ss%3Aw%2Frd@", True),
    ],
)
def test_credentials(streams: dict[str, Stream], login: str, admitted: bool) -> None:
    with SimulatedServer({"cam": streams["h264"]}, credentials=(USER, PASSWORD)) as server:
        url = server.url("cam").replace("rtsp://", f"rtsp://{login}")
        if admitted:
            assert play(url, 3)
        else:
            with pytest.raises(av.HTTPUnauthorizedError):
                play(url, 3)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Basic dXNlci5uYW1lOnBAc3M6dy9yZA==", 200),
        ("Basic dXNlci5uYW1lOnBAc3M6dy9yZB==", 401),
        ("Basic", 401),
        ('Digest username="user.name", response=""', 401),
        ("Bearer x", 401),
    ],
)
def test_basic_authentication(streams: dict[str, Stream], header: str, status: int) -> None:
    with (
        SimulatedServer({"cam": streams["h264"]}, credentials=(USER, PASSWORD)) as server,
        Dialogue(server.port) as ask,
    ):
        assert ask.ask("DESCRIBE", server.url("cam"), Authorization=header)[0] == status
        assert PASSWORD not in ask.ask("DESCRIBE", server.url("cam"))[1]


def test_dialogue(server: SimulatedServer) -> None:
    url = server.url("h264")
    with Dialogue(server.port) as rtsp:
        assert "SETUP" in rtsp.ask("OPTIONS", url)[1]
        status, text = rtsp.ask("DESCRIBE", url, Accept="application/sdp")
        assert status == 200
        assert f"Content-Base: {url}/" in text
        assert rtsp.ask("PLAY", url)[0] == 455
        assert rtsp.ask("SETUP", f"{url}/trackID=0", Transport="RTP/AVP;unicast;client_port=5000-5001")[0] == 461
        assert rtsp.ask("SETUP", f"{url}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=7-7")[0] == 461
        status, text = rtsp.ask("SETUP", f"{url}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=6-7")
        assert status == 200
        assert "interleaved=6-7" in text
        status, text = rtsp.ask("PLAY", f"{url}/")
        assert status == 200
        assert f"url={url}/trackID=0;seq=" in text
        assert rtsp.ask("GET_PARAMETER", url)[0] == 200
        assert rtsp.ask("PAUSE", url)[0] == 200
        assert rtsp.ask("PLAY", url)[0] == 200
        assert rtsp.ask("RECORD", url)[0] == 501
        assert rtsp.ask("TEARDOWN", url)[0] == 200
        with pytest.raises(ConnectionError):
            rtsp.ask("OPTIONS", url)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"DESCRIBE rtsp://x/nobody RTSP/1.0\r\nCSeq: 4\r\n\r\n", 404),
        (b"DESCRIBE rtsp://x/ RTSP/1.0\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nno colon here\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nContent-Length: -3\r\n\r\n", 400),
        (b"x" * 20_000, 400),
        (b"$\x01\x00\x04abcdOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", 200),
        (b"OPTIONS rtsp://[::bad RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
    ],
)
def test_requests_word_for_word(server: SimulatedServer, raw: bytes, status: int) -> None:
    with Dialogue(server.port) as rtsp:
        assert rtsp.say(raw)[0] == status
    with Dialogue(server.port) as another:
        assert another.ask("OPTIONS", server.url("h264"))[0] == 200


def test_a_slow_client_loses_pictures_and_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "MAX_LAG_S", 0.6)
    noisy = encode((numbered.draw(n, (1280, 720)) for n in range(FPS)), FPS, 0.4, codec="mjpeg")
    heavy = Stream(
        codec="mjpeg",
        width=noisy.width,
        height=noisy.height,
        duration_90k=noisy.duration_90k,
        packets=tuple(
            type(p)(p.data[:-2] + bytes(400_000) + p.data[-2:], p.pts_90k, p.dts_90k, True) for p in noisy.packets
        ),
    )
    with SimulatedServer({"slow": heavy, "other": noisy}) as server, Dialogue(server.port) as rtsp:
        url = server.url("slow")
        rtsp.ask("SETUP", f"{url}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        rtsp.socket.sendall(f"PLAY {url} RTSP/1.0\r\nCSeq: 9\r\n\r\n".encode())
        time.sleep(1.5)
        read = 0
        deadline = time.monotonic() + 10
        while not server.counters.dropped_packets and time.monotonic() < deadline:
            read += len(rtsp.socket.recv(1 << 20))
        assert server.counters.dropped_packets >= FPS // 2
        assert server.counters.sent_bytes < 20 << 20
        assert play(server.url("other"), 5), "one slow client does not hold up another"


def seen(server: SimulatedServer, fault: FaultKind | None, patience_s: float = 1.0) -> tuple[int, str]:
    """Packets that came, and how it ended."""
    count = 0
    try:
        with av.open(
            server.url("h264", fault), format="rtsp", timeout=(patience_s * 2, patience_s), options=OPTIONS
        ) as container:
            for packet in container.demux(video=0):
                count += bool(packet.size)
                if count >= 4 * FPS:
                    return count, "plays on"
        return count, "end"
    except av.FFmpegError as error:
        return count, type(error).__name__


SYMPTOMS: dict[FaultKind | None, tuple[int, int, set[str]]] = {
    None: (4 * FPS, 4 * FPS, {"plays on"}),
    "silent": (0, 0, {"InvalidDataError", "ExitError", "TimeoutError"}),
    "wrong_password": (0, 0, {"HTTPUnauthorizedError"}),
    "stall": (FPS, 3 * FPS, {"ExitError", "TimeoutError"}),
    "trickle": (FPS, 3 * FPS, {"ExitError", "TimeoutError", "OSError"}),
    "rtcp_only": (FPS, 3 * FPS, {"ExitError", "TimeoutError"}),
    "close": (FPS, 3 * FPS, {"end", "ConnectionResetError"}),
    "garbage": (4 * FPS, 4 * FPS, {"plays on"}),
    "time_jump": (4 * FPS, 4 * FPS, {"plays on"}),
}
"""Fewest and most packets that come, and how it may end for FFmpeg."""


def test_faults(server: SimulatedServer) -> None:
    with ThreadPoolExecutor(len(SYMPTOMS)) as pool:
        results = dict(zip(SYMPTOMS, pool.map(lambda fault: seen(server, fault), SYMPTOMS), strict=True))
    wrong = {
        fault: results[fault]
        for fault, (fewest, most, ends) in SYMPTOMS.items()
        if not (fewest <= results[fault][0] <= most and results[fault][1] in ends)
    }
    assert not wrong


def test_faults_of_the_clock(server: SimulatedServer) -> None:
    assert {picture.utc_ns for picture in play(server.url("h264", "no_rtcp"), 5)} == {None}
    ahead = [picture.utc_ns or 0 for picture in play(server.url("h264", "wrong_clock"), 5)]
    assert all(3590 < utc_ns / 1e9 - time.time() < 3601 for utc_ns in ahead)
    jumped = play(server.url("mjpeg", "time_jump"), 70)
    assert max(b.pts_90k - a.pts_90k for a, b in pairwise(jumped)) == 3600 * CLOCK_HZ + STEP_90K


def test_a_camera_falls_ill_and_is_healed(streams: dict[str, Stream]) -> None:
    with SimulatedServer({"h264": streams["h264"]}, faults={"h264": Fault("silent")}) as server:
        assert seen(server, None, 0.5)[0] == 0
        server.set_fault("h264", None)
        assert seen(server, None) == (4 * FPS, "plays on")
        server.set_fault("h264", Fault("stall", after_s=0))
        assert seen(server, None, 0.5)[0] == 0


def test_unknown_faults_are_named() -> None:
    with pytest.raises(ValueError, match="there are silent"):
        Fault("hiccup")  # type: ignore[arg-type]
    assert len(set(FAULTS)) == len(FAULTS) >= 8


def test_the_port(streams: dict[str, Stream]) -> None:
    with SimulatedServer(streams) as server:
        with pytest.raises(SimulatorUnreachable, match=rf"127\.0\.0\.1:{server.port}.*choose another port") as refused:
            SimulatedServer(streams, port=server.port).start()
        assert isinstance(refused.value, OSError)
        assert "\n" not in str(refused.value)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=2)
    with SimulatedServer(streams, port=server.port) as again:
        assert again.port == server.port
    server.stop()


@pytest.mark.parametrize("name", ["", "a/b", "trackID=0"])
def test_names_that_fit_in_no_url(streams: dict[str, Stream], name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a camera"):
        SimulatedServer({name: streams["h264"]})


def test_serving_costs_next_to_nothing(streams: dict[str, Stream]) -> None:
    """Sixteen clients at 25 frames/s: a few hundredths of a core, and a fifth at most on a slow and busy machine."""
    with SimulatedServer(streams) as server:
        links = []
        for _ in range(16):
            rtsp = Dialogue(server.port)
            links.append(rtsp)
            url = server.url("h264")
            rtsp.ask("SETUP", f"{url}/trackID=0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
            rtsp.socket.sendall(f"PLAY {url} RTSP/1.0\r\nCSeq: 9\r\n\r\n".encode())
        cpu_s, packets, begun_s = time.process_time(), server.counters.sent_packets, time.monotonic()
        time.sleep(3)
        spent = (time.process_time() - cpu_s) / (time.monotonic() - begun_s)
        sent = server.counters.sent_packets - packets
        for rtsp in links:
            rtsp.socket.close()
    assert sent > 16 * FPS * 2
    assert spent < 0.2, f"{spent:.1%} of a core"
