"""What every benchmark says beside its figures: which machine, which versions, which commit."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PACKAGES = ("av", "numpy", "onnxruntime", "torch", "transformers")


def note(line: str) -> None:
    """How far a benchmark is, beside what it prints."""
    print(line, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """An argument that counts something. Raises argparse.ArgumentTypeError, one line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 on")
    return int(text)


def machine() -> dict[str, Any]:
    """Processor, cores, Python and library versions, commit of the working tree."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _gpu() -> str | None:
    try:
        out = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip() or None


def _commit() -> str | None:
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()


def show(
    name: str, figures: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], Iterable[str]] | None = None
) -> None:
    """Print a benchmark's figures: one JSON object as the last line, or `lines` of them, or one figure a line."""
    record = {"bench": name, **figures, "machine": machine()}
    if as_json:
        print(json.dumps(record))
        return
    print(f"{name} ({record['machine']['cpu']}, {record['machine']['cores']} cores)")
    for line in lines(figures) if lines else (f"  {key:28} {_short(value)}" for key, value in figures.items()):
        print(line)


def schema(record: type, name: str, title: str) -> dict[str, Any]:
    """JSON Schema 2020-12 of what `show` prints as JSON: the figures, with what every benchmark says beside its own."""
    import msgspec

    from deploy.summary import SCHEMA_DIALECT

    (_, components) = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    closed = {each: {**component, "additionalProperties": False} for each, component in components.items()}
    whole = closed.pop(record.__name__)
    whole["properties"] = {**whole["properties"], "bench": {"const": name}, "machine": {"type": "object"}}
    whole["required"] = [*whole["required"], "bench", "machine"]
    return {"$schema": SCHEMA_DIALECT, **whole, "title": title, "$defs": closed}


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
