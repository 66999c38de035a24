"""What a transformers Trainer logs, as lines of `metrics.jsonl`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from reasoner.train.journal import Journal


class Recorder(TrainerCallback):
    """Writes on the first process only; losses in nats, `seconds` since this start of the run."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        values = {name: value for name, value in logs.items() if isinstance(value, int | float)}
        if "loss" in values:
            known = {"loss", "text", "grounded", "grad_norm", "learning_rate"}
            kept = {name: value for name, value in values.items() if name in known}
            kept["progress"] = state.global_step / max(1, state.max_steps)
        elif "eval_loss" in values:
            kept = {"val_loss": values["eval_loss"]}
        else:
            return
        self._journal.write(stage="sft", step=state.global_step, seconds=time.monotonic() - self._started, **kept)
