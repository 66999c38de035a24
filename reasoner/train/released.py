"""A released checkpoint: loaded so that it can learn, saved so that it can serve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from reasoner.errors import ModelFailed
from reasoner.folder import ModelFolder, open_folder
from reasoner.train.finetune_config import FinetuneConfig

LANGUAGE_LINEARS = r"(model\.)?language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
"""Of both families; "all-linear" would reach into the vision tower."""
SIDE_FILES = ("*.json", "*.jinja", "*.txt")


def load_model(config: FinetuneConfig, folder: ModelFolder, half: bool) -> Any:
    """Weights that learn are float32: at a learning rate of 2e-5 a step is lost in bfloat16's rounding."""
    import torch
    import transformers

    architecture: Any = getattr(transformers, folder.family.architecture)
    frozen = config.lora is not None and half
    try:
        model = architecture.from_pretrained(
            str(folder.path),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.bfloat16 if frozen else torch.float32,
            attn_implementation=config.attention,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        line = " ".join(str(error).split())[:200]
        raise ModelFailed(f"model folder {folder.path} cannot be loaded: {line}; fetch it again") from error
    model.config.use_cache = False
    if config.lora is not None:
        import peft

        adapters = peft.LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=rf".*{LANGUAGE_LINEARS}",
        )
        return peft.get_peft_model(model, adapters)
    if not config.train_vision:
        model.model.visual.requires_grad_(False)
    return model


def publish(trainer: Any, folder: ModelFolder, config: FinetuneConfig, to: Path, rows: int) -> None:
    """The trained weights in bfloat16 with the files of the folder they came from; adapters are merged in."""
    import torch

    accelerator = trainer.accelerator
    trained = accelerator.unwrap_model(trainer.model_wrapped, keep_torch_compile=False)
    state: dict[str, Any] = {} if config.lora else accelerator.get_state_dict(trainer.model_wrapped)
    if not accelerator.is_main_process:
        return
    to.mkdir(parents=True, exist_ok=True)
    if config.lora:
        trained.save_pretrained(to.parent / "adapter")
        trained = trained.merge_and_unload()
        state = trained.state_dict()
    halved = {name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in state.items()}
    trained.config.dtype = torch.bfloat16
    trained.save_pretrained(to, state_dict=halved)
    for pattern in SIDE_FILES:
        for file in folder.path.glob(pattern):
            if file.name != "model.safetensors.index.json" and not (to / file.name).exists():
                shutil.copyfile(file, to / file.name)
    told = {"rows": rows, "steps": trainer.state.global_step, "config": msgspec.to_builtins(config)}
    (to / "training.json").write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    open_folder(to)
