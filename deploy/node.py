"""One box: store, console, models, relay to Kafka, telemetry and the line itself, opened and closed in order."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import msgspec

from alerts.config import KafkaConfig
from alerts.origin import Origin
from deploy.config import Config
from deploy.pipeline import Pipeline
from deploy.stages import Published
from deploy.summary import Windows
from reasoner.config import ReasonerConfig

if TYPE_CHECKING:
    from alerts.console.feed import Feed
    from alerts.console.status import ConsoleStatus
    from alerts.relay import Relay
    from detector.scorer import Scorer
    from ingest.supervisor import CameraEvent
    from reasoner.reason import Reasoner

log = logging.getLogger(__name__)

Say = Callable[[str], None]


class Node:
    """`with Node(...) as node: node.watch(); ...; windows = node.finish()`."""

    def __init__(self, config: Config, on_alert: Callable[[Published], None], note: Say) -> None:
        """note: told in one line what a person should know, as the address of the console."""
        self.config = config
        self._on_alert = on_alert
        self._note = note
        self._started_utc_ns = time.time_ns()
        self._parts = ExitStack()
        self.console_url = ""
        self._line: Pipeline | None = None
        self._relay: Relay | None = None

    def __enter__(self) -> Node:
        try:
            self._open()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._parts.close()

    def _open(self) -> None:
        """What fails fast comes first: the folder and the ports, then the models."""
        from alerts.store import Store
        from deploy import telemetry
        from detector.scorer import Scorer
        from reasoner.reason import Reasoner

        config = self.config
        self.store = self._parts.enter_context(Store.open(Path(config.data), config.store))
        if config.console.enabled:
            self._open_console()
        self._telemetry = telemetry.start(config.telemetry, config.site.node_id)
        self._parts.callback(self._telemetry.close)
        zones = {camera.id: camera.zones for camera in config.camera}
        self.scorer: Scorer = Scorer.load(config.detector, config.rule, zones)
        self._parts.callback(self.scorer.close)
        self.reasoner: Reasoner = Reasoner.load(shared(config.reasoner, os.cpu_count() or 1))
        self._parts.callback(self.reasoner.close)
        log.info("reasoner: %s", self.reasoner.describe())
        for rule in config.rule:
            if reason := self.reasoner.supports(rule):
                self._note(f"rule {rule.id}: {reason}")
        if config.kafka is not None:
            self._open_relay(config.kafka)
        self._line = Pipeline(
            config,
            self.store,
            self.scorer,
            self.reasoner,
            origin=self._origin(),
            on_alert=self._on_alert,
            on_camera=self._camera_changed,
            observe=self._telemetry,
        )
        telemetry.watch(self._telemetry, self._line)
        self._line.start()

    def _open_console(self) -> None:
        from alerts.console.app import build_app
        from alerts.console.feed import Feed
        from alerts.console.server import ConsoleServer

        settings = self.config.console
        feed: Feed = Feed()
        self.store.watch(lambda alert: feed.publish(alert.alert_id, alert.revision))
        app = build_app(self.store, self._status, feed, any_address=settings.allow_remote)
        server = ConsoleServer(app, feed, host=settings.host, port=settings.port, allow_remote=settings.allow_remote)
        self._parts.enter_context(server)
        self.console_url = server.url.rstrip("/")
        self._note(f"console: {server.url}")

    def _open_relay(self, kafka: KafkaConfig) -> None:
        from alerts.kafka_bus import KafkaPublisher
        from alerts.relay import Relay

        self._relay = Relay(
            self.store,
            lambda: KafkaPublisher(kafka),
            retry_max_s=kafka.retry_max_s,
            denied_retry_s=kafka.denied_retry_s,
        )
        self._relay.start()
        self._parts.callback(self._relay.stop)

    def _origin(self) -> Origin:
        """But for the scorer's engine, which the line knows."""
        return Origin(
            site=self.config.site,
            node_id=self.config.site.node_id,
            pipeline=f"witness {installed_version()}",
            config_sha256=fingerprint(self.config),
            review_below=self.config.reasoner.review_below,
            console_url=self.console_url,
        )

    @property
    def pipeline(self) -> Pipeline:
        if self._line is None:
            raise RuntimeError("the node is not open")
        return self._line

    def watch(self) -> None:
        self.pipeline.watch()

    def finish(self) -> Windows:
        """Drain the line, then the outbox; says what is left."""
        windows = self.pipeline.stop()
        kafka = self.config.kafka
        if self._relay is not None and kafka is not None and (left := self._relay.drain(kafka.drain_timeout_s)):
            self._note(
                f"{left} records are not in Kafka at {kafka.bootstrap} yet; "
                f"they stay in {self.config.data} and are sent at the next start"
            )
        return windows

    def _camera_changed(self, event: CameraEvent) -> None:
        """One line for each change; what went wrong is a warning."""
        level = logging.WARNING if event.reason and event.state == "offline" else logging.INFO
        log.log(level, "camera %s is %s%s", event.camera_id, event.state, f": {event.reason}" if event.reason else "")

    def _status(self) -> ConsoleStatus:
        """Asked from the console's threads, also before the line is there."""
        from deploy.health import status

        return status(self.config, self._started_utc_ns, self._line, self._relay)


def shared(settings: ReasonerConfig, cores: int) -> ReasonerConfig:
    """Half of the cores for the reasoner unless its threads are set: cameras and scorer need the others all the time,
    and torch with a thread on every core slows them and itself."""
    return settings if settings.threads else msgspec.structs.replace(settings, threads=max(1, cores // 2))


def fingerprint(config: Config) -> str:
    """SHA-256 of the configuration without its secrets."""
    from ingest.source import redact

    plain = msgspec.to_builtins(config)
    for camera in plain["camera"]:
        camera["url"] = redact(camera["url"])
    for table, keys in (("kafka", ("username", "password")), ("reasoner", ("api_key",))):
        for key in keys:
            (plain.get(table) or {}).pop(key, None)
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


def free_port(host: str, port: int = 0) -> int:
    """The port if nobody listens there, any free one for 0; 0 when it is taken."""
    try:
        with socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        return 0


def installed_version() -> str:
    try:
        return version("witness")
    except PackageNotFoundError:
        return "from source"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second signal interrupts at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    old = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
