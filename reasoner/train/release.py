"""What reinforcement leaves behind: the kept weights as a model folder, its figures beside those it began with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from reasoner.folder import ModelFolder, open_folder
from reasoner.train.errors import TrainFailed
from reasoner.train.gspo_config import GspoConfig
from reasoner.train.judge import Judged, judge_folder
from reasoner.train.policy import Best, GspoTrainer

OWN_FILES = {"config.json", "generation_config.json", "README.md", "witness.json", "model.safetensors.index.json"}
"""Written anew; every other file of the source that holds no weights is copied."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def release(
    trainer: GspoTrainer, folder: ModelFolder, config: GspoConfig, evaluation: Sequence[int], out: Path
) -> None:
    """Writes `model/` and `evaluation.json`. One process does; nothing here waits for another.

    Raises TrainFailed: no weights, or a confidence that cannot be fitted; the model, its card and its figures are
    complete by then, and resuming with other `[calibrate]` settings fits it.
    """
    best = trainer.best()
    if best is None:
        raise TrainFailed(f"{out} holds no validation, though training ended; start again without --resume")
    target = out / "model"
    export(folder, out / "best" if best.step else None, target, lora=config.lora is not None)
    settings = {
        "threads": config.threads,
        "min_frame_pixels": config.min_frame_pixels,
        "max_frame_pixels": config.max_frame_pixels,
        "max_new_tokens": max(8, config.max_new_tokens),
    }
    before, after = (
        judge_folder(path, map(trainer.exercises.plain, evaluation), config.reward, settings)
        for path in (folder.path, target)
    )
    figures = {
        "model": folder.name,
        "kept_step": best.step,
        "steps": config.steps,
        "confirmed": confirmed(best, before, after),
        "evaluation": {"sft": before, "gspo": after},
        "validation": {"sft": best.before, "gspo": best.kept},
    }
    (out / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))
    trainer.journal.write(
        stage="evaluation",
        **{f"{name}_{key}": value for name, one in (("sft", before), ("gspo", after)) for key, value in _flat(one)},
    )
    note(folder, config, best, target, confirmed(best, before, after))
    (target / "README.md").write_text(card(folder, config, best, before, after), encoding="utf-8")
    if config.calibrate.windows and folder.notes is not None:
        from reasoner.train.calibrate import calibrate

        what = config.calibrate
        try:
            fitted = calibrate(
                target, what.windows, first_seed=what.first_seed, threads=config.threads, workers=what.workers
            )
        except (TrainFailed, ValueError) as error:
            raise TrainFailed(
                f"the model is written but has no calibrator: {error}; raise windows in [calibrate] and go on with "
                "--resume"
            ) from error
        trainer.journal.write(stage="calibration", **fitted)


def confirmed(best: Best, before: Judged, after: Judged) -> bool:
    """Whether rows that had no part in choosing the weights show the gain too."""
    return best.step > 0 and after.gains(before)


def export(folder: ModelFolder, kept: Path | None, target: Path, *, lora: bool) -> None:
    """The kept weights (None: those of the source) through the stock class, in the precision of the source.

    Raises TrainFailed where `kept` holds no weights.
    """
    import transformers

    architecture: Any = getattr(transformers, folder.family.architecture)
    if kept is not None and not any(kept.glob("*.safetensors")):
        raise TrainFailed(f"{kept} holds no weights, though best.json names them; start again without --resume")
    loads = folder.path if kept is None or lora else kept
    model = architecture.from_pretrained(str(loads), local_files_only=True, dtype=torch.float32)
    if kept is not None and lora:
        import peft

        model = peft.PeftModel.from_pretrained(model, str(kept)).merge_and_unload()
    model = model.to(getattr(torch, _precision(folder)))
    target.mkdir(parents=True, exist_ok=True)
    if (folder.path / "generation_config.json").exists():
        model.generation_config = transformers.GenerationConfig.from_pretrained(str(folder.path))
    model.save_pretrained(target)
    for file in target.glob("*.safetensors"):
        # safetensors keeps what it writes to its owner; a model is for everybody.
        file.chmod(0o644)
    for file in folder.path.iterdir():
        if file.is_file() and file.suffix not in WEIGHTS and file.name not in OWN_FILES:
            shutil.copyfile(file, target / file.name)
    if (folder.path / "witness.json").exists():
        shutil.copyfile(folder.path / "witness.json", target / "witness.json")
    open_folder(target)


def note(folder: ModelFolder, config: GspoConfig, best: Best, target: Path, shown: bool) -> None:
    """What was done and whether other rows confirm it, in `witness.json`; the calibrator goes, it knew others."""
    if folder.notes is None:
        return
    file = target / "witness.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record.pop("calibrator", None)
    told = {"seed": config.seed, "steps": best.step, "confirmed": shown, "reward": msgspec.to_builtins(config.reward)}
    record["training"] = {**record.get("training", {}), "gspo": told}
    file.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def card(folder: ModelFolder, config: GspoConfig, best: Best, before: Judged, after: Judged) -> str:
    """The card of the source with a chapter about this training at its end."""
    source = folder.path / "README.md"
    text = source.read_text(encoding="utf-8").rstrip() if source.exists() else f"# {folder.name}"
    text = text.split("\n## Reinforcement\n")[0].rstrip()
    rows = "".join(
        f"| {key.replace('_', ' ')} | {_number(old)} | {_number(new)} |\n"
        for (key, old), (_, new) in zip(_flat(before), _flat(after), strict=True)
        if key != "rows"
    )
    weights = ", ".join(f"{name} {weight:g}" for name, weight in config.reward.weights().items())
    told = (
        f"`witness train gspo`: {best.step} of {config.steps} steps kept, {config.generations} answers to a question, "
        f"learning rate {config.learning_rate:g}, seed {config.seed}; reward: {weights}. "
        f"{_verdict(best, before, after)}"
        if best.step
        else f"`witness train gspo`: at no validation in {config.steps} steps did evidence reward and mean IoU both "
        "rise with neither accuracy, precision nor recall lower; these are the weights that it began with."
    )
    return (
        f"{text}\n\n## Reinforcement\n\n{told}\n\n{before.rows} rows of scenes that neither training nor the choice of "
        f"weights saw, greedy answers through the serving code:\n\n| | before | after |\n|---|---|---|\n{rows}"
    )


def _verdict(best: Best, before: Judged, after: Judged) -> str:
    chosen = "On the rows by which they were chosen, these weights point better and answer no worse"
    if confirmed(best, before, after):
        return f"{chosen}; the rows below confirm it."
    return f"{chosen}; the rows below do not confirm it, and no gain is claimed."


def _flat(judged: Judged) -> list[tuple[str, Any]]:
    return list(msgspec.to_builtins(judged).items())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _precision(folder: ModelFolder) -> str:
    """As the source's configuration names it, under either of its names."""
    places = (folder.config, folder.config.get("text_config", {}))
    named = (place.get(key) for place in places for key in ("dtype", "torch_dtype"))
    return next((str(name) for name in named if name in ("float32", "bfloat16", "float16")), "bfloat16")
