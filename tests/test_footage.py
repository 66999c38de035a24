"""Recorded footage as live cameras through the whole line: no crash, no lost window."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLIPS = ROOT.parent / "shared" / "videos"
SECONDS = 25


def clips() -> list[Path]:
    if not CLIPS.is_dir():
        pytest.skip(f"footage: there is no folder {CLIPS.name} beside the project")
    return sorted(path for path in CLIPS.iterdir() if path.suffix in {".mp4", ".avi", ".mkv"})


@pytest.fixture
def addresses() -> Iterator[list[str]]:
    """The clips, each a camera of `witness simulate --files`, for as long as the test runs."""
    files = clips()
    command = [sys.executable, "-m", "deploy", "simulate", "--port", "0", "--files", *map(str, files)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            urls = [server.stdout.readline().strip() for _ in files]
            assert all(url.startswith("rtsp://127.0.0.1:") for url in urls), urls
            yield urls
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert server.returncode == 0


@pytest.mark.slow
def test_each_clip_runs_through_the_whole_line(addresses: list[str], tmp_path: Path) -> None:
    names = [f"clip-{number}" for number in range(len(addresses))]
    cameras = "".join(f'[[camera]]\nid = "{n}"\nurl = "{url}"\n' for n, url in zip(names, addresses, strict=True))
    (tmp_path / "site.toml").write_text(f'data = "{tmp_path}/data"\n{cameras}[console]\nenabled = false\n')
    command = [sys.executable, "-m", "deploy", "run", str(tmp_path / "site.toml"), "--seconds", str(SECONDS), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    online = set(re.findall(r"camera (clip-\d+) is online", done.stderr))
    assert online == set(names)
    summary = json.loads(done.stdout.splitlines()[-1])
    windows = summary["windows"]
    assert windows["flagged"] == windows["alert"] + windows["rejected"] + windows["merged"] + windows["shed"]
    assert summary["cameras"] == len(names)
    assert (summary["events"], summary["matched"], summary["false"]) == ([], 0, 0)
