"""The record that `--json` prints, its table, and `schema.json`, which is generated from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.detector.targets import Judged, Verdict

SCHEMA_FILE = Path(__file__).with_name("schema.json")


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One engine at one batch size."""

    engine: str
    batch: int
    ms: float
    """Per picture: CPU time on a CPU, wall time on a GPU."""
    ratio: float
    """To torch eager on the same device at the same batch size."""
    half_ratio: float | None = None
    """To torch in fp16 there; none on a CPU."""
    product_share: float | None = None
    """Operations a second, of those that a square matrix product in fp16 reached in this run; none on a CPU."""


class ModelSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The engines on one model."""

    model: str
    picture_size: tuple[int, int]
    gflop: float
    """Of the image tower on one picture, by calculation."""
    speeds: tuple[Speed, ...]
    not_run: dict[str, str]
    """Engine and the reason why it has no figure."""
    product_tflops: float | None = None
    """Of a square matrix product in fp16 on the card, measured in this run; none on a CPU."""


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """What 8 bits cost the bundled scorer."""

    scenes: int
    events: int
    found_fp32: int
    """With a frame over the threshold in the first two seconds in which the event can be seen."""
    found_int8: int
    windowed_fp32: int
    """With a flagged window whose first hot frame lies inside the event, give or take two seconds."""
    windowed_int8: int
    false_per_quiet_minute_fp32: float
    false_per_quiet_minute_int8: float
    loss: float
    """Of `found`, in shares of the events."""
    loss_target: float


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """By calculation (`detector.cost`): the share of an RTX 4090 that every key frame of 100 cameras takes."""

    model: str
    interval_s: float
    precision: str
    share: float
    share_target: float
    verdict: Verdict


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Engines beside torch eager, what int8 costs, and what watching costs a GPU."""

    load: float
    """Programs that wanted a core at the end, mean of a minute: times of a busy machine say little, ratios more."""
    targets: tuple[Judged, ...]
    models: tuple[ModelSpeed, ...]
    recall: Recall | None
    """None: not asked for (--scenes 0)."""
    watching: tuple[Watching, ...]


def lines(figures: dict[str, Any]) -> Iterable[str]:
    """The table for people."""
    for model in figures["models"]:
        width, height = model["picture_size"]
        yield f"  {model['model']} {width}x{height}, {model['gflop']:.2f} GFLOP a picture"
        for speed in model["speeds"]:
            yield f"    {speed['engine']:18} batch {speed['batch']:2}  {_told(speed)}"
        for engine, reason in model["not_run"].items():
            yield f"    {engine:18} not run: {reason}"
    yield f"  targets; load {figures['load']:.1f}"
    for one in figures["targets"]:
        found = one["reason"] if one["found"] is None else f"{one['found']:.2f}"
        yield f"    {one['verdict']:8} {one['target']}, wanted {one['wanted']:g}: {found} ({one['model']})"
    if found := figures["recall"]:
        yield (
            f"  recall of {found['events']} events: fp32 {found['found_fp32']}, int8 {found['found_int8']} "
            f"(loss {100 * found['loss']:.1f} points, at most {100 * found['loss_target']:.0f})"
        )
    for row in figures["watching"]:
        yield (
            f"  100 cameras, a key frame per {row['interval_s']:g} s, {row['model']} {row['precision']}: "
            f"{100 * row['share']:.2f} % of an RTX 4090 by calculation (at most {100 * row['share_target']:.0f} %: "
            f"{row['verdict']})"
        )


def _told(speed: dict[str, Any]) -> str:
    text = f"{speed['ms']:8.2f} ms  {speed['ratio']:5.2f}x"
    if speed["half_ratio"] is not None:
        text += f"  {speed['half_ratio']:5.2f}x of torch fp16"
    if speed["product_share"] is not None:
        text += f"  {100 * speed['product_share']:3.0f} % of the matrix product"
    return text


def schema() -> dict[str, Any]:
    """JSON Schema of what `--json` prints."""
    return report.schema(Figures, "detector", "The scorer's engines")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
