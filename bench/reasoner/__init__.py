"""The reasoner's speed: plain `generate` and each switch after the other, in one run, on the same windows.

Every way of running answers the same windows; the first answers of each are thrown away as warm-up, on other windows.
Switches are added one by one, so that a row shows what the last one brought; the last rows have several callers at
once. On a CPU times are CPU time with one thread, for others may be at work; on a GPU wall time. Random weights of a
true shape give true times and answers without meaning.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Dtype


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="bundled", help="bundled, qwen3-vl-2b|4b|8b (random weights), a folder or a pulled name"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--windows", type=int, default=48, help="windows to answer (default 48)")
    parser.add_argument("--new-tokens", type=int, default=96, help="longest answer (default 96)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import msgspec
    import torch

    from bench.reasoner.figures import Figures
    from bench.reasoner.passes import overlap, passes
    from bench.reasoner.peak import peak
    from bench.reasoner.peers import preprocessing, vllm
    from bench.reasoner.ways import CALLERS, ways
    from bench.roofline import ceiling
    from bench.windows import drawn, staged, subject

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype: Dtype = "float32" if device == "cpu" else "bfloat16"
    if device == "cpu":
        torch.set_num_threads(1)
    top = ceiling(device, getattr(torch, dtype))
    model = subject(options.model, device, dtype, options.new_tokens)
    plain = model.load(SpeedConfig(plain=True))
    count, warm = options.windows, max(2, options.windows // 2, 1 if device == "cpu" else max(CALLERS))
    if plain.notes is not None and plain.notes.pairing == "motion":
        asks = staged(plain, count + warm)
    else:
        asks = [drawn(plain, 20, seed) for seed in range(count + warm)]
    asks, warming = asks[:count], asks[count:]
    rows, outputs = ways(model, plain, asks, warming, device)
    # From here on with what is on when nothing is set.
    reading, writing = passes(model, asks[0], device, top)
    figures = Figures(
        model=options.model,
        weights="as trained" if model.random is None else "random, of the true shape",
        device=torch.cuda.get_device_name() if device != "cpu" else "cpu",
        dtype=dtype,
        windows=count,
        tokens_in=sum(output.tokens_in for output in outputs) / count,
        tokens_out=sum(output.tokens_out for output in outputs) / count,
        ways=rows,
        reading=reading,
        writing=writing,
        overlap=overlap(model, device),
        preprocessing_ratio=preprocessing(),
        memory=None if device == "cpu" else peak(model, asks, options.new_tokens, dtype),
        measured_tflops=top.flops / 1e12,
        measured_gb_per_s=top.bytes_per_s / 1e9,
        vllm=vllm(model, asks),
    )
    return dict(msgspec.to_builtins(figures))


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The table that is printed without --json."""
    from bench.reasoner.figures import lines as table

    return table(figures)
