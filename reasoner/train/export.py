"""The trained model as a folder in the released layout, with `witness.json` beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import torch

from reasoner.processor import Processor
from reasoner.train.album import Album
from reasoner.train.provenance import Training
from reasoner.train.questions import KEYWORDS, questions
from reasoner.train.tokens import CHAT_TEMPLATE

NAME = "witness-reasoner-tiny"
YES_FROM = 0.5
"""Of a tenth or so of the windows the model is less sure; on held-out ones a higher bar lost more true than false."""


def export(model: Any, processor: Processor, album: Album, training: Training, folder: Path) -> None:
    """Weights in bfloat16, tokenizer, chat template, picture settings and notes; the auxiliary heads stay behind."""
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    # A copy through the stock class: what is saved is what anybody's transformers will load.
    stock: Any = Qwen3VLForConditionalGeneration
    copy = stock(model.config)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    copy = copy.to(torch.bfloat16)
    tokenizer = processor.tokenizer
    settings: Any = GenerationConfig
    copy.generation_config = settings(
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    copy.save_pretrained(folder)
    # safetensors keeps what it writes to its owner; a packaged model is for everybody.
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _write(folder / "preprocessor_config.json", _picture_settings(album))
    _write(folder / "witness.json", notes(album, training))


def _picture_settings(album: Album) -> dict[str, Any]:
    height, width = album.pictures.shape[3:5]
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"shortest_edge": height * width, "longest_edge": height * width},
    }


def notes(album: Album, training: Training) -> dict[str, Any]:
    """`witness.json`: how the model is fed, what it knows, and how it was trained. A calibrator is added later."""
    height, width = album.pictures.shape[3:5]
    categories = album.categories
    return {
        "name": NAME,
        "pairing": "motion",
        "input_size": [width, height],
        "coordinates": "rel1000",
        "coordinate_step": 5,
        "time_step": 0.1,
        "prompt": "brief",
        "decision_token": "think_first",
        "yes_from": YES_FROM,
        "decision_words": ["The", "Nothing"],
        "categories": list(categories),
        "questions": {category: questions(category)[0] for category in categories},
        "keywords": {category: list(KEYWORDS[category]) for category in categories if category in KEYWORDS},
        "max_groups": album.pictures.shape[1],
        "group_step_s": 1.0,
        "training": msgspec.to_builtins(training),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
