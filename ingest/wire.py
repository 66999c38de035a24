"""What a camera's process and its parent say to each other: msgpack records, each after its length in four bytes."""

from __future__ import annotations

import socket
import struct
from typing import Generic, TypeVar

import msgspec

from ingest.config import CameraConfig, IngestConfig
from ingest.errors import Fault, SourceDied
from ingest.frame import CoarseFrame, Cut

MAX_MESSAGE = 256 * 1024 * 1024
"""A longer message is no message of ours, bytes."""
_LENGTH = struct.Struct(">I")


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First word of the parent. The only place where the URL with its credentials travels."""

    camera: CameraConfig
    ingest: IngestConfig
    first_epoch: int


class CutOrder(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    number: int
    start_utc_ns: int
    end_utc_ns: int
    timeout_s: float


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    codec: str
    time_base: tuple[int, int]


class Coarse(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    frame: CoarseFrame


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Counters of one connection, about once a second and only while packets come: silence is what a watchdog hears."""

    epoch: int = 0
    packets: int = 0
    bytes: int = 0
    key_frames: int = 0
    coarse: int = 0
    dropped: dict[str, int] = {}
    """Key frames not made into coarse frames and packets not kept, by reason."""
    ring_s: float = 0.0
    ring_bytes: int = 0
    camera_offset_ms: float | None = None


class CutReply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    number: int
    cut: Cut | None = None
    reason: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No more packets will come on this connection; cuts are still answered from what is held."""

    fault: Fault
    reason: str


Order = Open | CutOrder
Report = Opened | Coarse | Beat | CutReply | Ended


Heard = TypeVar("Heard")


class Wire(Generic[Heard]):
    """One end of the socket. Sends whole messages; reads until the other end closes. Not for two senders at once."""

    def __init__(self, end: socket.socket, decoder: msgspec.msgpack.Decoder[Heard]) -> None:
        self._socket = end
        self._decoder: msgspec.msgpack.Decoder[Heard] = decoder
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, message: Order | Report) -> None:
        """Blocks while the other end does not read. OSError: the other end is gone."""
        body = self._encoder.encode(message)
        if len(body) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(body)} bytes exceeds {MAX_MESSAGE}")
        self._socket.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> Heard | None:
        """The next message; None when the other end closed. SourceDied: what came is not of this protocol."""
        head = self._exactly(4)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MAX_MESSAGE:
            raise SourceDied(f"a camera's process announced a message of {length} bytes; it is not trusted any more")
        body = self._exactly(length)
        if body is None:
            return None
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError):
            raise SourceDied("a camera's process sent a malformed message; it is not trusted any more") from None

    def _exactly(self, count: int) -> bytearray | None:
        body = bytearray(count)
        view = memoryview(body)
        got = 0
        while got < count:
            try:
                read = self._socket.recv_into(view[got:])
            except OSError:
                return None
            if not read:
                return None
            got += read
        return body
