"""What the set-up installs, and in which order; uv is a recorder here, everything else the script as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDER = """#!/bin/sh
case "$1" in -c) exit 0;; esac
shift
echo "$*" >>LOG
touch FOLDER/witness && chmod +x FOLDER/witness
"""
PROJECT = "install --python .venv/bin/python --quiet --editable .[{extras}]{more}"
SWAP = (
    "uninstall --python .venv/bin/python onnxruntime onnxruntime-gpu",
    "install --python .venv/bin/python --quiet onnxruntime-gpu[cuda,cudnn]",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "deploy" / "setup.sh", tmp_path / "deploy")
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("uv", "python"):
        (tools / name).write_text(RECORDER.replace("LOG", str(tmp_path / "log")).replace("FOLDER", str(tools)))
        (tools / name).chmod(0o755)
    return tmp_path


def set_up(folder: Path, dev: str = "", gpu: bool = False) -> list[str]:
    """What was asked of uv."""
    log = folder / "log"
    log.write_text("")
    environment = {name: value for name, value in os.environ.items() if name != "WITNESS_GPU"}
    command = ["bash", "-euc", f". deploy/setup.sh; set_up {dev}"]
    subprocess.run(command, cwd=folder, env=environment | ({"WITNESS_GPU": "1"} if gpu else {}), check=True, timeout=60)
    return log.read_text().splitlines()


@pytest.mark.parametrize(("dev", "more"), [("", ""), ("dev", " --group dev")])
def test_onnx_runtime_for_cuda_comes_last_and_alone(folder: Path, dev: str, more: str) -> None:
    with_gpu = [PROJECT.format(extras="train,gpu", more=more), *SWAP]
    assert set_up(folder, dev) == [PROJECT.format(extras="train", more=more)]
    assert set_up(folder, dev) == []
    assert set_up(folder, dev, gpu=True) == with_gpu
    assert set_up(folder, dev) == [], "an environment for a GPU stays one"
    with (folder / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    assert set_up(folder, dev) == with_gpu


def test_no_extra_brings_a_second_onnx_runtime() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert len([one for one in wanted if one.startswith("onnxruntime")]) == 1
