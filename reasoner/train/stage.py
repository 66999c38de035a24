"""One stage of training: the loop that both stages share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reasoner.train import checkpoint
from reasoner.train.config import SftConfig, Stage
from reasoner.train.errors import BadCheckpoint, TrainFailed
from reasoner.train.journal import Journal
from reasoner.train.learner import Learner
from reasoner.train.pace import Pace

LOG_EVERY = 25
"""Steps between two lines of progress."""
SKIPPED_MOST = 20
"""Steps in a row without a finite gradient, after which nothing will mend itself."""


@dataclass(frozen=True)
class Course:
    """What a stage does at each step, and how it is judged."""

    name: str
    stage: Stage
    losses: Callable[[int], dict[str, Tensor]]
    """The losses of one step's batch; `loss` is what is minimised."""
    validate: Callable[[], dict[str, float]]
    """Figures on the validation rows; `score` is what decides which weights are kept, more is better."""


@dataclass
class Standing:
    """Where a stage stands."""

    pace: Pace
    optimizer: torch.optim.Optimizer
    best: float = float("-inf")
    """Score of the weights that are kept."""
    judged: int = -1
    """Step of the last validation."""
    skipped: int = 0
    """Steps that changed no weight, since their gradient was not finite."""
    in_a_row: int = 0
    """Of these, the last ones without any other between them."""


class Trainer:
    """Runs courses over one learner; `out` holds the checkpoint, the best weights and the metrics.

    Validation comes at steps, so that which weights are kept does not depend on the clock; the clock only saves.
    """

    def __init__(self, learner: Learner, config: SftConfig, out: Path, identity: dict[str, Any]) -> None:
        self.learner, self.config, self.out, self.identity = learner, config, out, identity
        self.journal = Journal(out / "metrics.jsonl")

    def checkpoint_of(self, name: str) -> Path:
        return self.out / f"{name}.pt"

    def best_of(self, name: str) -> Path:
        return self.out / f"{name}-best.pt"

    def taken(self, name: str) -> tuple[int, float, int]:
        """Steps and seconds that a finished stage took, and the step whose weights it kept."""
        state, best = (checkpoint.load(path, self.identity) for path in (self.checkpoint_of(name), self.best_of(name)))
        if state is None or best is None:
            raise BadCheckpoint(f"{self.out} has lost {name}.pt or {name}-best.pt; start anew with another --out")
        return int(state["step"]), float(state["spent_s"]), int(best["step"])

    def run(self, course: Course, resume: bool) -> None:
        """To the end of the stage; with `resume` from its checkpoint where there is one.

        Raises TrainFailed where the losses are no numbers.
        """
        standing = self._standing(course, resume)
        pace, saved = standing.pace, time.monotonic()
        while pace.share < 1:
            values = self._step(course, standing)
            pace.step += 1
            if pace.step % LOG_EVERY == 0:
                self._tell(course, pace, share=pace.share, rate=pace.rate, skipped=standing.skipped, **values)
            due = pace.step % self.config.validate_steps == 0
            if due:
                self._judge(course, standing)
            if due or time.monotonic() - saved > self.config.checkpoint_minutes * 60:
                self._save(course, standing)
                saved = time.monotonic()
        if standing.judged != pace.step:
            self._judge(course, standing)
            self._save(course, standing)
        if standing.best == float("-inf"):
            raise TrainFailed(f"stage {course.name}: no validation gave a number; lower its learning_rate")

    def _standing(self, course: Course, resume: bool) -> Standing:
        optimizer = self._optimizer(course)
        state = checkpoint.load(self.checkpoint_of(course.name), self.identity) if resume else None
        if state is None:
            return Standing(Pace(course.stage), optimizer)
        self.learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        pace = Pace(course.stage, state["step"], state["spent_s"])
        return Standing(pace, optimizer, state["best"], state["judged"], state["skipped"], state["in_a_row"])

    def _step(self, course: Course, standing: Standing) -> dict[str, float]:
        pace = standing.pace
        for group in standing.optimizer.param_groups:
            group["lr"] = course.stage.learning_rate * group["share"] * pace.rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            losses = course.losses(pace.step)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        values = {name: float(value.detach()) for name, value in (*losses.items(), ("norm", norm))}
        if torch.isfinite(norm):
            standing.optimizer.step()
            standing.in_a_row = 0
        else:
            self._skip(course, standing, values)
        standing.optimizer.zero_grad(set_to_none=True)
        return values

    def _skip(self, course: Course, standing: Standing, values: dict[str, float]) -> None:
        standing.skipped += 1
        standing.in_a_row += 1
        self._tell(course, standing.pace, skipped=standing.skipped, loss=values["loss"], norm=values["norm"])
        if standing.in_a_row >= SKIPPED_MOST:
            raise TrainFailed(
                f"stage {course.name}: the gradient was no finite number for {SKIPPED_MOST} steps in a row, the last "
                f'of them step {standing.pace.step}; start anew with a lower learning_rate, or precision = "float32"'
            )

    def _judge(self, course: Course, standing: Standing) -> None:
        """Validate, and keep the weights if they are the best so far."""
        self.learner.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            figures = course.validate()
        self.learner.train()
        standing.judged = standing.pace.step
        if figures["score"] >= standing.best:
            standing.best = figures["score"]
            weights = {"identity": self.identity, "step": standing.pace.step, "learner": self.learner.state_dict()}
            checkpoint.save(self.best_of(course.name), weights)
        self._tell(course, standing.pace, best=standing.best, **{f"val_{k}": v for k, v in figures.items()})

    def _save(self, course: Course, standing: Standing) -> None:
        """Where the stage stands, to go on from."""
        state = {
            "identity": self.identity,
            "learner": self.learner.state_dict(),
            "optimizer": standing.optimizer.state_dict(),
            "step": standing.pace.step,
            "spent_s": standing.pace.spent_s,
            "best": standing.best,
            "judged": standing.judged,
            "skipped": standing.skipped,
            "in_a_row": standing.in_a_row,
        }
        checkpoint.save(self.checkpoint_of(course.name), state)

    def _tell(self, course: Course, pace: Pace, **values: float) -> None:
        self.journal.write(stage=course.name, step=pace.step, seconds=pace.spent_s, **values)

    def _optimizer(self, course: Course) -> torch.optim.Optimizer:
        """AdamW; matrices decay, vectors and embeddings do not; the vision tower has its own learning rate."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.learner.named_parameters():
            decays = parameter.ndim > 1 and "embed" not in name
            groups.setdefault((decays, ".visual." in name), []).append(parameter)
        return torch.optim.AdamW(
            [
                {
                    "params": found,
                    "weight_decay": self.config.weight_decay if decays else 0.0,
                    "share": course.stage.vision_rate if vision else 1.0,
                }
                for (decays, vision), found in groups.items()
            ],
            lr=course.stage.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )


def mean_of(figures: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The mean of each figure over those that have it."""
    sums: dict[str, list[float]] = {}
    for one in figures:
        for name, value in one.items():
            sums.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in sums.items()}
