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
    """`generate`, then what was switched on, each row with all of the rows before."""
    callers: int
    windows_per_s: float
    ratio: float
    """To `generate`."""
    same_answers: int
    """Windows whose text is that of `generate`."""
    max_logprob_difference: float | None
    """Over the tokens of these; none without any."""


class Passes(msgspec.Struct, frozen=True, kw_only=True):
    """Of the model's passes by themselves."""

    callers: int
    tokens: int
    ms: float
    share_of_measured: float
    """Of FLOP/s (reading) or bytes/s (writing) that this device reached in this run on one large product or copy."""
    share_of_peak: float | None
    """Of the published figure; none on a CPU."""


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """A window of 20 pictures of which 19 were seen before, to its first token."""

    anew_ms: float
    reused_ms: float
    ratio: float
    target_ratio: float = 5.0
    max_logprob_difference: float
    other_question_ms: float
    """The same pictures asked about something else."""


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the device while `callers` windows are written together."""

    callers: int
    measured_bytes: int
    predicted_bytes: int
    ratio: float
    """Predicted to measured."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured."""

    model: str
    weights: str
    """`as trained`, or `random, of the true shape`."""
    device: str
    dtype: str
    windows: int
    tokens_in: float
    tokens_out: float
    """Means of a window."""
    ways: tuple[Way, ...]
    target_ratio: float = 3.0
    reading: Passes
    """Vision tower and prompt of one window."""
    writing: tuple[Passes, ...]
    """One token for each of several windows."""
    overlap: Overlap
    preprocessing_ratio: float | None
    """To transformers' video processor, of which bench `processor` tells more; none where that cannot be built."""
    preprocessing_target_ratio: float = 10.0
    memory: Peak | None
    """None on a CPU, where torch does not count."""
    measured_tflops: float
    measured_gb_per_s: float
    vllm: str


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line per way, then the passes."""
    yield f"  {figures['model']} ({figures['weights']}) on {figures['device']}, {figures['dtype']}"
    for way in figures["ways"]:
        yield (
            f"  {way['name']:20} {way['callers']:3} at once  {way['windows_per_s']:8.3f} windows/s  "
            f"x{way['ratio']:.2f}  {way['same_answers']} of {figures['windows']} alike"
        )
    for name, part in (("reading", figures["reading"]), *(("writing", each) for each in figures["writing"])):
        yield (
            f"  {name} {part['callers']:3} at once  {part['ms']:9.2f} ms  "
            f"{100 * part['share_of_measured']:.0f} % of what this device reached"
        )
    overlap = figures["overlap"]
    yield f"  grown window {overlap['reused_ms']:.1f} ms instead of {overlap['anew_ms']:.1f}: x{overlap['ratio']:.1f}"
    yield f"  pictures to tensors x{figures['preprocessing_ratio'] or 0:.1f}; vLLM {figures['vllm']}"


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "reasoner", "Speed of the reasoner")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
