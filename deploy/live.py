"""`witness run`: every stage in one box, on the cameras of a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from deploy import logs
from deploy.config import load
from deploy.node import Node, stop_on_signals
from deploy.reporter import Reporter
from deploy.secret import Redaction
from deploy.summary import Summary, summarise

Say = Callable[[str], None]


def run_live(path: Path, seconds: float | None, say: Say, note: Say, *, debug: bool = False) -> Summary:
    """Watch until the time is over, Ctrl-C or SIGTERM; then drain and return the summary, which has no truth."""
    loaded = load(path)
    redaction = Redaction(loaded.secrets)
    logs.set_up(redaction, debug=debug)
    reporter = Reporter(lambda line: say(redaction(line)))
    with stop_on_signals() as stop, Node(loaded.config, reporter, lambda line: note(redaction(line))) as node:
        zero_utc_ns, began_s = time.time_ns(), time.monotonic()
        reporter.begin(zero_utc_ns)
        if taken_over := node.pipeline.resume():
            note(f"{taken_over} windows of an earlier run are finished first")
        node.watch()
        note(f"watching {len(loaded.config.camera)} cameras; Ctrl-C ends with a summary")
        stop.wait(seconds)
        watched_s = time.monotonic() - began_s
        note("stopping: what was flagged is examined first")
        windows = node.finish()
    return summarise(watched_s, len(loaded.config.camera), None, reporter.raised(), windows)
