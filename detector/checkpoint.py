"""A training's checkpoint: one file, replaced in one step, read without running code from it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch

from detector.errors import TrainingError

if TYPE_CHECKING:
    from detector.learner import Learner

FREE = (
    "steps",
    "cycles",
    "budget_s",
    "checkpoint_s",
    "threads",
    "render_workers",
    "cache",
    "held_out_scenes",
    "flag_cost",
    "precision",
)
"""Settings that a resumed training may change."""


def save_checkpoint(path: Path, learner: Learner) -> None:
    part = path.with_suffix(".part")
    torch.save(
        {
            "config": msgspec.json.encode(learner.config).decode(),
            "model": learner.model.state_dict(),
            "average": learner.average.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "step": learner.step,
            "seconds": learner.seconds,
            "losses": learner.losses,
            "dice": msgspec.json.encode(learner.dice.bit_generator.state).decode(),
            "words": msgspec.json.encode(learner.words.getstate()).decode(),
        },
        part,
    )
    os.replace(part, path)


def load_checkpoint(path: Path, learner: Learner) -> None:
    """Puts the learner where the checkpoint left it. Raises TrainingError, one line, if it is not of this training."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"nothing to resume: there is no {path}; start without --resume") from None
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise TrainingError(f"{path} is no checkpoint ({reason}); start without --resume") from None
    then, now = (msgspec.json.decode(text) for text in (state["config"], msgspec.json.encode(learner.config)))
    changed = [name for name in now if name not in FREE and then.get(name) != now[name]]
    if changed:
        raise TrainingError(f"{path} belongs to a training with another {', '.join(changed)}; use another --out")
    learner.model.load_state_dict(state["model"])
    learner.average.load_state_dict(state["average"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.step, learner.seconds, learner.losses = state["step"], state["seconds"], list(state["losses"])
    learner.dice.bit_generator.state = msgspec.json.decode(state["dice"])
    version, internal, gauss = msgspec.json.decode(state["words"])
    learner.words.setstate((version, tuple(internal), gauss))
