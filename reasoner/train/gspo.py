"""`witness train gspo`: Group Sequence Policy Optimization (arXiv 2507.18071) of a model folder, with TRL.

Everything lies under `out`: `checkpoints/` to go on from, `best/` with the weights kept so far, `metrics.jsonl`, and at
the end `model/` in the layout of the model that it began with, and `evaluation.json` with both side by side. With
several GPUs it is started by `accelerate launch`, as `witness train sft` is.
"""

from __future__ import annotations

import importlib.util
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasoner.errors import ModelFailed
from reasoner.folder import ModelFolder, open_folder
from reasoner.processor import Processor
from reasoner.train.errors import PartMissing, TrainError, TrainFailed
from reasoner.train.exercise import Exercises
from reasoner.train.gspo_config import GspoConfig
from reasoner.train.gspo_run import begin, last_checkpoint

NEEDED = ("accelerate", "datasets", "trl")
POLL_S = 2.0


def train(config: GspoConfig, out: Path, resume: bool) -> None:
    """Train, keep the best, export, evaluate. PartMissing, BadClips, BadRows, BadCheckpoint, ModelIncomplete,
    ModelFailed: each one line."""
    missing = [name for name in (*NEEDED, *(("peft",) if config.lora else ())) if not importlib.util.find_spec(name)]
    if missing:
        raise PartMissing(f"`witness train gspo` needs {', '.join(missing)}: pip install 'witness[train]'")
    import torch

    from reasoner.checkpoint import locate
    from reasoner.train.release import release

    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and torch.cuda.device_count() > 1:
        raise TrainError(
            f"{torch.cuda.device_count()} GPUs are visible; start with `accelerate launch --config_file "
            "deploy/examples/accelerate-fsdp.yaml -m deploy train gspo ...`, or set CUDA_VISIBLE_DEVICES=0"
        )
    last_checkpoint(out, resume)  # refused before anything is loaded or rendered
    torch.set_num_threads(config.threads)
    folder = open_folder(locate(config.model))
    if config.calibrate.windows and folder.notes is None:
        raise TrainError(f"{folder.path} was not made here and has no calibrator; set [calibrate] windows = 0")
    out.mkdir(parents=True, exist_ok=True)
    processor = Processor.load(folder, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels)
    exercises = exercises_of(config, folder, processor)
    last = begin(config, folder, exercises, out, resume)
    validation, evaluation = exercises.held_out(config.validation_rows, config.evaluation_rows)
    trainer = new_trainer(config, folder, processor, exercises, validation, out)
    began_with = folder.weights_sha256()
    trainer.train(resume_from_checkpoint=last)
    if trainer.is_world_process_zero():
        if folder.weights_sha256() != began_with:
            raise TrainFailed(
                f"{folder.path} was replaced while its weights were training; put them back, and --resume"
            )
        release(trainer, folder, config, evaluation, out)


def exercises_of(config: GspoConfig, folder: ModelFolder, processor: Processor) -> Exercises:
    """Of the configured rows; clips that are not there yet are rendered, by one process."""
    if config.rows:
        from reasoner.train.finetune import load_rows
        from reasoner.train.finetune_config import FinetuneConfig
        from reasoner.train.shown import Pick
        from reasoner.train.stgr_exercises import StgrExercises

        if processor.motion:
            raise TrainError(
                f"{folder.path} takes motion pairs, as the bundled model does; name clips instead of rows "
                "(deploy/examples/train-gspo.toml)"
            )
        same = FinetuneConfig(
            model=config.model, rows=config.rows, videos=config.videos, skip_bad_rows=config.skip_bad_rows
        )
        rows, validation = (load_rows(same, Path(file)) for file in (config.rows, config.validation))
        if len(validation) < 2:
            raise TrainError(f"{config.validation} has {len(validation)} rows; both halves of it are asked, add some")
        pick = Pick(most=config.max_frames)
        return StgrExercises(rows, validation, folder, processor.fitted, Path(config.videos), pick, config.seed)
    from reasoner.train.album import Album
    from reasoner.train.clip_exercises import ClipExercises

    clips = Path(config.clips)
    if not clips.exists() and int(os.environ.get("RANK", "0")) == 0:
        Album.render(clips, config.render)
    while not clips.exists():
        time.sleep(POLL_S)
    return ClipExercises(Album.open(clips, config.render), folder, config.seed, config.true_share)


def new_trainer(
    config: GspoConfig,
    folder: ModelFolder,
    processor: Processor,
    exercises: Exercises,
    validation: Sequence[int],
    out: Path,
) -> Any:
    """The trainer with model, exercises and settings; nothing has been trained yet."""
    import datasets  # type: ignore[import-untyped]
    import transformers
    from transformers.trainer_callback import PrinterCallback

    from reasoner.train.exercise import coordinates_of
    from reasoner.train.feed import Feed
    from reasoner.train.journal import Journal
    from reasoner.train.policy import GspoTrainer, Validation
    from reasoner.train.reinforce import reward_functions

    messages: Any = transformers.utils.logging
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    # Names that TRL and transformers still use of each other; nothing that a user could mend.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    coordinates = coordinates_of(folder)
    settings = arguments(config, out)
    turns = settings.generation_batch_size // config.generations * config.blocks
    trainer = GspoTrainer(
        journal=Journal(out / "metrics.jsonl"),
        out=out,
        exercises=exercises,
        drawn=exercises.drawn(turns),
        table=config.reward,
        coordinates=coordinates,
        model=load_model(config, folder),
        args=settings,
        feed=Feed(processor.tokenizer, processor),
        reward_funcs=reward_functions(config.reward, coordinates),
        train_dataset=datasets.Dataset.from_dict({"turn": list(range(turns))}),
        peft_config=_adapters(config),
    )
    trainer.remove_callback(PrinterCallback)

    def validate() -> None:
        trainer.consider(trainer.judged(validation))

    trainer.add_callback(Validation(config.validate_blocks * config.updates_per_block, validate))
    return trainer


def arguments(config: GspoConfig, out: Path) -> Any:
    """TRL's settings: one ratio for a whole answer, and checkpoints after whole blocks."""
    import torch
    import trl

    # Under FSDP the same is done by its own wrapper, when its settings say so.
    fsdp_does = os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "").lower() == "true"
    checkpointing = config.gradient_checkpointing and not fsdp_does
    grpo: Any = trl
    return grpo.GRPOConfig(
        output_dir=str(out / "checkpoints"),
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=config.precision == "bfloat16",
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
        importance_sampling_level="sequence",
        loss_type="grpo",
        scale_rewards="group",
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        beta=config.beta,
        num_generations=config.generations,
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        steps_per_generation=config.steps_per_generation,
        num_iterations=config.num_iterations,
        max_steps=config.steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip_norm,
        temperature=config.temperature,
        top_p=config.top_p,
        max_completion_length=config.max_new_tokens,
        reward_weights=list(config.reward.weights().values()),
        shuffle_dataset=False,
        save_steps=config.checkpoint_blocks * config.updates_per_block,
        save_total_limit=1,
        logging_steps=1,
        log_multimodal=False,
        report_to="none",
        disable_tqdm=True,
    )


def load_model(config: GspoConfig, folder: ModelFolder) -> Any:
    """The stock class; raises ModelFailed."""
    import torch
    import transformers

    architecture: Any = getattr(transformers, folder.family.architecture)
    try:
        model = architecture.from_pretrained(
            str(folder.path),
            local_files_only=True,
            use_safetensors=True,
            dtype=getattr(torch, config.weights),
            attn_implementation=config.attention,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        line = " ".join(str(error).split())[:200]
        raise ModelFailed(f"model folder {folder.path} cannot be loaded: {line}; fetch it again") from error
    if not config.vision:
        model.model.visual.requires_grad_(False)
    return model


def _adapters(config: GspoConfig) -> Any:
    if config.lora is None:
        return None
    import peft

    from reasoner.train.released import LANGUAGE_LINEARS

    # No dropout: the old and the new policy must differ by what was learnt alone.
    return peft.LoraConfig(
        r=config.lora.rank, lora_alpha=config.lora.alpha, lora_dropout=0.0, target_modules=rf".*{LANGUAGE_LINEARS}"
    )
