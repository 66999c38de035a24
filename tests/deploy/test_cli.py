"""The command line from outside: exit status, one line on stderr, the store on stdout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alerts.store import Store
from deploy import archive
from deploy.arguments import parse, parser
from deploy.cli import COMMANDS, main
from tests.deploy.scripted import RULE, ScriptedReasoner, ScriptedScorer, Site
from tests.detector.gpu import no_gpu

ROOT = Path(__file__).parents[2]
CAMERA = '[[camera]]\nid = "gate-1"\nurl = "rtsp://viewer:hunter22@127.0.0.1:9/x"\n'


def witness(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd or ROOT, timeout=120, check=False)


@pytest.mark.parametrize(
    "command",
    [
        "demo --seconds 60 --cameras 4 --seed 3 --data d --port 0 --no-console --kafka a:9092 --json",
        "run c.toml --seconds 5 --json",
        "check c.toml --probe",
        "ask v.mp4 what --model m --lang zh --fps 2 --json",
        "simulate --port 0 --cameras 2 --seed 1 --files a.mp4 b.mp4 --fault stall",
        "simulate --render d --clips 4 --seed 11",
        "simulate --render d --clips 1 --seconds 90",
        "alerts list --data d --json",
        "alerts show 0198 --config c.toml",
        "alerts media 0198 --out d",
        "alerts verify",
        "alerts review 0198 false --by ann --note why --data d --json",
        "alerts export --config c.toml --out d --format flat --json",
        "models list",
        "models pull Qwen/Qwen3-VL-8B-Instruct --revision main --mirror https://mirror.example --to d",
        "train scorer c.toml --out d --resume",
        "train sft c.toml",
    ],
)
def test_every_command_is_understood_and_served(command: str) -> None:
    assert parse(command.split()).command in COMMANDS
    assert parse([*command.split(), "--debug"]).debug


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("fly", "argument COMMAND: invalid choice: 'fly'"),
        ("demo --seconds 0", "argument --seconds: 0 is not above zero"),
        ("demo --seconds soon", "argument --seconds: invalid positive value: 'soon'"),
        ("demo --cameras 0", "argument --cameras: 0 is not a number from 1 to 100000"),
        ("demo --port 70000", "argument --port: 70000 is no port"),
        ("run", "the following arguments are required: CONFIG"),
        ("alerts list --data d --config c", "not allowed with argument --data"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(command: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(command.split())
    error = capsys.readouterr().err
    assert (left.value.code, error.count("\n")) == (2, 1)
    assert told in error


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run none.toml", "none.toml: no such file"),
        ("check bad.toml", 'bad.toml: $.camera[0] (gate-1): unknown key "colour"'),
        ("alerts list --data nowhere", "nowhere"),
        ("alerts list --config none.toml", "none.toml: no such file"),
        ("simulate --fault nothing", "--fault nothing: known are silent"),
        ("simulate --files none.mp4 --port 0", "none.mp4"),
        ("demo --kafka nonsense --no-console --data d", "--kafka nonsense: write HOST:PORT"),
        ("train scorer none.toml", "none.toml: no such file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    command: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text(CAMERA + 'colour = "red"\n')
    assert main(command.split()) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("witness: ")
    assert told in error[0]
    assert "hunter22" not in error[0]


def test_debug_brings_the_traceback(tmp_path: Path) -> None:
    done = witness("run", tmp_path / "none.toml", "--debug")
    assert "Traceback" in done.stderr
    assert "Traceback" not in witness("run", tmp_path / "none.toml").stderr


def test_check_is_one_screen_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = f'[reasoner]\nmodel = "{tmp_path}/empty"\n'
    (tmp_path / "c.toml").write_text(f'data = "{tmp_path}/d"\n' + CAMERA + model)
    done = witness("check", tmp_path / "c.toml", "--probe", "--timeout", "3")
    assert done.returncode == 1
    assert "hunter22" not in done.stdout + done.stderr
    rows = {line.split("  ")[1].strip() if line.startswith("FAIL") else "" for line in done.stdout.splitlines()}
    assert {"camera gate-1", "reasoner"} <= rows
    assert {"data", "kafka", "console", "sqlite", "ffmpeg"} <= {
        word for line in done.stdout.splitlines() for word in line.split()
    }


@pytest.mark.parametrize(
    ("table", "state", "told"),
    [
        ('device = "cpu"', "ok", " in this process, answers "),
        ('device = "cpu"\nisolate = true', "ok", " in a process of its own, answers "),
        ('device = "cuda:7"', "FAIL", "device 'cuda:7': this machine has "),
        ('model = "nobody/nothing"', "FAIL", "run `witness models pull nobody/nothing` once"),
    ],
)
def test_check_says_where_the_model_runs_or_why_not(
    table: str,
    state: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WITNESS_MODELS", str(tmp_path))
    (tmp_path / "c.toml").write_text(f'data = "{tmp_path}/d"\n{CAMERA}[reasoner]\n{table}\n')
    assert main(["check", str(tmp_path / "c.toml")]) == (state == "FAIL")
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[1] == "reasoner"]
    assert row.startswith(state) and told in row


@pytest.mark.skipif(no_gpu() is None, reason="there is a GPU")
@pytest.mark.parametrize(
    ("table", "state", "told"),
    [
        ("", "ok", r"auto: onnx \(CPU\); passed over: tensorrt \(.+\), onnx on CUDA \(.+\); --probe starts it"),
        ('engine = "onnx"', "ok", r"onnx \(CPU\); --probe starts it"),
        ('engine = "torch"', "ok", "torch; --probe starts it"),
        ('engine = "tensorrt"', "FAIL", ".*install the extra"),
        ('engine = "onnx"\nprecision = "int8"', "FAIL", ".*has no scorer.int8.onnx"),
        ('precision = "fp8"', "FAIL", ".*torch runs"),
    ],
)
def test_check_says_which_engine_would_run(
    table: str, state: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started for it; a named engine that cannot run here is a mistake, as at the start."""
    (tmp_path / "c.toml").write_text(f'data = "{tmp_path}/d"\n{CAMERA}[detector]\n{table}\n')
    assert main(["check", str(tmp_path / "c.toml")]) == (state == "FAIL")
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[1] == "engine"]
    assert re.fullmatch(rf"{state}\s+engine\s+{told}.*", row.strip())


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m deploy simulate --fault list | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("silent\n", "")


def test_the_store_on_the_command_line(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), lambda name, at: name == "a" and at >= 2), ScriptedReasoner())
        line.start()
        line.watch()
        deadline = time.monotonic() + 40
        while not site.published and time.monotonic() < deadline:
            time.sleep(0.05)
        line.stop()
    data = ["--data", str(site.data)]

    assert main(["alerts", "list", "--json", *data]) == 0
    records = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert records
    assert records[0]["schema"] == "alert/1.0.0"
    alert_id = records[-1]["alert_id"]

    assert main(["alerts", "list", *data]) == 0
    assert alert_id in capsys.readouterr().out
    assert main(["alerts", "show", alert_id, *data]) == 0
    shown = capsys.readouterr().out
    assert "change_region supported" in shown
    assert f"evidence/{alert_id}/clip.mp4" in shown

    assert main(["alerts", "media", alert_id, "--out", str(tmp_path / "out"), *data]) == 0
    written = [Path(row) for row in capsys.readouterr().out.splitlines()]
    assert {path.suffix for path in written} == {".jpg", ".mp4"}
    assert all(path.stat().st_size > 500 for path in written)

    assert main(["alerts", "verify", *data]) == 0
    assert capsys.readouterr().out == "every stored hash, time and box agrees\n"
    clip = site.data / "evidence" / alert_id / "clip.mp4"
    content = bytearray(clip.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    clip.write_bytes(content)
    assert main(["alerts", "verify", *data]) == 1
    assert f"{alert_id}/clip.mp4" in capsys.readouterr().out

    assert main(["alerts", "show", "ffffffff", *data]) == 2
    assert "no alert in" in capsys.readouterr().err


def test_an_alert_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    from deploy.errors import UsageError

    Store.open(tmp_path / "d").close()
    with Store.open(tmp_path / "d", read_only=True) as store, pytest.raises(UsageError, match="no alert in"):
        archive.find(store, "")


def test_help_names_every_command() -> None:
    text = parser().format_help()
    for command in ("demo", "run", "check", "ask", "simulate", "alerts", "models", "train"):
        assert f"\n    {command} " in text
