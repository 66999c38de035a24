"""Event to alert: the demo as a user starts it, four cameras by default; time from an event's start to publication."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", type=int, default=4, help="simulated cameras (default 4)")
    parser.add_argument("--seconds", type=int, default=120, help="length of the run (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the scenes (default 1)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "deploy", "demo", "--no-console", "--json", "--data", folder]
        command += ["--cameras", str(options.cameras), "--seconds", str(options.seconds), "--seed", str(options.seed)]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        raise RuntimeError(f"the demo ended with status {out.returncode}: {out.stderr.strip().splitlines()[-1:]}")
    summary = json.loads(out.stdout.strip().splitlines()[-1])
    return {
        "cameras": options.cameras,
        "seconds": options.seconds,
        "seed": options.seed,
        "events": len(summary["events"]),
        "matched": summary["matched"],
        "false": summary["false"],
        "p50_s": summary["latency_s"]["p50"],
        "p95_s": summary["latency_s"]["p95"],
        "windows": summary["windows"],
        "target_p95_s": 8.0,
    }
