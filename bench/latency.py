"""Event to alert: the demo as a user starts it, four cameras by default; time from an event's start to publication."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from bench.watched import Watched


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", type=int, default=4, help="simulated cameras (default 4)")
    parser.add_argument("--seconds", type=int, default=120, help="length of the run (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the scenes (default 1)")


def run(options: argparse.Namespace, engines: str = "") -> dict[str, Any]:
    """engines: folder of compiled engines, empty for the user's. Raises RuntimeError when the demo fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.watched", str(options.seconds), str(options.cameras)]
        command += [str(options.seed), folder, engines]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        raise RuntimeError(f"the demo ended with status {out.returncode}: {out.stderr.strip().splitlines()[-1:]}")
    watched = msgspec.json.decode(out.stdout, type=Watched)
    summary = watched.summary
    return {
        "cameras": options.cameras,
        "seconds": options.seconds,
        "seed": options.seed,
        "engine": watched.engine,
        "events": len(summary.events),
        "matched": summary.matched,
        "false": summary.false,
        "dropped_frames": watched.dropped_frames,
        "unscored_frames": watched.unscored_frames,
        "p50_s": summary.latency_s.p50,
        "p95_s": summary.latency_s.p95,
        "windows": msgspec.to_builtins(summary.windows),
        "target_p95_s": 8.0,
    }
