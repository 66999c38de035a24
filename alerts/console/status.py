"""What the console shows of the running system besides alerts: cameras, Kafka, scorer, ends of windows."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

_USERINFO = re.compile(r"//\S*@")
"""Up to the last @ of a word: passwords may hold any character, and it is better to cut too much."""


class CameraLine(msgspec.Struct, frozen=True, kw_only=True):
    """One camera in the health strip."""

    id: str
    name: str = ""
    state: Literal["connecting", "online", "offline", "stopped"]
    reason: str = ""
    """Why it is not online: one line without credentials."""
    reconnects: int = 0
    last_frame_utc_ns: int | None = None


class KafkaLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the published revisions are."""

    state: Literal["off", "connected", "connecting", "unreachable"] = "off"
    """`off`: no broker is configured, alerts stay in the store."""
    waiting: int = 0
    """Revisions in the outbox that no broker has acknowledged yet."""
    reason: str = ""


class ScorerLine(msgspec.Struct, frozen=True, kw_only=True):
    """What looks at every camera's pictures."""

    state: Literal["starting", "ok", "fallen", "failing"] = "starting"
    """`fallen`: an engine was lost in this run and another took over; `failing`: no picture is scored."""
    engine: str = ""
    """As `onnx (CPU)`."""
    unscored: int = 0
    """Coarse frames of this run that the scorer could not take."""
    reason: str = ""
    """What was lost, or why nothing is scored: one line."""


class ConsoleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the running system."""

    site: str = ""
    tz: str = "UTC"
    """IANA zone in which the page shows times."""
    started_utc_ns: int
    cameras: tuple[CameraLine, ...] = ()
    kafka: KafkaLine = KafkaLine()
    scorer: ScorerLine = ScorerLine()
    windows: dict[str, int] = {}
    """`flagged`, `alert`, `rejected`, `merged`, `shed`: how many windows were flagged and what became of them."""
    shed_reasons: dict[str, int] = {}


class StatusBoard:
    """Asks for the status at most once in `max_age_s`, however many browsers look. Thread-safe."""

    def __init__(self, ask: Callable[[], ConsoleStatus], max_age_s: float = 1.0) -> None:
        self._ask, self._max_age_s = ask, max_age_s
        self._lock = threading.Lock()
        self._asked_s = float("-inf")
        self._json = b""

    def json(self) -> bytes:
        """The status as one line of JSON. User names and passwords in URLs are cut out, wherever they stand."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._asked_s >= self._max_age_s:
                self._json = msgspec.json.encode(_clean(msgspec.to_builtins(self._ask())))
                self._asked_s = now_s
            return self._json


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _USERINFO.sub("//", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value
