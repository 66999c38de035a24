"""`witness train sft` for released checkpoints: rows of STGR into a Qwen-VL, on one device or many.

Everything lies under `out`: `config.json` of the run, `checkpoints/`, `metrics.jsonl`, and at the end `model/`, a
folder in the released layout that `[reasoner] model` takes. With several GPUs it is started by `accelerate launch`,
see deploy/examples/accelerate-fsdp.yaml.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from reasoner.folder import ModelFolder, open_folder
from reasoner.train.errors import BadCheckpoint, BadRows, PartMissing, TrainError
from reasoner.train.finetune_config import FinetuneConfig
from reasoner.train.stgr import StgrRow
from reasoner.train.stgr_file import examine

if TYPE_CHECKING:
    from reasoner.train.lesson import Course

LOG = logging.getLogger("witness.train")
MAY_CHANGE = ("workers", "threads", "log_steps", "save_steps", "keep_checkpoints", "checkpointing", "attention")
"""Settings that a resumed run may have changed: they say how, not what."""
MOST_LEFT_OUT = 0.5
"""Share of rows that `skip_bad_rows` may leave out: beyond it the folder or the file is wrong, not the rows."""
LOOKED_AT_EACH = 1000


def finetune(config: FinetuneConfig, out: Path, resume: bool) -> None:
    """Train and export. PartMissing, BadRows, BadCheckpoint, ModelIncomplete, ModelFailed: each one line."""
    _require("accelerate", *(("peft",) if config.lora else ()))
    from reasoner.checkpoint import locate
    from reasoner.train.released import publish

    rows = load_rows(config, Path(config.rows))
    validation = load_rows(config, Path(config.validation)) if config.validation else []
    folder = open_folder(locate(config.model))
    out.mkdir(parents=True, exist_ok=True)
    last = _begin(config, folder.weights_sha256(), out, resume)
    trainer = new_trainer(config, folder, rows, validation, out)
    trainer.train(resume_from_checkpoint=last)
    publish(trainer, folder, config, out / "model", len(rows))


def load_rows(config: FinetuneConfig, path: Path) -> list[StgrRow]:
    """Sound rows that can be shown; each mistake is logged. BadRows: there are some, and they are not to be skipped, or
    so many that the fault is hardly theirs.

    Each file is opened once, its length and first picture are looked at: no row may end a training days later.
    """
    from reasoner.train.shown import check

    reading = examine(path)
    mistakes = [str(mistake) for mistake in reading.mistakes]
    rows = []
    lengths_s: dict[Path, float | str] = {}
    for number, row in enumerate(reading.rows, start=1):
        if number % LOOKED_AT_EACH == 0:
            LOG.info("%s: looked at the files of %d of %d rows", path, number, len(reading.rows))
        try:
            check(row, Path(config.videos), lengths_s)
        except BadRows as error:
            mistakes.append(str(error))
        else:
            rows.append(row)
    bad = reading.bad_rows + len(reading.rows) - len(rows)
    for mistake in mistakes:
        LOG.log(logging.WARNING if config.skip_bad_rows else logging.ERROR, "%s: %s", path, mistake)
    if mistakes and not config.skip_bad_rows:
        raise BadRows(
            f"{path}: {len(mistakes)} mistakes in {bad} of {bad + len(rows)} rows, the first: {mistakes[0]}; "
            "correct them, or set skip_bad_rows = true"
        )
    if not rows:
        raise BadRows(f"{path}: none of its {bad} rows can be used")
    if bad > MOST_LEFT_OUT * (bad + len(rows)):
        raise BadRows(
            f"{path}: {bad} of {bad + len(rows)} rows have mistakes, and at most {MOST_LEFT_OUT:.0%} may be left out; "
            f"is {config.videos} the right folder? The first: {mistakes[0]}"
        )
    LOG.info("%s: %d rows, %d left out", path, len(rows), bad)
    return rows


def new_trainer(
    config: FinetuneConfig, folder: ModelFolder, rows: Sequence[StgrRow], validation: Sequence[StgrRow], out: Path
) -> Any:
    """The trainer with model, rows and settings; nothing has been trained yet."""
    import torch
    import transformers
    from transformers.trainer_callback import PrinterCallback

    from reasoner.train.lesson import Collate, Lessons
    from reasoner.train.recorder import Recorder
    from reasoner.train.released import load_model
    from reasoner.train.weighted import WeightedTrainer

    # Before the arguments below: they start the process group, and a wrong setting should be said without it.
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    if devices == 1 and torch.cuda.device_count() > 1:
        raise TrainError(
            f"{torch.cuda.device_count()} GPUs are visible; start with `accelerate launch --config_file "
            "deploy/examples/accelerate-fsdp.yaml -m deploy train sft ...`, or set CUDA_VISIBLE_DEVICES=0"
        )
    if config.batch % (config.device_batch * devices):
        raise TrainError(
            f"batch {config.batch} cannot be split over {devices} devices of {config.device_batch} rows; change batch"
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    transformers.set_seed(config.seed)
    half = torch.cuda.is_available() if config.precision == "auto" else config.precision == "bfloat16"
    course = new_course(config, folder)
    settings: Any = transformers.TrainingArguments
    trainer = WeightedTrainer(
        course.processor,
        config.text_share,
        model=load_model(config, folder, half),
        args=settings(
            output_dir=str(out / "checkpoints"),
            seed=config.seed,
            data_seed=config.seed,
            num_train_epochs=config.epochs,
            max_steps=config.steps or -1,
            per_device_train_batch_size=config.device_batch,
            per_device_eval_batch_size=config.device_batch,
            gradient_accumulation_steps=config.batch // (config.device_batch * devices),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup_steps=config.warmup_share,
            lr_scheduler_type="cosine",
            max_grad_norm=config.clip_norm,
            optim="adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
            bf16=half,
            use_cpu=not torch.cuda.is_available(),
            **_checkpointing(config, settings),
            eval_strategy="epoch" if validation else "no",
            prediction_loss_only=True,
            label_names=["labels"],
            logging_steps=config.log_steps,
            save_steps=config.save_steps,
            save_total_limit=config.keep_checkpoints,
            dataloader_num_workers=config.workers,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
        ),
        data_collator=Collate(course.processor.tokenizer.pad_token_id),
        train_dataset=Lessons(rows, course),
        eval_dataset=Lessons(validation, course) if validation else None,
        callbacks=[Recorder(out / "metrics.jsonl")],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _checkpointing(config: FinetuneConfig, settings: Any) -> dict[str, Any]:
    """Under FSDP the same is done by its own wrapper, when its settings say so. The setting was renamed on the way to
    transformers 6."""
    wanted = config.checkpointing and os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "").lower() != "true"
    known = {field.name for field in dataclasses.fields(settings)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: wanted, f"{name}_kwargs": {"use_reentrant": False}}


def new_course(config: FinetuneConfig, folder: ModelFolder) -> Course:
    """What makes lessons of rows, for this model's family."""
    from reasoner.processor import Processor
    from reasoner.train.lesson import Course
    from reasoner.train.shown import Pick

    processor = Processor.load(folder, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels)
    if processor.motion:
        raise TrainError(
            f"{folder.path} takes motion pairs, as the bundled model does; train it with a configuration that names "
            "clips instead of rows (deploy/examples/train-sft.toml)"
        )
    pick = Pick(config.step_s, config.max_frames, config.cited_frames, config.jitter, config.view == "changed")
    coordinates = folder.coordinates
    return Course(processor, coordinates, Path(config.videos), pick, config.seed)


def _begin(config: FinetuneConfig, weights_sha256: str, out: Path, resume: bool) -> str | None:
    """The checkpoint to go on from. weights_sha256: of the model that training begins with, which adapters rest on.

    Raises BadCheckpoint: another configuration's, or one that would be written over.
    """
    from transformers import trainer_utils

    find: Any = trainer_utils.get_last_checkpoint
    file, folder = out / "config.json", out / "checkpoints"
    last = find(str(folder)) if folder.is_dir() else None
    settings = {key: value for key, value in msgspec.to_builtins(config).items() if key not in MAY_CHANGE}
    with Path(config.rows).open("rb") as stream:
        rows_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    record = {"config": settings, "rows_sha256": rows_sha256, "weights_sha256": weights_sha256}
    if resume and last is not None:
        if not file.exists() or json.loads(file.read_text(encoding="utf-8")) != record:
            raise BadCheckpoint(
                f"{last} belongs to another configuration, other rows or other first weights; use its own, or another "
                "--out"
            )
        return str(last)
    if last is not None:
        raise BadCheckpoint(f"{out} holds checkpoints of an earlier run; go on with --resume, or name another --out")
    file.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return None


def _require(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise PartMissing(f"training a released checkpoint needs {' and '.join(missing)}: pip install 'witness[train]'")
