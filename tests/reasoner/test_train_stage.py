"""A stage resumes exactly, keeps the same weights whenever it is saved, and says when its losses are no numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoner.train import checkpoint
from reasoner.train.config import SftConfig, Stage
from reasoner.train.errors import BadCheckpoint, TrainFailed
from reasoner.train.journal import Journal
from reasoner.train.provenance import identity
from reasoner.train.sft import sft
from reasoner.train.stage import Course, Trainer
from tests.reasoner.drawn import config, draw, fresh

Weights = dict[str, torch.Tensor]
STEPS = Stage(learning_rate=2e-3, batch=2, steps=5)


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw(tmp_path_factory.mktemp("clips"))


class Run:
    """The second stage of a training, with what a test does to its losses and its score."""

    def __init__(self, settings: SftConfig, out: Path) -> None:
        self.out = out
        out.mkdir(exist_ok=True)
        learner, batches, _ = fresh(settings)
        self.trainer = Trainer(learner, settings, out, identity(settings))
        self.course = sft(learner, batches, settings)
        self.learner = learner
        self.step = 0

    def __call__(
        self,
        resume: bool = False,
        losses: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda step, values: values,
        score: Callable[[int], float] | None = None,
    ) -> Weights:
        """The weights that the stage kept."""

        def changed(step: int) -> dict[str, torch.Tensor]:
            self.step = step
            return losses(step, self.course.losses(step))

        def judged() -> dict[str, float]:
            return self.course.validate() if score is None else {"score": score(self.step + 1)}

        self.trainer.run(Course("sft", self.course.stage, changed, judged), resume)
        weights: Weights = torch.load(self.out / "sft-best.pt", weights_only=True)["learner"]
        return weights

    def lines(self) -> list[dict[str, Any]]:
        def refused(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        text = (self.out / "metrics.jsonl").read_text()
        return [json.loads(line, parse_constant=refused) for line in text.splitlines()]


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("crash_at", [1, 3, 4])
def test_a_resumed_stage_goes_on_identically(clips: Path, tmp_path: Path, crash_at: int) -> None:
    """Saved at each step, validated at every second: the crash falls between the two."""
    settings = config(clips, sft=STEPS, validate_steps=2, checkpoint_minutes=1e-9)

    def crash(step: int, values: dict[str, Any]) -> dict[str, Any]:
        if step == crash_at:
            raise Crash
        return values

    whole = Run(settings, tmp_path / "whole")
    kept = whole()
    with pytest.raises(Crash):
        Run(settings, tmp_path / "cut")(losses=crash)
    resumed = Run(settings, tmp_path / "cut")
    assert equal(resumed(resume=True), kept)
    assert equal(resumed.learner.state_dict(), whole.learner.state_dict())
    assert [line["step"] for line in resumed.lines()] == [line["step"] for line in whole.lines()] == [2, 4, 5]


@pytest.mark.parametrize(("better", "kept"), [(lambda step: -step, 2), (lambda step: step, 5), (lambda step: 0, 5)])
def test_the_clock_does_not_choose_the_weights(
    clips: Path, tmp_path: Path, better: Callable[[int], float], kept: int
) -> None:
    found = []
    for minutes in (1e-9, 60.0):
        run = Run(config(clips, sft=STEPS, validate_steps=2, checkpoint_minutes=minutes), tmp_path / f"{minutes}")
        found.append(run(score=better))
        assert run.trainer.taken("sft")[::2] == (5, kept)
    assert equal(*found)


def test_a_step_without_a_finite_gradient_is_told_and_changes_nothing(clips: Path, tmp_path: Path) -> None:
    def spoilt(step: int, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "loss": values["loss"] * (float("nan") if step in (1, 3) else 1.0)}

    run = Run(config(clips, sft=STEPS), tmp_path)
    run(losses=spoilt)
    told = [line for line in run.lines() if "skipped" in line]
    assert [(line["step"], line["skipped"], line["loss"], line["norm"]) for line in told] == [
        (1, 1, None, None),
        (3, 2, None, None),
    ]
    assert all(value.isfinite().all() for value in run.learner.state_dict().values())


def test_losses_that_stay_no_numbers_end_the_training(clips: Path, tmp_path: Path) -> None:
    settings = config(clips, sft=Stage(learning_rate=2e-3, batch=1, steps=60))
    run = Run(settings, tmp_path)
    with pytest.raises(TrainFailed, match=r"stage sft: .* 20 steps in a row, the last of them step 22;") as caught:
        run(losses=lambda step, values: {**values, "loss": values["loss"] * (float("inf") if step != 2 else 1.0)})
    assert "\n" not in str(caught.value)
    assert run.lines()[-1]["skipped"] == 22


def test_a_validation_that_is_never_a_number_ends_the_training(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainFailed, match="no validation gave a number"):
        Run(config(clips, sft=STEPS), tmp_path)(score=lambda step: float("nan"))


def test_metrics_are_json_whatever_they_hold(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.write(a=float("nan"), b={"c": float("inf"), "d": [0.12345678, -float("inf")]}, e="x", f=3, g=None)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert line == '{"a": null, "b": {"c": null, "d": [0.123457, null]}, "e": "x", "f": 3, "g": null}'


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"seed": 1, "sft.batch": 4}, None),
        ({"seed": 2, "sft.batch": 4}, r"another seed \(1, now 2\);"),
        ({"seed": 1}, r"another sft.batch \(4, now not set\);"),
        ({"seed": 3, "sft.batch": 4, "x": "y" * 64}, r'another seed \(1, now 3\), x \(not set, now "y{15}\.\.\.\);'),
    ],
)
def test_a_checkpoint_of_other_settings_names_them(tmp_path: Path, now: dict[str, Any], told: str | None) -> None:
    state = {"identity": {"seed": 1, "sft.batch": 4}}
    checkpoint.save(tmp_path / "sft.pt", state)
    if told is None:
        assert checkpoint.load(tmp_path / "sft.pt", now) == state
        return
    with pytest.raises(BadCheckpoint, match=told) as caught:
        checkpoint.load(tmp_path / "sft.pt", now)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "none.pt", {}) is None
    (tmp_path / "sft.pt").write_bytes(b"no checkpoint")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        checkpoint.load(tmp_path / "sft.pt", {})
    checkpoint.save(tmp_path / "old.pt", {"identity": "f00d"})
    with pytest.raises(BadCheckpoint, match="does not tell its settings"):
        checkpoint.load(tmp_path / "old.pt", {"seed": 1})
