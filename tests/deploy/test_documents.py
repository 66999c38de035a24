"""What the documents promise exists: commands, files, rooms."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from deploy.arguments import parse
from deploy.cli import COMMANDS
from deploy.config import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_readme_shows_the_two_commands_first() -> None:
    first, second = [block.strip() for block in blocks(README)][:2]
    assert (first, second) == ("bash deploy/quickstart.sh", "bash deploy/test.sh")


@pytest.mark.parametrize(
    "line",
    [
        line.split("#")[0].strip()
        for block in blocks(README)
        for line in block.splitlines()
        if line.startswith("witness ")
    ],
)
def test_commands_of_the_readme_are_understood(line: str) -> None:
    assert parse(line.split()[1:]).command in COMMANDS


def test_the_readme_camera_is_a_configuration(tmp_path: Path) -> None:
    (file := tmp_path / "camera.toml").write_text(blocks(README, "toml")[0])
    assert len(file.read_text().splitlines()) <= 5
    assert load(file, {"GATE1_PASSWORD": "x"}).config.camera[0].id == "gate-1"


def test_links_and_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
    listed = re.findall(r"`([a-z_]+\.(?:py|sh|yaml))`", (ROOT / "deploy" / "README.md").read_text())
    assert [name for name in listed if not (ROOT / "deploy" / name).exists()] == []
    modules = {path.name for path in (ROOT / "deploy").glob("*.py")} - {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "progress.py",
    }
    assert modules - set(listed) == set()


@pytest.mark.parametrize("script", ["deploy/quickstart.sh", "deploy/test.sh", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).returncode == 0


def test_ci_runs_the_test_command_with_the_real_broker() -> None:
    assert "REQUIRE_KAFKA=1 bash deploy/test.sh" in (ROOT / ".ci" / "run").read_text()
