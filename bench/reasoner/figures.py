"""The record that `--json` prints, its table, and `schema.json`, which is generated from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench import report

SCHEMA_FILE = Path(__file__).with_name("schema.json")


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way of running the model."""

    name: str
    """`generate`, then what was switched on, each row with all of the rows before but those named `only`."""
    callers: int
    windows_per_s: float
    """Median over the rounds."""
    generate_per_s: float | None
    """Of `generate` on the same windows, in turns with this row; none where that could not be run."""
    ratio: float | None
    """The two's quotient."""
    same_answers: int | None
    """Windows whose text is that of `generate`."""
    same_verdicts: int | None
    """Windows whose yes or no is that of `generate`."""
    tokens_out: float
    """Mean of a window."""
    max_logprob_difference: float | None
    """Over the tokens of windows with the same text; none without any."""


class Passes(msgspec.Struct, frozen=True, kw_only=True):
    """Of the model's passes by themselves."""

    callers: int
    tokens: int
    ms: float
    share_of_measured: float
    """Of FLOP/s (reading) or bytes/s (writing) that this device reached in this run on one large product or copy."""
    share_of_peak: float | None
    """Of the published figure; none on a CPU."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt read whole and in parts (`prefill_tokens`), in turns, to its first token; medians."""

    tokens: int
    part_tokens: int
    """2048 as shipped for a GPU, or a quarter of a prompt that is shorter."""
    whole_ms: float
    parts_ms: float
    ratio: float
    """Whole to parts."""
    whole_bytes: int | None
    parts_bytes: int | None
    """Memory of the device above what was held before; none on a CPU, where torch does not count."""
    max_logprob_difference: float


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """A window of which some pictures were seen before, to its first token: medians, taken in turns."""

    name: str
    """`grown`: by a picture at its end; `slid`: as far as the live gate moves on while an event lasts."""
    pictures: int
    seen_before: int
    anew_ms: float
    reused_ms: float
    ratio: float
    target_ratio: float = 5.0
    max_logprob_difference: float
    other_question_ms: float
    """The same pictures asked about something else."""


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the device while `callers` of the largest windows are written together; kept features and prefixes,
    whose limits are settings, are off in both numbers."""

    callers: int
    measured_bytes: int
    predicted_bytes: int
    """By `reasoner.forecast`, as `witness check` does."""
    ratio: float
    """Predicted to measured."""
    target_deviation: float = 0.1
    """Most by which the ratio may differ from 1."""
    within_target: bool


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured. A row or part that failed is none or left out, and stands in `not_run`."""

    model: str
    weights: str
    """`as trained`, or `random, of the true shape`."""
    device: str
    dtype: str
    windows: int
    rounds: int
    tokens_in: float | None
    tokens_out: float | None
    """Means of a window of `generate`."""
    ways: tuple[Way, ...]
    target_ratio: float = 3.0
    reading: Passes | None
    """Vision tower and prompt of one window."""
    writing: tuple[Passes, ...]
    """One token for each of several windows."""
    parts: Parts | None
    overlap: tuple[Overlap, ...]
    preprocessing_ratio: float | None
    """To transformers' video processor, of which bench `processor` tells more."""
    preprocessing_target_ratio: float = 10.0
    memory: Peak | None
    """None on a CPU, where torch does not count."""
    measured_tflops: float
    measured_gb_per_s: float
    vllm_windows_per_s: float | None
    """All windows given to it at once."""
    not_run: dict[str, str]
    """Names of what has no figures, and why."""


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line per way, then the passes, then what was not run."""
    yield f"  {figures['model']} ({figures['weights']}) on {figures['device']}, {figures['dtype']}"
    for way in figures["ways"]:
        beside = ""
        if way["ratio"] is not None:
            beside = f"x{way['ratio']:.2f}  {way['same_answers']} of {figures['windows']} alike"
        yield f"  {way['name']:24} {way['callers']:3} at once  {way['windows_per_s']:8.3f} windows/s  {beside}"
    reading = [("reading", figures["reading"])] if figures["reading"] else []
    for name, part in (*reading, *(("writing", each) for each in figures["writing"])):
        yield (
            f"  {name} {part['callers']:3} at once  {part['ms']:9.2f} ms  "
            f"{100 * part['share_of_measured']:.0f} % of what this device reached"
        )
    if parts := figures["parts"]:
        memory = ""
        if parts["whole_bytes"] is not None:
            memory = f", {parts['parts_bytes'] >> 20} MiB instead of {parts['whole_bytes'] >> 20}"
        yield (
            f"  {parts['tokens']} tokens in parts of {parts['part_tokens']}: {parts['parts_ms']:.1f} ms instead of "
            f"{parts['whole_ms']:.1f}{memory}"
        )
    for each in figures["overlap"]:
        yield (
            f"  window {each['name']}, {each['seen_before']} of {each['pictures']} pictures seen before: "
            f"{each['reused_ms']:.1f} ms instead of {each['anew_ms']:.1f}: x{each['ratio']:.1f}"
        )
    if memory := figures["memory"]:
        yield (
            f"  memory {memory['measured_bytes'] >> 20} MiB, predicted x{memory['ratio']:.3f}"
            f"{'' if memory['within_target'] else ', outside of the target'}"
        )
    if figures["preprocessing_ratio"] is not None:
        yield f"  pictures to tensors x{figures['preprocessing_ratio']:.1f}"
    if figures["vllm_windows_per_s"] is not None:
        yield f"  vLLM {figures['vllm_windows_per_s']:.3f} windows/s, all given at once"
    for name, reason in figures["not_run"].items():
        yield f"  not run: {name}: {reason}"


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "reasoner", "Speed of the reasoner")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
