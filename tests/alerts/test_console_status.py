"""The status board: no credential in it, valid JSON whatever the texts hold, asked at most once a second."""

from __future__ import annotations

import json
from itertools import count

import pytest

from alerts.console.status import CameraLine, ConsoleStatus, KafkaLine, StatusBoard


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("no answer", "no answer"),
        ("rtsp://viewer:S3cret@10.0.0.7/stream2 is silent", "rtsp://10.0.0.7/stream2 is silent"),
        ("rtsp://a:p@ss/w@rd@host:554/x, again", "rtsp://host:554/x, again"),
        ('rtsp://a:"quoted"\\@host/x', "rtsp://host/x"),
        ("two: rtsp://a:b@c/d and rtsps://e:f@g/h", "two: rtsp://c/d and rtsps://g/h"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_reasons_are_shown_without_credentials(reason: str, shown: str) -> None:
    status = ConsoleStatus(
        started_utc_ns=1,
        cameras=(CameraLine(id="a", state="offline", reason=reason), CameraLine(id="b", name="x@y", state="online")),
        kafka=KafkaLine(state="unreachable", reason=reason),
    )
    told = json.loads(StatusBoard(lambda: status).json())
    assert told["cameras"][0]["reason"] == told["kafka"]["reason"] == shown
    assert told["cameras"][1]["name"] == "x@y"


def test_many_readers_ask_once() -> None:
    numbers = count()
    board = StatusBoard(lambda: ConsoleStatus(started_utc_ns=next(numbers)), max_age_s=60)
    assert {board.json() for _ in range(5)} == {board.json()} and next(numbers) == 1
    eager = StatusBoard(lambda: ConsoleStatus(started_utc_ns=next(numbers)), max_age_s=0)
    assert eager.json() != eager.json()
