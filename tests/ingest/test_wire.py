"""Messages between a camera's process and its parent."""

import socket
import struct
import threading

import msgspec
import pytest

from ingest.clock import Stamp
from ingest.config import CameraConfig, IngestConfig
from ingest.errors import SourceDied
from ingest.frame import CoarseFrame
from ingest.sender import MAX_COARSE, Sender
from ingest.wire import MAX_MESSAGE, Beat, Coarse, CutOrder, Ended, Open, Order, Report, Wire

FRAME = CoarseFrame(
    camera_id="a",
    epoch=3,
    stamp=Stamp(pts=1, time_base=(1, 90_000), utc_ns=2, source="arrival", uncertainty_ms=1.0),
    source_size=(64, 48),
    size=(4, 2),
    rgb=bytes(range(24)),
)


def pair() -> tuple[Wire[Report], Wire[Order], socket.socket, socket.socket]:
    parent, child = socket.socketpair()
    return (
        Wire(parent, msgspec.msgpack.Decoder[Report](Report)),
        Wire(child, msgspec.msgpack.Decoder[Order](Order)),
        parent,
        child,
    )


def test_messages_arrive_as_they_were_sent() -> None:
    parent, child, near, far = pair()
    orders: list[Order] = [
        Open(camera=CameraConfig(id="a", url="rtsp://u:p@h/x"), ingest=IngestConfig(), first_epoch=4),
        CutOrder(number=1, start_utc_ns=2, end_utc_ns=3, timeout_s=0.5),
    ]
    reports: list[Report] = [
        Coarse(frame=FRAME),
        Beat(packets=7, dropped={"interval": 2}),
        Ended(fault="stalled", reason="why"),
    ]
    with near, far:
        for order in orders:
            parent.send(order)
        assert [child.receive() for _ in orders] == orders
        for report in reports:
            child.send(report)
        assert [parent.receive() for _ in reports] == reports
        far.close()
        assert parent.receive() is None


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">I", MAX_MESSAGE + 1),
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 1) + b"\x80",
        struct.pack(">I", 0),
        struct.pack(">I", 8) + msgspec.msgpack.encode({"type": "Z"}),
    ],
)
def test_a_process_that_breaks_the_protocol_is_not_trusted(raw: bytes) -> None:
    parent, _, near, far = pair()
    with near, far:
        far.sendall(raw)
        with pytest.raises(SourceDied, match="not trusted"):
            parent.receive()


def test_a_message_cut_short_is_the_end() -> None:
    parent, _, near, far = pair()
    with near:
        far.sendall(struct.pack(">I", 100) + b"abc")
        far.close()
        assert parent.receive() is None


def test_a_slow_parent_gets_the_newest_coarse_frames_and_every_answer() -> None:
    parent, child, near, far = pair()
    with near, far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sender = Sender(child)
        big = msgspec.structs.replace(FRAME, size=(640, 360), rgb=bytes(640 * 360 * 3))
        dropped = 0
        for epoch in range(20):
            dropped += not sender.coarse(msgspec.structs.replace(big, epoch=epoch))
            sender.beat(Beat(packets=epoch))
        sender.put(Ended(fault="ended", reason="over"))
        received: list[Report] = []

        def read() -> None:
            while (report := parent.receive()) is not None:
                received.append(report)
                if isinstance(report, Ended):
                    return

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(20)
        epochs = [report.frame.epoch for report in received if isinstance(report, Coarse)]
        assert epochs[-MAX_COARSE:] == [16, 17, 18, 19]
        assert len(epochs) == 20 - dropped
        assert isinstance(received[-1], Ended)
        assert max(report.packets for report in received if isinstance(report, Beat)) == 19
