"""Where a model comes from: the settings, clips and weights its training began with, and what each stage then took."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from reasoner.train.config import SftConfig, Stage
from reasoner.train.inherit import source

FREE = ("calibrate", "checkpoint_minutes", "clips", "evaluation_rows", "render.workers", "threads")
"""Settings that a resumed training may change: no weight depends on them. The clips are known by their hash."""
CLIPS = "clips.jsonl sha256"
START = "start_from sha256"


class Taken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stage took, earlier runs included."""

    steps: int
    minutes: float
    kept_step: int
    """The step whose weights were the best validated."""
    learning_rate: float
    batch: int


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`training` of `witness.json`."""

    seed: int
    rows: int
    """Training rows of the clips."""
    clips_sha256: str
    """Of `clips.jsonl`."""
    start_from: str
    """Name of the model whose weights were taken over; empty: from nothing."""
    start_from_sha256: str
    """Of those weights; empty: from nothing."""
    emphasis: dict[str, float]
    warmup: Taken
    sft: Taken


def identity(config: SftConfig) -> dict[str, Any]:
    """What a checkpoint must agree with, by name: every setting but the free ones, the clips, the first weights.

    Raises BadCheckpoint for an unusable `start_from`. The clips must be there.
    """
    settings = _flat(msgspec.json.decode(msgspec.json.encode(config)))
    fixed = {
        name: value
        for name, value in settings.items()
        if not any(name == free or name.startswith(f"{free}.") for free in FREE)
    }
    with (Path(config.clips) / "clips.jsonl").open("rb") as stream:
        clips = hashlib.file_digest(stream, "sha256").hexdigest()
    start = source(config.start_from).weights_sha256() if config.start_from else ""
    return {**fixed, CLIPS: clips, START: start}


def training(config: SftConfig, rows: int, known: dict[str, Any], taken: dict[str, tuple[int, float, int]]) -> Training:
    """The record of a finished training.

    known: its `identity`; taken: of each stage the steps, the seconds and the step whose weights were kept.
    """

    def of(name: str, stage: Stage) -> Taken:
        steps, spent_s, kept = taken[name]
        return Taken(
            steps=steps,
            minutes=round(spent_s / 60, 4),
            kept_step=kept,
            learning_rate=stage.learning_rate,
            batch=stage.batch,
        )

    return Training(
        seed=config.seed,
        rows=rows,
        clips_sha256=known[CLIPS],
        start_from=source(config.start_from).name if config.start_from else "",
        start_from_sha256=known[START],
        emphasis=dict(config.emphasis),
        warmup=of("warmup", config.warmup),
        sft=of("sft", config.sft),
    )


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """`{"sft": {"batch": 8}}` → `{"sft.batch": 8}`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat
