"""`witness demo`: simulated cameras with known events, watched by the same line as `run`, then compared with the truth.

Scenes are rendered first and the models loaded, then the cameras' clock starts: second 0 of the scenes is second 0 of
the run. The line is given addresses of cameras and rules, nothing else; the truth is opened when it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from alerts.config import ConsoleConfig, KafkaConfig
from deploy import logs
from deploy.config import DEMO_RULES, Config, load_rules
from deploy.errors import UsageError
from deploy.node import Node, free_port, stop_on_signals
from deploy.progress import Progress
from deploy.reporter import Reporter
from deploy.secret import Redaction
from deploy.summary import Summary, SummaryEvent, summarise
from detector.config import DetectorConfig
from ingest.config import CameraConfig

if TYPE_CHECKING:
    from deploy.pipeline import Pipeline
    from ingest.simulator.cameras import SimulatedCamera

LOOP_S = 60.0
"""Length of the scenes when the demo has no end."""
RESUME_S = 60.0
"""At most so long the windows of an earlier run are waited for before the cameras start."""
FIRST_PORT = 8080
PORTS_TRIED = 20
HOST = "127.0.0.1"

Say = Callable[[str], None]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The demo's arguments."""

    seconds: float | None
    """None: until Ctrl-C."""
    cameras: int
    seed: int
    data: Path
    port: int | None
    """None: the first free one from FIRST_PORT on."""
    console: bool
    kafka: str | None
    debug: bool
    engines: str = ""
    """Folder of compiled engines; empty: the user's cache folder."""


def run_demo(wanted: Wanted, say: Say, note: Say, ended: Callable[[Pipeline], None] = lambda line: None) -> Summary:
    """ended: shown the line when it has stopped, for what the summary does not tell, as its engine and its drops.

    Raises UsageError for a broker address that is none, and the rooms' own errors."""
    from ingest.simulator.cameras import simulated_cameras
    from ingest.simulator.rtsp import SimulatedServer

    logs.set_up(Redaction(), debug=wanted.debug)
    port = free_port(HOST)
    config = demo_config(wanted, port)
    reporter = Reporter(say)
    with Progress("rendering scenes", note) as progress:
        cameras = simulated_cameras(wanted.cameras, wanted.seed, wanted.seconds or LOOP_S, progress=progress)
    with stop_on_signals() as stop, Node(config, reporter, note) as node:
        if taken_over := node.pipeline.resume():
            note(f"{taken_over} windows of an earlier run are finished first")
            node.pipeline.ledger.wait_until_done(RESUME_S)
        with SimulatedServer({camera.name: camera.stream for camera in cameras}, HOST, port) as server:
            reporter.begin(server.started_utc_ns)
            node.watch()
            note(f"watching {wanted.cameras} simulated cameras; Ctrl-C ends with a summary")
            stop.wait(wanted.seconds)
            ended_utc_ns = time.time_ns()
            windows = node.finish()
            ended(node.pipeline)
        started_utc_ns = server.started_utc_ns
    return summarise(
        (ended_utc_ns - started_utc_ns) / 1e9,
        wanted.cameras,
        truth(cameras, started_utc_ns, ended_utc_ns),
        reporter.raised(),
        windows,
    )


def demo_config(wanted: Wanted, port: int) -> Config:
    """The configuration of a site whose cameras are served on a port of this machine."""
    try:
        kafka = msgspec.convert({"bootstrap": wanted.kafka}, KafkaConfig) if wanted.kafka else None
    except msgspec.ValidationError:
        raise UsageError(f"--kafka {wanted.kafka}: write HOST:PORT, several joined by commas") from None
    console = ConsoleConfig(enabled=wanted.console, host=HOST, port=_console_port(wanted))
    return Config(
        camera=tuple(
            CameraConfig(id=f"cam-{number}", name=f"Camera {number}", url=f"rtsp://{HOST}:{port}/cam-{number}")
            for number in range(1, wanted.cameras + 1)
        ),
        rule=load_rules(DEMO_RULES),
        data=str(wanted.data),
        detector=DetectorConfig(engines=wanted.engines),
        kafka=kafka,
        console=console,
    )


def _console_port(wanted: Wanted) -> int:
    """The wanted one; else the first free one of a few, else any."""
    if wanted.port is not None or not wanted.console:
        return wanted.port or 0
    return next((port for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if free_port(HOST, port)), 0)


def truth(cameras: Sequence[SimulatedCamera], started_utc_ns: int, ended_utc_ns: int) -> list[SummaryEvent]:
    """What could be told from the pictures before the end, in seconds since the start."""
    from ingest.simulator.cameras import events_on_wall_clock

    return [
        SummaryEvent(
            camera=event.camera,
            label=event.label,
            start=round((event.start_utc_ns - started_utc_ns) / 1e9, 3),
            end=round((event.end_utc_ns - started_utc_ns) / 1e9, 3),
        )
        for camera in cameras
        for event in events_on_wall_clock(camera, started_utc_ns, ended_utc_ns)
        if event.evident_utc_ns <= ended_utc_ns
    ]
