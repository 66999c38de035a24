"""The scorer's learning loop: batches in, gradient steps, a running mean of the weights, checkpoints."""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from detector import captions
from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.config import ScorerTrainConfig
from detector.folder import Shape
from detector.loss import pair_loss
from detector.model import ScorerModel
from detector.samples import Samples
from detector.statement import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

WORDINGS = 2
"""Statements drawn for each category in each step, one more in later cycles; one for any other state."""
AVERAGE = 0.995
"""Decay of the running mean of the weights, which is what is exported."""
WARM_STEPS = 60
LOWER = 0.6
"""Peak of a cycle's learning rate as a share of the peak before."""
ONE_WAY = ("car",)
"""Whoever drives on the right would drive on the left in a mirror."""
LOOKED_AT = 64
"""Frames in one go when mistakes are looked for."""
COMMON = ("person", "bag", "empty", "walking")
"""States that hold on most frames: they teach what is in a picture, and then nothing more."""


class Learner:
    """The loop and its state: model, running mean, optimiser, generators. All of it is in the checkpoint."""

    def __init__(self, config: ScorerTrainConfig, shape: Shape, samples: Samples, tokens: Tokens) -> None:
        self.config, self.samples, self.tokens = config, samples, tokens
        self.model = ScorerModel(shape)
        self.average = ScorerModel(shape).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        plain = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
        self.dice = np.random.default_rng([config.seed, 80])
        self.words = random.Random(config.seed)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []
        self._turns = [category for category in config.categories for _ in range(config.emphasis.get(category, 1))]
        self._pools = _pools(samples, self._turns)
        cars = [samples.names.index(name) for name in ONE_WAY if name in samples.names]
        self._one_way = (samples.truth[:, cars] == 1).any(axis=1)
        # Half precision pays only where the processor multiplies it natively.
        can: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        native = bool(can.get("avx512_bf16") or can.get("amx_bf16"))
        self._half = native if config.precision == "auto" else config.precision == "bfloat16"

    def dwell_on_mistakes(self) -> int:
        """Draws the frames that the model as it is takes most wrongly for events oftener; returns how many they are."""
        rows = mistaken(self.model, self.samples, self.tokens, self.config)
        self._pools = _pools(self.samples, self._turns, rows)
        return len(rows)

    def learn(self, out: Path, resume: bool) -> tuple[float, float]:
        """Runs to the last step or to the end of the budget; mean loss of the first and the last twentieth."""
        checkpoint = out / "checkpoint.pt"
        if resume:
            load_checkpoint(checkpoint, self)
        metrics = (out / "metrics.jsonl").open("a" if resume else "w", encoding="utf-8")
        saved, begun, before = time.monotonic(), time.monotonic(), self.seconds
        with metrics:
            while self.step < self.config.steps and not self._spent():
                rate = self._rate()
                loss = self._learn_once(rate)
                self.losses.append(loss)
                self.step += 1
                self.seconds = before + time.monotonic() - begun
                if self.step % 20 == 0 or self.step == self.config.steps:
                    recent = float(np.mean(self.losses[-20:]))
                    row = {"step": self.step, "loss": round(recent, 5), "rate": rate, "seconds": round(self.seconds, 1)}
                    metrics.write(json.dumps(row) + "\n")
                    metrics.flush()
                    log.info("step %d of %d, loss %.4f, %.0f s", self.step, self.config.steps, recent, self.seconds)
                if time.monotonic() - saved > self.config.checkpoint_s:
                    save_checkpoint(checkpoint, self)
                    saved = time.monotonic()
        save_checkpoint(checkpoint, self)
        part = max(1, len(self.losses) // 20)
        return round(float(np.mean(self.losses[:part])), 5), round(float(np.mean(self.losses[-part:])), 5)

    def _spent(self) -> bool:
        return 0 < self.config.budget_s <= self.seconds

    def _progress(self) -> tuple[int, float]:
        """The cycle, counted from 0, and how much of it is done, by the steps or the budget, whichever is further."""
        done = self.step / self.config.steps
        if self.config.budget_s:
            done = max(done, self.seconds / self.config.budget_s)
        cycle = min(int(done * self.config.cycles), self.config.cycles - 1)
        return cycle, min(1.0, done * self.config.cycles - cycle)

    def _rate(self) -> float:
        """Warm-up, then in each cycle a cosine down to 2 %; each cycle begins lower than the one before."""
        cycle, done = self._progress()
        warm = min(1.0, (self.step + 1) / WARM_STEPS)
        peak = self.config.learning_rate * warm * LOWER**cycle
        return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def _names(self) -> list[str]:
        """The states that a step asks for: all of them at first, then events and what resembles them."""
        cycle, _ = self._progress()
        asked = [name for name in self.samples.names if cycle == 0 or name not in COMMON]
        again = WORDINGS if cycle == 0 else WORDINGS + 1
        return [name for name in asked for _ in range(again if name in self.config.categories else 1)]

    def _learn_once(self, rate: float) -> float:
        rows = np.sort(np.array([pool[self.dice.integers(len(pool))] for pool in self._batch_pools()]))
        names = self._names()
        columns = [self.samples.names.index(name) for name in names]
        lines = [captions.draw(name, self.config.categories, self.words) for name in names]
        fixed = self._one_way[rows]
        pictures, where = augment(self.samples.pictures[rows], self.samples.where[rows][:, columns], self.dice, fixed)
        truth = torch.from_numpy(self.samples.truth[rows][:, columns])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            tokens = self.model.image(torch.from_numpy(pictures))
        texts = self.model.text(torch.from_numpy(self.tokens.encode(lines)))
        loss = pair_loss(*self.model.match(tokens, texts), truth, torch.from_numpy(where))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(AVERAGE, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        return float(loss.detach())

    def _batch_pools(self) -> list[NDArray[np.int64]]:
        """Half of a batch shows events, the rest anything else; batches go on where the last one ended, so that every
        category comes as often as the others."""
        count = self.config.batch
        return [self._pools[(self.step * count + index) % len(self._pools)] for index in range(count)]


def mistaken(model: ScorerModel, samples: Samples, tokens: Tokens, config: ScorerTrainConfig) -> NDArray[np.int64]:
    """Row numbers, ascending, of frames without an event: of each category the `mistaken_share` with the highest logits
    for its first wording."""
    rows = np.flatnonzero(_without_event(samples, config.categories))
    count = round(config.mistaken_share * len(rows))
    lines = [captions.phrases(category, config.categories)[0] for category in config.categories]
    with torch.inference_mode():
        texts = model.text(torch.from_numpy(tokens.encode(lines)))
        logits = [
            model.match(model.image(torch.from_numpy(np.array(samples.pictures[part]))), texts)[0].numpy()
            for part in np.split(rows, range(LOOKED_AT, len(rows), LOOKED_AT))
        ]
    order = np.argsort(-np.concatenate(logits), axis=0, kind="stable")
    return np.unique(rows[order[:count]])


def _without_event(samples: Samples, categories: Sequence[str]) -> NDArray[np.bool_]:
    columns = [samples.names.index(category) for category in categories]
    return np.asarray((samples.truth[:, columns] == 0).all(axis=1))


def _pools(
    samples: Samples, categories: Sequence[str], mistaken: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Row numbers to draw from in turn: of each category named, as often as it is, and after it of everything else."""
    columns = [samples.names.index(category) for category in categories]
    events = [np.flatnonzero(samples.truth[:, column] == 1) for column in columns]
    quiet = np.flatnonzero(_without_event(samples, categories))
    common = [samples.names.index(name) for name in COMMON if name in samples.names]
    alike = [index for index in range(len(samples.names)) if index not in columns and index not in common]
    resembling = quiet[(samples.truth[quiet][:, alike] == 1).any(axis=1)]
    pools = [pool for pool in events if len(pool)]
    wrong = np.zeros(0, np.int64) if mistaken is None else mistaken
    others = [pool for pool in (resembling, quiet, wrong) if len(pool)]
    return [pool for pair in zip(pools, (others * len(pools))[: len(pools)], strict=True) for pool in pair]


def augment(
    pictures: NDArray[np.uint8], where: NDArray[np.int8], dice: np.random.Generator, fixed: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Mirrors, changes channel order and light; uint8 (n, H, W, 7) and int8 (n, states, tokens), both fresh.

    fixed: bool (n,), what must not be mirrored.
    """
    pictures, where = np.array(pictures), np.array(where)
    rows, columns = pictures.shape[1] // 16, pictures.shape[2] // 16
    for index in range(len(pictures)):
        if dice.random() < 0.5 and not fixed[index]:
            pictures[index] = pictures[index, :, ::-1]
            grid = where[index].reshape(-1, rows, columns)
            where[index] = grid[:, :, ::-1].reshape(where[index].shape)
        if dice.random() < 0.5:
            pictures[index, ..., :3] = pictures[index][..., dice.permutation(3)]
        gain, lift = dice.uniform(0.7, 1.3), dice.uniform(-20, 20)
        table = np.clip(np.arange(256) * gain + lift, 0, 255).astype(np.uint8)
        pictures[index, ..., :3] = table[pictures[index, ..., :3]]
        strength = dice.uniform(0.8, 1.25)
        table = np.clip(np.arange(256) * strength, 0, 255).astype(np.uint8)
        pictures[index, ..., 3:] = table[pictures[index, ..., 3:]]
    return pictures, where
