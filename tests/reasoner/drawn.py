"""Small clips, drawn within a second, and the settings of a training on them that takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from reasoner.processor import Processor
from reasoner.train.album import Album
from reasoner.train.batches import Batches
from reasoner.train.config import Calibrate, ModelSize, SftConfig, Stage
from reasoner.train.learner import Learner
from reasoner.train.questions import questions
from reasoner.train.row import Row, Thing
from reasoner.train.sft import new_learner, new_processor

SIZE = ModelSize(
    vision_width=48, vision_depth=2, vision_mlp_width=64, vision_heads=2, deepstack=(0,),
    width=64, layers=2, heads=1, mlp_width=96, merges=200,
)  # fmt: skip
CATEGORIES = ("abandoned_object", "fall", "fight", "running")


def clip(
    rng: np.random.Generator, category: str, answer: bool, split: str, *, walking: bool = False
) -> tuple[np.ndarray[Any, Any], Row]:
    """Bright figures on noise, in the layout of the rendered clips: anywhere, or two that walk side by side."""
    groups = int(rng.integers(5, 8))
    pictures = rng.integers(60, 90, (7, 2, 96, 160, 3), dtype=np.uint8)
    pictures[groups:] = 0
    objects = []
    for group in range(groups):
        things = []
        second = "bag" if category == "abandoned_object" and not walking else "person"
        for number, label in enumerate(("person", second)):
            if walking:
                x, y, width = 20 + 14 * group, 20 + 30 * number, 14
            else:
                x, y, width = int(rng.integers(0, 120)), int(rng.integers(0, 60)), 20
            pictures[group, 0, y : y + 30, x : x + width] = (220, 200, 40) if answer else (30, 60, 220)
            pictures[group, 1, y : y + 30, x : x + width, 1:] = 255
            box = (x / 160, y / 96, (x + width) / 160, (y + 30) / 96)
            things.append(Thing(label=label, box=box, actor=answer, visible=1.0))
        objects.append(tuple(things))
    row = Row(
        groups=groups, times=tuple(float(k) for k in range(groups)), category=category,
        question=questions(category)[0 if walking else int(rng.integers(8))], answer=answer,
        kind=category if answer else "walking",
        start=1.0 if answer else None, end=4.0 if answer else None, objects=tuple(objects), split=split,  # type: ignore[arg-type]
    )  # fmt: skip
    return pictures, row


def draw(
    folder: Path, seed: int = 0, *, rows: int = 32, categories: Sequence[str] = CATEGORIES, walking: bool = False
) -> Path:
    """A folder of 24 training clips, the rest for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    made = [
        clip(rng, categories[i % len(categories)], i % 8 < 4, "val" if i >= 24 else "train", walking=walking)
        for i in range(rows)
    ]
    np.save(folder / "pictures.npy", np.stack([pictures for pictures, _ in made]))
    (folder / "clips.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for _, row in made))
    return folder


def config(clips: Path, **more: Any) -> SftConfig:
    given: dict[str, Any] = {
        "clips": str(clips), "seed": 3, "threads": 1, "precision": "float32", "model": SIZE,
        "warmup": Stage(learning_rate=2e-3, batch=6, steps=3), "sft": Stage(learning_rate=2e-3, batch=4, steps=3),
        "validation_rows": 8, "evaluation_rows": 4, "calibrate": Calibrate(windows=0),
    }  # fmt: skip
    return SftConfig(**(given | more))


def fresh(config: SftConfig) -> tuple[Learner, Batches, Processor]:
    album = Album.open(Path(config.clips))
    processor = new_processor(config, album.size)
    learner, batches = new_learner(config, album, processor)
    return learner, batches, processor
