"""Trains the bundled scorer on labelled synthetic scenes, start to finish, in minutes on one core.

render -> learn -> export -> calibrate -> measure. What it learns: for each frame and each statement ("fall: somebody
has fallen down") whether it holds (a sigmoid per pair, after SigLIP), and for each 16x16 token whether it holds there.
The second is what makes it learn at all at this size: the truth of a scene says where things are.

It does not fine-tune released checkpoints, use a GPU, or learn from footage.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detector import captions, export
from detector.calibrate import SEED as CALIBRATION_SEED
from detector.calibrate import calibrate, look
from detector.captions import EVENTS
from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.config import DetectorConfig, GateConfig, ScorerTrainConfig
from detector.engines.ort import OnnxEngine
from detector.errors import TrainingError
from detector.folder import TOKENIZER, CategoryRecord, ScorerFolder, Shape
from detector.measure import SEED as MEASURE_SEED
from detector.measure import Measured, measure
from detector.model import ScorerModel
from detector.rule import Rule
from detector.samples import Samples, load_samples
from detector.scorer import Scorer
from detector.statement import Tokens

log = logging.getLogger(__name__)

SEEDS_PER_RUN = 10_000
WORDINGS = 2
"""Statements drawn for each category in each step; one for any other state."""
AVERAGE = 0.995
"""Decay of the running mean of the weights, which is what is exported."""
UNKNOWN = CategoryRecord(slope=1.0, offset=0.0, novelty=0.0, threshold=0.5, recall=0.0, flags_per_minute=0.0)


class TrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` gives back and writes to `report.json`."""

    model: str
    """The model folder."""
    steps: int
    seconds: float
    loss_first: float
    loss_last: float
    """Means over the first and the last twentieth of the steps."""
    recall: float
    """Share of events, on scenes neither learned from nor calibrated on, with a frame over the threshold in time."""
    false_windows_per_quiet_minute: float
    measured: Measured


def train(config: ScorerTrainConfig, out: Path, resume: bool = False) -> TrainReport:
    """Trains, and writes OUT/model (the folder to serve), metrics.jsonl, report.json and checkpoint.pt.

    Raises TrainingError if `out` holds another training, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    out.mkdir(parents=True, exist_ok=True)
    model_folder = out / "model"
    model_folder.mkdir(exist_ok=True)
    shape = Shape(
        width=config.width,
        depth=config.depth,
        text_width=config.text_width,
        text_depth=config.text_depth,
        vocabulary=config.vocabulary,
        dim=config.dim,
    )
    samples = load_samples(config, shape)
    missing = [category for category in config.categories if category not in samples.names]
    if missing:
        raise TrainingError(f"no rendered scene shows {', '.join(missing)}: take them out of `categories` or add scenes")
    write_tokenizer(captions.corpus(samples.names, config.categories), config.vocabulary, model_folder / TOKENIZER)
    torch.manual_seed(config.seed)
    learner = Learner(config, shape, samples, Tokens(model_folder / TOKENIZER, shape.text_length))
    losses = learner.learn(out, resume)
    folder = _calibrated(config, learner.average, model_folder, learner)
    measured = _measured(config, model_folder)
    report = TrainReport(
        model=str(model_folder),
        steps=learner.step,
        seconds=round(learner.seconds, 1),
        loss_first=losses[0],
        loss_last=losses[1],
        recall=round(measured.recall, 4),
        false_windows_per_quiet_minute=round(measured.false_per_quiet_minute, 4),
        measured=measured,
    )
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    log.info(
        "%s: recall %.3f, %.2f windows per quiet minute", folder.path, measured.recall, measured.false_per_quiet_minute
    )
    return report


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
        self._pools = _pools(samples, config.categories)
        # Half precision pays only where the processor multiplies it natively.
        self._half = bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))

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

    def _rate(self) -> float:
        """Warm-up, then a cosine down to 2 %, over the steps or the budget, whichever is nearer its end."""
        done = self.step / self.config.steps
        if self.config.budget_s:
            done = max(done, self.seconds / self.config.budget_s)
        warm = min(1.0, (self.step + 1) / 60)
        return self.config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def _learn_once(self, rate: float) -> float:
        rows = np.sort(np.array([pool[self.dice.integers(len(pool))] for pool in self._batch_pools()]))
        names = [
            name
            for name in self.samples.names
            for _ in range(WORDINGS if name in self.config.categories else 1)
        ]
        columns = [self.samples.names.index(name) for name in names]
        lines = [captions.draw(name, self.config.categories, self.words) for name in names]
        pictures, where = augment(self.samples.pictures[rows], self.samples.where[rows][:, columns], self.dice)
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
        return float(loss)

    def _batch_pools(self) -> list[Any]:
        """Half of a batch shows events, each category as often as the others; the rest anything else."""
        count = self.config.batch
        return [self._pools[index % len(self._pools)] for index in range(count)]


def _pools(samples: Samples, categories: Sequence[str]) -> list[Any]:
    """Row numbers to draw from in turn: one pool per category, then as many pools of everything else."""
    columns = [samples.names.index(category) for category in categories]
    events = [np.flatnonzero(samples.truth[:, column] == 1) for column in columns]
    quiet = np.flatnonzero((samples.truth[:, columns] == 0).all(axis=1))
    common = [samples.names.index(name) for name in ("person", "empty", "walking", "bag") if name in samples.names]
    alike = [index for index in range(len(samples.names)) if index not in columns and index not in common]
    resembling = np.flatnonzero((samples.truth[:, columns] == 0).all(axis=1) & (samples.truth[:, alike] == 1).any(axis=1))
    pools = [pool for pool in events if len(pool)]
    others = [pool for pool in (resembling, quiet) if len(pool)]
    return [pool for pair in zip(pools, (others * len(pools))[: len(pools)], strict=True) for pool in pair]


def augment(pictures: Any, where: Any, dice: np.random.Generator) -> tuple[Any, Any]:
    """Mirrors, changes channel order and light; uint8 (n, H, W, 5) and int8 (n, states, tokens), both fresh."""
    pictures, where = np.array(pictures), np.array(where)
    rows, columns = pictures.shape[1] // 16, pictures.shape[2] // 16
    for index in range(len(pictures)):
        if dice.random() < 0.5:
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


def pair_loss(logits: Tensor, token_logits: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Sigmoid loss of pictures (n, m) and tokens (n, m, t) against 1 holds, 0 does not, -1 not judged.

    Where a statement is not judged of the picture, none of its tokens is. Holding and not holding weigh the same,
    however rare one is.
    """
    token_truth = torch.where((truth == -1)[:, :, None], torch.full_like(where, -1), where)
    return _balanced(logits, truth) + _balanced(token_logits, token_truth)


def _balanced(logits: Tensor, truth: Tensor) -> Tensor:
    each = functional.binary_cross_entropy_with_logits(logits, (truth == 1).float(), reduction="none")
    holds, fails = (truth == 1).float(), (truth == 0).float()
    # Few pairs hold; among those that do not, most are easy. The sum over the square root of the count keeps both heard.
    positive = (each * holds).sum() / holds.sum().clamp(min=1)
    negative = (each * fails).sum() / (fails.sum() * holds.sum().clamp(min=1)).sqrt().clamp(min=1)
    return positive + negative


def write_tokenizer(lines: Sequence[str], vocabulary: int, path: Path) -> None:
    """A byte-level BPE tokenizer learned from the captions; `[PAD]` is 0."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(lines), trainer)
    tokenizer.save(str(path))


def _calibrated(config: ScorerTrainConfig, model: ScorerModel, path: Path, learner: Learner) -> ScorerFolder:
    """Exports, looks at the held-out scenes with the exported model, and writes the record with what came of it."""
    export.write_weights(model.eval(), path)
    record = export.draft(model, f"witness-scorer-{config.seed}", dict.fromkeys(config.categories, UNKNOWN))
    record = msgspec.structs.replace(
        record,
        training={
            "seed": config.seed,
            "steps": learner.step,
            "frames": len(learner.samples),
            "scenes": config.scenes,
            "held_out_scenes": config.held_out_scenes,
        },
    )
    folder = export.write_record(path, record)
    engine = OnnxEngine(folder, threads=config.threads)
    first = CALIBRATION_SEED + config.seed * SEEDS_PER_RUN
    seeds = range(first, first + config.held_out_scenes)
    seen = look(engine, model.shape.picture_size, seeds, config.scene_s, config.key_interval_s)
    categories = calibrate(engine, folder, config.categories, seen, config.recall)
    engine.close()
    return export.write_record(path, msgspec.structs.replace(record, categories=categories))


def _measured(config: ScorerTrainConfig, path: Path) -> Measured:
    rules = [
        Rule(id=category, category=category, watch=EVENTS[category][0] if category in EVENTS else category, question="?")
        for category in config.categories
    ]
    scorer = Scorer.load(DetectorConfig(model=str(path), engine="onnx", threads=config.threads), rules)
    first = MEASURE_SEED + config.seed * SEEDS_PER_RUN
    try:
        seeds = range(first, first + config.held_out_scenes)
        return measure(scorer, rules, GateConfig(), seeds, config.scene_s, config.key_interval_s)
    finally:
        scorer.close()
