"""A console that really listens, over a real store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from alerts.alert import Alert
from alerts.console.app import build_app
from alerts.console.feed import Feed
from alerts.console.server import ConsoleServer
from alerts.console.status import CameraLine, ConsoleStatus, KafkaLine
from alerts.store import Store
from detector.window import Window
from ingest.config import CameraConfig

GATE = CameraConfig(id="gate-1", url="rtsp://127.0.0.1/x", name="Gate 1")
HALL = CameraConfig(id="hall-1", url="rtsp://127.0.0.1/y", name="Hall 1")
STATUS = ConsoleStatus(
    site="North mall",
    started_utc_ns=1_764_000_000_000_000_000,
    cameras=(
        CameraLine(id="gate-1", name="Gate 1", state="online"),
        CameraLine(id="hall-1", state="offline", reason="no answer from rtsp://viewer:S3cret@10.0.0.7/stream for 42 s"),
    ),
    kafka=KafkaLine(state="unreachable", waiting=3, reason="kafka:9092 refuses the connection"),
    windows={"flagged": 9, "alert": 3, "rejected": 4, "merged": 1, "shed": 1},
)


def ago_ns(seconds: float) -> int:
    return time.time_ns() - round(seconds * 1e9)


def keep(store: Store, case: tuple[Alert, Window]) -> Alert:
    """Stores a case as the line does."""
    alert, window = case
    store.flag(window.span)
    store.put_window(window)
    store.raise_alert(window.window_id, alert)
    return alert


class Site:
    """Store, feed and console of one test module."""

    def __init__(self, store: Store, feed: Feed, server: ConsoleServer) -> None:
        self.store, self.feed, self.server = store, feed, server
        self.http = httpx.Client(base_url=server.url, timeout=10)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving(folder: Path, status: ConsoleStatus = STATUS) -> Iterator[Site]:
    feed = Feed()
    with Store.open(folder) as store:
        store.watch(lambda alert: feed.publish(alert.alert_id, alert.revision))
        with ConsoleServer(build_app(store, lambda: status, feed), feed, port=0) as server:
            site = Site(store, feed, server)
            try:
                yield site
            finally:
                site.http.close()
