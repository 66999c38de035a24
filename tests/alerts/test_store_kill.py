"""`kill -9` at each point of the store's work: what was acknowledged stays, nothing ends twice, all can be finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("steps", "times", "begun"),
    [(22, 0, 0), (17, 0, 1), (0, 14, 0)],
    ids=["at each step", "at each step of a retraction", "at random"],
)
def test_killed_at_any_point(tmp_path: Path, steps: int, times: int, begun: int) -> None:
    numbers = map(str, (7, steps, times, begun))
    command = [sys.executable, "-m", "tests.alerts.killing", str(tmp_path), *numbers]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == steps + times
    assert told["alert"] > 0 and (told["retracted"] > 0 or not begun)
    assert told["flagged"] == told["alert"] + told["rejected"] + told["merged"] + told["shed"]
