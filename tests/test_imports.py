"""Packages, records and the command line load nothing heavy."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "av", "onnxruntime", "onnx", "tensorrt", "aiokafka", "starlette", "cv2")
LIGHT = (
    "import ingest, detector, reasoner, alerts, deploy",
    "import ingest.config, ingest.clock, ingest.frame, ingest.errors, ingest.source",
    "import detector.config, detector.rule, detector.window, detector.errors",
    "import reasoner.config, reasoner.boxes, reasoner.verdict, reasoner.errors",
    "import alerts.config, alerts.alert, alerts.policy, alerts.errors",
    "import deploy.config, deploy.cli, deploy.arguments, deploy.runner, deploy.summary, deploy.pipeline, deploy.node",
)
HELP_S = 0.3


@pytest.mark.parametrize("statement", LIGHT)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_help_is_quick() -> None:
    """Processor time of the best of a few runs: what else the machine does must not fail it."""
    best_s = float("inf")
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "deploy", "--help"], capture_output=True, cwd=ROOT, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best_s = min(best_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
        assert b"simulate" in done.stdout
    assert best_s <= HELP_S
