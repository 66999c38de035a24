"""Checkpoints: everything a stage needs to go on, written so that a crash leaves the one before."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from reasoner.train.errors import BadCheckpoint


def save(path: Path, state: dict[str, Any]) -> None:
    """Tensors and plain values only, so that loading runs no code."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """The state, or None where there is no checkpoint. Raises BadCheckpoint for another configuration's."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(
            f"checkpoint {path} cannot be read ({type(error).__name__}); start without --resume"
        ) from error
    if state.get("identity") != identity:
        raise BadCheckpoint(f"checkpoint {path} belongs to another configuration; use its own, or another --out")
    return state
