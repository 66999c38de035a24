"""`witness train sft`: the tiny reasoner, from nothing or from earlier weights, to an exported folder in two stages.

Everything lies under `out`: the tokenizer, one checkpoint and the best weights per stage, `metrics.jsonl`, and at the
end `model/` in the released layout with `evaluation.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from reasoner.folder import Notes
from reasoner.pixels import PatchSpec
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.train import checkpoint
from reasoner.train.album import Album
from reasoner.train.batches import Batches, TextBatch
from reasoner.train.card import card
from reasoner.train.config import SftConfig
from reasoner.train.dense import overlaps
from reasoner.train.errors import BadCheckpoint
from reasoner.train.evaluate import evaluate
from reasoner.train.export import export
from reasoner.train.inherit import inherit
from reasoner.train.learner import Learner
from reasoner.train.model import new_model, numbers_of, parameters, whiten
from reasoner.train.provenance import identity, training
from reasoner.train.stage import Course, Trainer, mean_of
from reasoner.train.tokens import COORDINATES, new_tokenizer
from reasoner.train.vision import patches_of
from reasoner.train.vocabulary import corpus
from reasoner.train.warmup import warmup

WHITENING_PICTURES = 600
VALIDATION_BATCH = 24
STAGES = ("warmup", "sft")


def train(config: SftConfig, out: Path, resume: bool) -> None:
    """Render where needed, train, export and evaluate.

    Raises BadClips for unusable clips, BadCheckpoint for another run's checkpoint, TrainFailed for a loss that is no
    number.
    """
    torch.set_num_threads(config.threads)
    begin(out, resume)
    clips = Path(config.clips)
    if not clips.exists():
        Album.render(clips, config.render)
    album = Album.open(clips, config.render)
    known = identity(config)
    for name in STAGES:
        # Before anything is made ready: whether all that is to be resumed belongs to these settings.
        checkpoint.load(out / f"{name}.pt", known)
    processor = new_processor(config, album.size)
    learner, batches = new_learner(config, album, processor)
    trainer = Trainer(learner, config, out, known)
    courses = [warmup(learner, batches, config), sft(learner, batches, config)]
    for course in courses[1:] if trainer.checkpoint_of("sft").exists() else courses:
        trainer.run(course, resume)
        best = checkpoint.load(trainer.best_of(course.name), trainer.identity)
        if best is None:
            raise BadCheckpoint(f"{trainer.best_of(course.name)} is gone; start anew with another --out")
        learner.load_state_dict(best["learner"])
    publish(learner, processor, album, config, trainer)


def begin(out: Path, resume: bool) -> None:
    """Makes `out` ready for a new run, or finds in it what to resume.

    Raises BadCheckpoint: checkpoints that a new run would take for its own, or none to go on from.
    """
    if resume:
        if not any((out / f"{name}.pt").exists() for name in STAGES):
            raise BadCheckpoint(
                f"nothing to resume: {out} holds no {' or '.join(f'{n}.pt' for n in STAGES)}; start without --resume"
            )
        return
    held = sorted(path.name for path in (*out.glob("*.pt"), *out.glob("checkpoints")))
    if held:
        raise BadCheckpoint(
            f"{out} holds {held[0]} of an earlier run; go on with --resume, or start anew with another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    # Of a run that was cut short before its first checkpoint.
    (out / "metrics.jsonl").unlink(missing_ok=True)


def publish(learner: Learner, processor: Processor, album: Album, config: SftConfig, trainer: Trainer) -> None:
    """Export the weights as they are, evaluate and calibrate what was exported, and write its card."""
    from reasoner.train.calibrate import calibrate

    folder = trainer.out / "model"
    done = training(config, len(album.train), trainer.identity, {name: trainer.taken(name) for name in STAGES})
    export(learner.model, processor, album, done, folder)
    figures = evaluate(folder, album, album.evaluation(config.evaluation_rows))
    (trainer.out / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))
    trainer.journal.write(stage="evaluation", **{k: v for k, v in figures.items() if not isinstance(v, dict)})
    fitted = None
    if config.calibrate.windows:
        what = config.calibrate
        fitted = calibrate(
            folder, what.windows, first_seed=what.first_seed, threads=config.threads, workers=what.workers
        )
        trainer.journal.write(stage="calibration", **fitted)
    text = card(parameters(learner.model), album, config, done, figures, fitted)
    (folder / "README.md").write_text(text, encoding="utf-8")


def sft(learner: Learner, batches: Batches, config: SftConfig) -> Course:
    """The second stage as a course: the whole model learns to answer, the dense losses stay as a guide."""
    return Course(
        name="sft",
        stage=config.sft,
        losses=lambda step: learner.text_loss(batches.conversations(step, config.sft.batch)),
        validate=lambda: _validate(learner, batches, config.validation_rows),
    )


def new_processor(config: SftConfig, input_size: tuple[int, int]) -> Processor:
    """The serving processor around a tokenizer learnt from the vocabulary and the prompt."""
    prompt = [part.get("text", "") for part in messages("", [0.0, 1.0], style="brief")[-1]["content"]]
    tokenizer = new_tokenizer([*corpus(), *prompt] * 2, config.model.merges)
    return Processor(tokenizer, PatchSpec(), notes=Notes(pairing="motion", prompt="brief", input_size=input_size))


def new_learner(config: SftConfig, album: Album, processor: Processor) -> tuple[Learner, Batches]:
    """Fresh weights, the patch embedding whitened on training pictures, and the batches that fit them."""
    model: Any = new_model(config.model, processor.tokenizer, config.seed)
    batches = Batches(album, processor, model, config.seed, config.emphasis)
    torch.manual_seed(config.seed)
    if config.start_from:
        inherit(model, processor.tokenizer, config.start_from)
    else:
        whiten(model, _some_patches(album, config.seed))
    learner = Learner(
        model,
        numbers_of(processor.tokenizer, COORDINATES),
        len(album.labels),
        len(album.kinds),
        len(album.categories),
        batches.grid,
        config.text_share,
        config.decision_weight,
    )
    return learner, batches


def _some_patches(album: Album, seed: int) -> Tensor:
    random = np.random.default_rng((seed, 0))
    chosen = random.choice(album.train, min(WHITENING_PICTURES, len(album.train)), replace=False)
    pictures = np.stack([album.pictures[i, int(random.integers(album.rows[i].groups))] for i in np.sort(chosen)])
    return patches_of(torch.from_numpy(pictures)).flatten(0, 1)


def _validate(learner: Learner, batches: Batches, rows: int) -> dict[str, float]:
    """With the true text given so far: loss, decisions, mean IoU of the boxes it would write. The score counts how sure
    a decision is, for among a few hundred rows the share of right ones moves by chance alone."""
    chosen = batches.album.validation(rows)
    figures = [
        _figures(learner, batches.plain(chosen[start : start + VALIDATION_BATCH]))
        for start in range(0, len(chosen), VALIDATION_BATCH)
    ]
    if not figures:
        return {"score": 0.0}
    means = mean_of(figures)
    return {**means, "score": means["sure"] + 0.5 * means.get("iou", 0.0)}


def _figures(learner: Learner, batch: TextBatch) -> dict[str, float]:
    logits = learner.logits(learner.states(batch).final, batch)
    right = (logits.argmax(-1) == batch.wanted).float()
    doubt = 1 - logits[batch.decides].softmax(-1).gather(1, batch.wanted[batch.decides].unsqueeze(1))
    found = {
        "text": float(torch.nn.functional.cross_entropy(logits, batch.wanted)),
        "decision": float(right[batch.decides].mean()),
        "sure": float(1 - doubt.square().mean()),
    }
    if batch.coordinates.any():
        ids: Any = learner.number_ids
        # At the median, as served (backends/median.py).
        below = (logits[batch.coordinates][:, ids].softmax(-1).cumsum(-1) < 0.5).sum(-1)
        boxes = below.clamp(max=len(ids) - 1).view(-1, 4) / (len(ids) - 1)
        wanted = torch.searchsorted(ids, batch.wanted[batch.coordinates]).view(-1, 4) / (len(ids) - 1)
        found["iou"] = float(overlaps(boxes, wanted)[0].mean())
    return found
