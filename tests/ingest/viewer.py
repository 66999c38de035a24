"""A client of the simulated cameras: plays a URL with PyAV and says what it saw."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from ingest.simulator.stream import Stream
from tests.ingest import numbered

OPTIONS = {
    "rtsp_transport": "tcp",
    "allowed_media_types": "video",
    "timeout": "5000000",
    "analyzeduration": "500000",
    "probesize": "200000",
}


class Shown(NamedTuple):
    """One decoded picture."""

    number: int
    pts_90k: int
    utc_ns: int | None
    """Capture time by the sender reports."""
    lag_s: float | None
    """How much later than that its packet arrived."""


def play(url: str, frames: int, pause_s: float = 0.0) -> list[Shown]:
    """The first pictures; `pause_s`: the client sleeps so long after its first packet."""
    shown: list[Shown] = []
    utc_of: dict[int, tuple[int | None, float | None]] = {}
    with av.open(url, format="rtsp", timeout=(5, 5), options=OPTIONS) as container:
        for packet in container.demux(video=0):
            # FFmpeg leaves the first picture of a parsed stream without PTS; it is at 0.
            utc_of[packet.pts or 0] = _clock(packet)
            shown += [
                Shown(
                    numbered.read(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)),
                    frame.pts or 0,
                    *utc_of[frame.pts or 0],
                )
                for frame in packet.decode()
            ]
            if len(shown) >= frames:
                break
            time.sleep(pause_s)
            pause_s = 0.0
    return shown


def _clock(packet: Packet[VideoStream]) -> tuple[int | None, float | None]:
    if not packet.has_sidedata("prft"):
        return None, None
    wallclock_us: int = struct.unpack("<q", bytes(packet.get_sidedata("prft"))[:8])[0]
    return wallclock_us * 1000, time.time() - wallclock_us / 1e6


def numbered_file(path: Path, codec: str, count: int, gop: int = 25, b_frames: int = 0) -> Path:
    """A file of numbered pictures at 25 frames/s; `codec` is an encoder's name of FFmpeg."""
    with av.open(str(path), "w") as container:
        options = {"g": str(gop), "bf": str(b_frames), "sc_threshold": "0", "threads": "1", "b_strategy": "0"}
        if codec == "libx265":
            options = {
                "x265-params": f"keyint={gop}:min-keyint={gop}:bframes={b_frames}:log-level=none:pools=1:b-adapt=0"
            }
        if codec == "mjpeg":
            options = {"huffman": "default"}  # the tables that RFC 2435 takes for granted
        stream = container.add_stream(codec, rate=numbered.FPS, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = 384, 216
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered.draw(number), format="rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode(stream: Stream) -> list[int]:
    """Numbers of a stream's pictures, without any network."""
    decoder = av.CodecContext.create(stream.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for packet in stream.packets for frame in decoder.decode(Packet(packet.data))]
    return [numbered.read(np.asarray(frame.to_ndarray(format="rgb24"))) for frame in [*frames, *decoder.decode(None)]]


class Dialogue:
    """RTSP word for word."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._held = b""
        self._sequence = 0

    def ask(self, method: str, url: str, **headers: str) -> tuple[int, str]:
        """Status and the whole head of the reply. Interleaved packets before it are passed over."""
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        return self.say("\r\n".join([*lines, "", ""]).encode())

    def say(self, raw: bytes) -> tuple[int, str]:
        self.socket.sendall(raw)
        while True:
            while self._held[:1] == b"$" and len(self._held) >= 4:
                self._need(4 + int.from_bytes(self._held[2:4], "big"))
                self._held = self._held[4 + int.from_bytes(self._held[2:4], "big") :]
            if b"\r\n\r\n" in self._held:
                break
            self._need(len(self._held) + 1)
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        text = head.decode()
        for line in text.split("\r\n"):
            if line.lower().startswith("content-length:"):
                size = int(line.split(":")[1])
                self._need(size)
                text, self._held = f"{text}\r\n\r\n{self._held[:size].decode()}", self._held[size:]
        return int(text.split(" ")[1]), text

    def _need(self, size: int) -> None:
        while len(self._held) < size:
            part = self.socket.recv(65_536)
            if not part:
                raise ConnectionError("the server has hung up")
            self._held += part

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()
