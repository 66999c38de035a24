"""TRL's GRPOTrainer as GSPO: sequence ratios that are seen, validation by greedy answers, the best weights kept.

Imports trl; reached only once the extra `train` was found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from transformers import GenerationConfig, TrainerCallback
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_trainer import GRPOTrainer

from reasoner.backends.local import reading
from reasoner.boxes import Coordinates
from reasoner.grade import Claimed, RewardTable, Truth
from reasoner.train.errors import BadRows
from reasoner.train.exercise import Exercise, Exercises
from reasoner.train.feed import Feed
from reasoner.train.journal import Journal
from reasoner.train.judge import Judged, judge, reader

log = logging.getLogger(__name__)

SAME = 1e-5
"""A ratio this near to 1 is the same policy: float32 does not tell them apart."""
GREEDY_BATCH = 8
"""Rows of validation that a device answers at a time."""
_SETTINGS: Any = GenerationConfig
_PLAIN = {
    "loss": "loss", "grad_norm": "norm", "learning_rate": "rate", "reward": "reward", "reward_std": "reward_std",
    "frac_reward_zero_std": "groups_alike", "entropy": "entropy", "kl": "kl", "clip_ratio/region_mean": "clipped",
    "completions/mean_length": "tokens", "completions/clipped_ratio": "cut_short", "step_time": "step_s",
}  # fmt: skip


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """`best.json`: what training began with, and the kept weights; step 0 is the model as it was."""

    before: Judged
    step: int
    kept: Judged

    def then(self, step: int, judged: Judged) -> Best:
        """With the weights of `step` where they gain on those of the beginning and point better than those kept."""
        if not judged.gains(self.before) or judged.pointing <= self.kept.pointing:
            return self
        return Best(before=self.before, step=step, kept=judged)


class GspoTrainer(GRPOTrainer):
    """GRPOTrainer that logs the ratio of each sequence and validates."""

    model: Any
    args: Any

    def __init__(
        self,
        *,
        journal: Journal,
        out: Path,
        exercises: Exercises,
        drawn: Sequence[int],
        table: RewardTable,
        coordinates: Coordinates,
        feed: Feed,
        **trl: Any,
    ) -> None:
        """drawn: the training row of each turn; the data set holds the turns."""
        self.journal, self.out, self.exercises, self.drawn = journal, out, exercises, drawn
        self.table, self.feed = table, feed
        self.reader = partial(reader, coordinates)
        self._ratios: list[float] = []
        self._scored: torch.Tensor | None = None
        self._since = time.monotonic()
        self._checked: set[str] = set()
        super().__init__(processing_class=feed, **trl)

    @property
    def best_file(self) -> Path:
        return self.out / "best.json"

    @property
    def best_weights(self) -> Path:
        return self.out / "best"

    def best(self) -> Best | None:
        return msgspec.json.decode(self.best_file.read_bytes(), type=Best) if self.best_file.exists() else None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The turns become exercises here, once a block: TRL fetches every batch again for each of its steps."""
        made: dict[int, dict[str, Any]] = {}
        for turn in {int(one["turn"]) for one in inputs}:
            exercise = self.exercises.practice(self.drawn[turn], turn)
            made[turn] = {
                "prompt": exercise.messages,
                "images": exercise.pictures,
                "truth": exercise.truth,
                "size": self.feed.served.fitted(*exercise.size),
            }
        self._warn_unpaid("the first training", [one["truth"] for one in made.values()])
        found: dict[str, Any] = super()._generate_and_score_completions([made[int(one["turn"])] for one in inputs])
        return found

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._scored = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss as it is; the ratios, which TRL does not log, are computed again from the same log-probabilities."""
        loss: torch.Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        if self.model.training and self._scored is not None:
            mask = inputs["completion_mask"]
            old = inputs.get("old_per_token_logps", self._scored)
            each = (((self._scored - old) * mask).sum(-1) / mask.sum(-1).clamp(min=1)).exp()
            self._ratios += self.accelerator.gather(each).tolist()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        ratios, self._ratios = self._ratios, []
        if "loss" not in logs or not self.is_world_process_zero():
            return
        terms = {
            name.removeprefix("rewards/").removesuffix("/mean"): value
            for name, value in logs.items()
            if name.startswith("rewards/") and name.endswith("/mean")
        }
        self.journal.write(
            stage="gspo",
            step=self.state.global_step,
            share=self.state.global_step / max(1, self.state.max_steps),
            seconds=time.monotonic() - self._since,
            **{ours: logs[theirs] for theirs, ours in _PLAIN.items() if theirs in logs},
            **{f"term_{name}": value for name, value in terms.items()},
            **ratio_figures(ratios),
        )

    def judged(self, rows: Sequence[int]) -> Judged:
        """Greedy answers to held-out rows, shared out over all processes; each of them gets the figures of all."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = min(GREEDY_BATCH, -(-len(rows) // ranks))
        rounds = -(-len(rows) // (ranks * size))
        # Every process answers equally often, some rows twice: where the weights are shared out all must take part.
        own = [(rank + turn * ranks) % len(rows) for turn in range(rounds * size)]
        found: list[tuple[int, Claimed, Truth]] = []
        self.model.eval()
        for start in range(0, len(own), size):
            chosen = own[start : start + size]
            asked = [self.exercises.plain(rows[place]) for place in chosen]
            said = [
                self.reader(self.feed.served.fitted(*one.size))(text)
                for one, text in zip(asked, self._greedy(asked), strict=True)
            ]
            found += zip(chosen, said, (one.truth for one in asked), strict=True)
        self.model.train()
        everyone = {place: (claimed, truth) for place, claimed, truth in gather_object(found)}
        self._warn_unpaid("the validation", [truth for _, truth in everyone.values()])
        return judge(everyone.values(), self.table)

    def _warn_unpaid(self, which: str, truths: Sequence[Truth]) -> None:
        """Once for each kind of rows: of evidence that no term pays nothing is learnt, and no weights can gain."""
        if which in self._checked:
            return
        self._checked.add(which)
        if not any(map(self.table.pays_evidence, truths)):
            log.warning(
                "no term of [reward] about times or places applies to any of %s rows (%d of them): only answers are "
                "paid; give such a term a weight, or add rows that cite times or boxes",
                which,
                len(truths),
            )

    def _greedy(self, asked: Sequence[Exercise]) -> list[str]:
        """As serving reads the model's output, several rows at a time."""
        feed = self.feed
        inputs = feed.conversations([(one.messages, one.pictures) for one in asked]).to(self.accelerator.device)
        settings = _SETTINGS(
            do_sample=False,
            max_new_tokens=self.max_completion_length,
            eos_token_id=self.eos_token_ids,
            pad_token_id=feed.tokenizer.pad_token_id,
            disable_compile=True,
        )
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
            torch.no_grad(),
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            ids = model.generate(
                **inputs, generation_config=settings, logits_processor=reading(feed.served, feed.served.notes)
            )
        return feed.batch_decode(ids[:, inputs["input_ids"].shape[1] :].tolist())

    def consider(self, judged: Judged) -> None:
        """Write the figures down, and keep the weights if they gain on the first and point better than those kept.

        Raises BadRows where no row has times or places: then nothing could ever gain.
        """
        if judged.evidence_reward is None:
            raise BadRows("no validation row has known times or places to choose weights by; add rows that have")
        step = self.state.global_step
        earlier = self.best() or Best(before=judged, step=0, kept=judged)
        best = earlier.then(step, judged)
        self.accelerator.wait_for_everyone()
        if best is not earlier:
            self._keep()
        if self.is_world_process_zero():
            draft = self.best_file.with_suffix(".partial")
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(best), indent=2))
            draft.replace(self.best_file)
            figures = msgspec.to_builtins(judged)
            self.journal.write(stage="gspo", step=step, best=best.step, **{f"val_{k}": v for k, v in figures.items()})
        self.accelerator.wait_for_everyone()

    def _keep(self) -> None:
        """All weights (or all adapters), wherever they are shared out to, written by one process."""
        state = self.accelerator.get_state_dict(self.model_wrapped)
        if self.is_world_process_zero():
            model = self.accelerator.unwrap_model(self.model_wrapped, keep_torch_compile=False)
            model.save_pretrained(self.best_weights, state_dict=state)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The card is written with the exported folder, from what was measured."""


class Validation(TrainerCallback):
    """Validates before the first step and after every so many."""

    def __init__(self, every_steps: int, validate: Callable[[], None]) -> None:
        self.every_steps, self.validate = every_steps, validate

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.validate()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.every_steps == 0 or state.global_step == state.max_steps:
            self.validate()


def ratio_figures(ratios: Sequence[float]) -> dict[str, float]:
    """Of the ratios of one step: their mean and range, and the share that is not 1."""
    if not ratios:
        return {}
    return {
        "ratio_mean": sum(ratios) / len(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratio_off": sum(abs(ratio - 1) > SAME for ratio in ratios) / len(ratios),
    }
