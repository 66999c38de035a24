"""The reasoner's speed: plain `generate` and each switch after the other, in one run, on the same windows.

Every way of running answers the same windows, in turns with `generate`, so that both have the machine's good and bad
minutes; medians count, and the first answers of each are thrown away as warm-up, on other windows. Switches are added
one by one, so that a row shows what the last one brought; the last rows have several callers at once. A row that fails
is named with its reason and costs no other. On a CPU times are CPU time with one thread, for others may be at work; on
a GPU wall time. Random weights of a true shape give true times and answers without meaning.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.reasoner.peers import Questions
    from bench.reasoner.trial import Trials
    from bench.windows import Ask, Dtype, Subject

GROWN_TO = 20
"""Pictures of a window that is drawn, and of one that has grown."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="bundled", help="bundled, qwen3-vl-2b|4b|8b (random weights), a folder or a pulled name"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="numbers of the model (default: bfloat16 on a GPU, float32 on a CPU)",
    )
    parser.add_argument("--windows", type=int, default=48, help="windows to answer (default 48)")
    parser.add_argument("--rounds", type=int, default=3, help="turns, each with a share of the windows (default 3)")
    parser.add_argument("--new-tokens", type=int, default=96, help="longest answer (default 96)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import msgspec
    import torch

    from bench.reasoner import peers
    from bench.reasoner.figures import Figures
    from bench.reasoner.trial import Trials
    from bench.windows import subject

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    usual: Dtype = "float32" if device == "cpu" else "bfloat16"
    dtype: Dtype = usual if options.dtype == "auto" else options.dtype
    if device == "cpu":
        torch.set_num_threads(1)
    trials = Trials(device)
    measured, asked = _ours(subject(options.model, device, dtype, options.new_tokens), device, options, trials)
    if asked is not None:
        # Last, when our model has left the card.
        trials.free()
        measured["vllm_windows_per_s"] = trials.run("vLLM", partial(peers.vllm, asked))
    return dict(msgspec.to_builtins(Figures(**measured, dtype=dtype, not_run=trials.not_run)))


def _ours(
    model: Subject, device: str, options: argparse.Namespace, trials: Trials
) -> tuple[dict[str, Any], Questions | None]:
    """All figures of our model, which nothing holds afterwards, and what vLLM is to be asked then."""
    import torch

    from bench.reasoner import overlap, passes, peak, peers
    from bench.reasoner.ways import CALLERS, ways
    from bench.roofline import ceiling

    top = ceiling(device, model.model.dtype)
    count, warm = options.windows, max(2, options.windows // 2, 1 if device == "cpu" else max(CALLERS))
    asks = _windows(model, count + warm)
    asks, warming = asks[:count], asks[count:]
    rows, outputs = ways(model, asks, warming, device, options.rounds, trials)
    # From here on with what is on when nothing is set.
    writing = [
        trials.run(f"writing, {each} at once", partial(passes.writing, model, asks[0], device, top, each))
        for each in passes.ROWS
    ]
    group = 2 if model.folder.notes is not None and model.folder.notes.pairing == "motion" else 1
    follows = (overlap.grown(GROWN_TO), overlap.slid().of(group))
    overlaps = [
        trials.run(f"window {each.name}", partial(overlap.overlap, model, device, each)) for each in follows
    ]  # fmt: skip
    gpu = device != "cpu"
    measured: dict[str, Any] = {
        "model": options.model,
        "weights": "random, of the true shape" if model.random else "as trained",
        "device": torch.cuda.get_device_name(device) if gpu else "cpu",
        "windows": count,
        "rounds": options.rounds,
        "tokens_in": fmean(output.tokens_in for output in outputs) if outputs else None,
        "tokens_out": fmean(output.tokens_out for output in outputs) if outputs else None,
        "ways": rows,
        "reading": trials.run("reading", partial(passes.reading, model, asks[0], device, top)),
        "writing": tuple(row for row in writing if row is not None),
        "parts": trials.run("prompt in parts", partial(passes.parts, model, asks[0], device)),
        "overlap": tuple(row for row in overlaps if row is not None),
        "preprocessing_ratio": trials.run("transformers' video processor", peers.preprocessing),
        "memory": trials.run("memory", partial(peak.peak, model, device)) if gpu else None,
        "measured_tflops": top.flops / 1e12,
        "measured_gb_per_s": top.bytes_per_s / 1e9,
        "vllm_windows_per_s": None,
    }
    return measured, trials.run("vLLM", partial(peers.questions, model, asks))


def _windows(model: Subject, count: int) -> list[Ask]:
    """Of scenes where the model knows what it sees there, else of random pictures."""
    from bench.windows import drawn, staged

    backend = model.load(SpeedConfig(plain=True))
    if backend.notes is not None and backend.notes.pairing == "motion":
        return staged(backend, count)
    return [drawn(backend, GROWN_TO, seed) for seed in range(count)]


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The table that is printed without --json."""
    from bench.reasoner.figures import lines as table

    return table(figures)
