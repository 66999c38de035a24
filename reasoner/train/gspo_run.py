"""The folder of a reinforcement run: what it goes on from, and what it may begin over."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from reasoner.folder import ModelFolder
from reasoner.train.errors import BadCheckpoint
from reasoner.train.exercise import Exercises
from reasoner.train.gspo_config import GspoConfig

FREE = ("calibrate", "evaluation_rows", "render", "threads")
"""What may differ between a run and its resumption."""
RESULTS = ("model", "evaluation.json")
"""What a run that ended leaves; never written over, even where its checkpoints are gone."""


def last_checkpoint(out: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from; None where a run begins.

    Raises BadCheckpoint: nothing to go on from, or an earlier run that would be written over.
    """
    from transformers import trainer_utils

    folder = out / "checkpoints"
    find: Any = trainer_utils.get_last_checkpoint
    last = find(str(folder)) if folder.is_dir() else None
    if resume:
        if last is None:
            raise BadCheckpoint(f"nothing to resume: {folder} holds no checkpoint; start without --resume")
        return Path(last)
    if last is not None:
        raise BadCheckpoint(f"{out} holds checkpoints of an earlier run; go on with --resume, or name another --out")
    for name in RESULTS:
        if (out / name).exists():
            raise BadCheckpoint(f"{out} holds {name} of an earlier run; name another --out, or remove it")
    return None


def begin(config: GspoConfig, folder: ModelFolder, exercises: Exercises, out: Path, resume: bool) -> str | None:
    """The checkpoint to go on from, if any; else `out` is made ready for a new run: figures and weights that a run left
    which ended before its first checkpoint are removed.

    Raises BadCheckpoint: as `last_checkpoint`, or another configuration's.
    """
    record = {
        "config": {name: value for name, value in msgspec.to_builtins(config).items() if name not in FREE},
        "model_sha256": folder.weights_sha256(),
        "rows": exercises.identity(),
    }
    identity = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    file, last = out / "identity", last_checkpoint(out, resume)
    if last is not None:
        if not file.exists() or file.read_text() != identity:
            raise BadCheckpoint(
                f"{last} belongs to another configuration, model or clips; use its own, or another --out"
            )
        return str(last)
    if int(os.environ.get("RANK", "0")) == 0:
        for name in ("best.json", "metrics.jsonl"):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "best", ignore_errors=True)
        file.write_text(identity)
    return None
