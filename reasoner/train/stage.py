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
from reasoner.train.journal import Journal
from reasoner.train.learner import Learner
from reasoner.train.pace import Pace

LOG_EVERY = 25
"""Steps between two lines of progress."""


@dataclass(frozen=True)
class Course:
    """What a stage does at each step, and how it is judged."""

    name: str
    stage: Stage
    losses: Callable[[int], dict[str, Tensor]]
    """The losses of one step's batch; `loss` is what is minimised."""
    validate: Callable[[], dict[str, float]]
    """Figures on the validation rows; `score` is what decides which weights are kept, more is better."""


class Trainer:
    """Runs courses over one learner; `out` holds the checkpoint, the best weights and the metrics."""

    def __init__(self, learner: Learner, config: SftConfig, out: Path, identity: str) -> None:
        self.learner, self.config, self.out, self.identity = learner, config, out, identity
        self.journal = Journal(out / "metrics.jsonl")

    def checkpoint_of(self, name: str) -> Path:
        return self.out / f"{name}.pt"

    def best_of(self, name: str) -> Path:
        return self.out / f"{name}-best.pt"

    def steps_of(self, name: str) -> int:
        """Steps that a finished stage took."""
        state = checkpoint.load(self.checkpoint_of(name), self.identity)
        return 0 if state is None else int(state["step"])

    def run(self, course: Course, resume: bool) -> None:
        """To the end of the stage; with `resume` from its checkpoint where there is one."""
        optimizer = self._optimizer(course)
        state = checkpoint.load(self.checkpoint_of(course.name), self.identity) if resume else None
        pace, best = Pace(course.stage), float("-inf")
        if state is not None:
            self.learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
            pace, best = Pace(course.stage, state["step"], state["spent_s"]), state["best"]
        kept, saved = state["step"] if state else -1, time.monotonic()
        while pace.share < 1:
            values = self._step(course, pace, optimizer)
            pace.step += 1
            if pace.step % LOG_EVERY == 0:
                self.journal.write(
                    stage=course.name, step=pace.step, share=pace.share, seconds=pace.spent_s, rate=pace.rate, **values
                )
            if time.monotonic() - saved > self.config.checkpoint_minutes * 60:
                best = self._keep(course, pace, optimizer, best)
                kept, saved = pace.step, time.monotonic()
        if pace.step != kept:
            self._keep(course, pace, optimizer, best)

    def _step(self, course: Course, pace: Pace, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = course.stage.learning_rate * group["share"] * pace.rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            losses = course.losses(pace.step)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        if torch.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {name: float(value.detach()) for name, value in (*losses.items(), ("norm", norm))}

    def _keep(self, course: Course, pace: Pace, optimizer: torch.optim.Optimizer, best: float) -> float:
        """Validate, keep the weights if they are the best so far, and save where the stage stands."""
        self.learner.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            figures = course.validate()
        self.learner.train()
        if figures["score"] >= best:
            best = figures["score"]
            weights = {"identity": self.identity, "step": pace.step, "learner": self.learner.state_dict()}
            checkpoint.save(self.best_of(course.name), weights)
        self.journal.write(
            stage=course.name,
            step=pace.step,
            seconds=pace.spent_s,
            best=best,
            **{f"val_{k}": v for k, v in figures.items()},
        )
        state = {
            "identity": self.identity,
            "learner": self.learner.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": pace.step,
            "spent_s": pace.spent_s,
            "best": best,
        }
        checkpoint.save(self.checkpoint_of(course.name), state)
        return best

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
