"""Checkpoints: everything a stage needs to go on, written so that a crash leaves the one before."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reasoner.train.errors import BadCheckpoint

SHOWN = 16
"""Characters of a value in a message: enough to know a hash by."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Tensors and plain values only, so that loading runs no code."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state, or None where there is no checkpoint.

    identity: the settings, by name, that the checkpoint must have been saved with. Raises BadCheckpoint that names
    those which differ.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(
            f"checkpoint {path} cannot be read ({type(error).__name__}); start anew with another --out"
        ) from error
    then = state.get("identity") if isinstance(state, dict) else None
    if not isinstance(then, dict):
        raise BadCheckpoint(f"checkpoint {path} does not tell its settings; start anew with another --out")
    changed = differing(then, identity)
    if changed:
        raise BadCheckpoint(
            f"checkpoint {path} belongs to a training with another {', '.join(changed)}; "
            "resume with its settings, or start anew with another --out"
        )
    return state


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name (then, now ...)` of each setting that differs, sorted."""
    names = sorted(name for name in {*then, *now} if name not in then or name not in now or then[name] != now[name])
    return [f"{name} ({_told(then, name)}, now {_told(now, name)})" for name in names]


def _told(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "not set"
    text = json.dumps(values[name], ensure_ascii=False)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]}..."
