"""The demo for real, start to end, with the bundled models: its summary against an independent count of the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 45


def witness(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def demo(data: Path) -> subprocess.CompletedProcess[str]:
    return witness("demo", "--seconds", str(SECONDS), "--no-console", "--data", data, "--json")


@pytest.fixture(scope="module")
def summary(demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert demo.returncode == 0, demo.stderr
    last: dict[str, Any] = json.loads(demo.stdout.strip().splitlines()[-1])
    return last


@pytest.mark.slow
def test_the_summary_holds_to_its_schema(summary: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((ROOT / "deploy" / "schema" / "summary.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(summary)] == []
    assert summary["cameras"] == 2
    assert SECONDS <= summary["seconds"] < SECONDS + 5


@pytest.mark.slow
def test_windows_add_up(summary: dict[str, Any]) -> None:
    windows = summary["windows"]
    assert windows["flagged"] == windows["alert"] + windows["rejected"] + windows["merged"] + windows["shed"]
    assert windows["alert"] == len(summary["alerts"])


@pytest.mark.slow
def test_alerts_are_true_by_another_count(summary: dict[str, Any]) -> None:
    hit = {
        (event["camera"], event["start"])
        for event in summary["events"]
        for alert in summary["alerts"]
        if event["camera"] == alert["camera"] and event["start"] - 2 <= alert["onset"] <= event["end"] + 2
    }
    assert summary["events"]
    assert summary["matched"] + summary["missed"] == len(summary["events"])
    assert 1 <= summary["matched"] <= len(hit)
    assert summary["false"] <= 1
    assert 0 < summary["latency_s"]["p50"] <= summary["latency_s"]["p95"]


@pytest.mark.slow
def test_every_alert_shows_its_evidence(summary: dict[str, Any], demo: subprocess.CompletedProcess[str]) -> None:
    assert len({alert["alert_id"] for alert in summary["alerts"]}) == len(summary["alerts"])
    for alert in summary["alerts"]:
        assert 0 <= alert["confidence"] <= 1
        assert alert["claims"]
        for claim in alert["claims"]:
            x1, y1, x2, y2 = claim["box"]
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            assert f"at {claim['time']:.1f} s, box x1={x1:.3f}" in demo.stdout


@pytest.mark.slow
def test_the_store_agrees_and_verifies(summary: dict[str, Any], data: Path) -> None:
    listed = [json.loads(line) for line in witness("alerts", "list", "--data", data, "--json").stdout.splitlines()]
    assert {alert["alert_id"] for alert in listed} == {alert["alert_id"] for alert in summary["alerts"]}
    assert witness("alerts", "verify", "--data", data).returncode == 0


@pytest.mark.slow
def test_the_pipeline_was_never_told_the_truth(demo: subprocess.CompletedProcess[str]) -> None:
    """What the line is given: addresses and rules. Nothing in it imports the world or the summary's events."""
    import ast

    for name in ("pipeline", "stages", "runner", "node", "admission", "ledger", "reporter"):
        tree = ast.parse((ROOT / "deploy" / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {module for module in modules if module and module.startswith("ingest.simulator")}
