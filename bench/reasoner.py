"""The reasoner's speed: plain `generate` and each switch after the other, in one run, on the same windows.

Every way of running answers the same windows; the first answers of each are thrown away as warm-up, on other windows.
Switches are added one by one, so that a row shows what the last one brought; the last rows have several callers at
once. On a CPU times are CPU time with one thread, for others may be at work; on a GPU wall time. Random weights of a
true shape give true times and answers without meaning.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import report
from bench.roofline import Ceiling, ceiling, decode_bytes, prefill_flops, timed, vision_flops

if TYPE_CHECKING:
    from bench.windows import Ask, Dtype, Subject
    from reasoner.backends import Output
    from reasoner.backends.local import LocalBackend
    from reasoner.backends.writing import Writing

SCHEMA_FILE = Path(__file__).with_name("reasoner.schema.json")
OFF: dict[str, Any] = {
    "features_mib": 0, "prefix_mib": 0, "together": 1, "prefill_tokens": 0, "graphs": False, "draft_tokens": 0,
    "patch_product": False,
}  # fmt: skip
CALLERS = (4, 8, 16)
"""Of the last rows."""
GROWN_FROM = 19
"""Pictures of the window that grows by one more."""


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


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="bundled", help="bundled, qwen3-vl-2b|4b|8b (random weights), a folder or a pulled name"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--windows", type=int, default=16, help="windows to answer (default 16)")
    parser.add_argument("--new-tokens", type=int, default=96, help="longest answer (default 96)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from bench.windows import drawn, staged, subject

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype: Dtype = "float32" if device == "cpu" else "bfloat16"
    if device == "cpu":
        torch.set_num_threads(1)
    top = ceiling(device, getattr(torch, dtype))
    model = subject(options.model, device, dtype, options.new_tokens)
    plain = model.load(_speed(plain=True))
    count, warm = options.windows, max(2, options.windows // 2, 1 if device == "cpu" else max(CALLERS))
    if plain.notes is not None and plain.notes.pairing == "motion":
        asks = staged(plain, count + warm)
    else:
        asks = [drawn(plain, 20, seed) for seed in range(count + warm)]
    asks, warming = asks[:count], asks[count:]
    ways, outputs = _ways(model, plain, asks, warming, device)
    # From here on with what is on when nothing is set.
    reading, writing = _passes(model, asks[0], device, top)
    figures = Figures(
        model=options.model,
        weights="as trained" if model.random is None else "random, of the true shape",
        device=torch.cuda.get_device_name() if device != "cpu" else "cpu",
        dtype=dtype,
        windows=count,
        tokens_in=sum(output.tokens_in for output in outputs) / count,
        tokens_out=sum(output.tokens_out for output in outputs) / count,
        ways=ways,
        reading=reading,
        writing=writing,
        overlap=_overlap(model, device),
        preprocessing_ratio=_preprocessing(),
        memory=None if device == "cpu" else _memory(model, asks, options.new_tokens, dtype),
        measured_tflops=top.flops / 1e12,
        measured_gb_per_s=top.bytes_per_s / 1e9,
        vllm="not run: not installed" if importlib.util.find_spec("vllm") is None else _vllm(model, asks),
    )
    return dict(msgspec.to_builtins(figures))


def _speed(**switches: Any) -> Any:
    from reasoner.speed import SpeedConfig

    return SpeedConfig(**switches)


def _ways(
    model: Subject, plain: LocalBackend, asks: Sequence[Ask], warming: Sequence[Ask], device: str
) -> tuple[tuple[Way, ...], list[Output]]:
    gpu = device != "cpu"
    expected, plain_s = _answered(plain, asks, warming[:1], 1, device)
    rows = [_way("generate", 1, plain_s, plain_s, expected, expected)]
    switches = dict(OFF)
    steps: list[tuple[str, dict[str, Any], int]] = [
        ("own loop", {}, 1),
        ("+ patch product", {"patch_product": True}, 1),
        ("+ features kept", {"features_mib": 256}, 1),
        ("+ prefixes kept", {"prefix_mib": 2048 if gpu else 64}, 1),
        ("+ prompt in parts", {"prefill_tokens": 2048}, 1),
        ("+ graphs" if gpu else "+ drafts", {"graphs": True} if gpu else {"draft_tokens": 12}, 1),
        *(("+ together", {"together": callers}, callers) for callers in CALLERS),
    ]
    for name, more, callers in steps:
        switches |= more
        backend = model.load(_speed(**switches))
        outputs, seconds = _answered(backend, asks, warming, callers, device)
        rows.append(_way(name, callers, seconds, plain_s, outputs, expected))
        backend.close()
    return tuple(rows), expected


def _answered(
    backend: LocalBackend, asks: Sequence[Ask], warming: Sequence[Ask], callers: int, device: str
) -> tuple[list[Output], float]:
    from bench.windows import at_once

    outputs: list[Output] = []

    def all_of(windows: Sequence[Ask]) -> list[Output]:
        if callers == 1:
            return [backend.answer(*ask) for ask in windows]
        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(lambda ask: backend.answer(*ask), windows))

    if callers == 1:
        all_of(warming)
    elif warming:
        # Without graphs to capture, what the buffers need is there after the largest number.
        for number in at_once(callers) if device != "cpu" else [callers]:
            all_of([warming[index % len(warming)] for index in range(number)])
    seconds = timed(lambda: outputs.extend(all_of(asks)), device)
    return outputs, seconds


def _way(
    name: str, callers: int, seconds: float, plain_s: float, outputs: Sequence[Output], expected: Sequence[Output]
) -> Way:
    same = [(one, other) for one, other in zip(outputs, expected, strict=True) if one.text == other.text]
    off = [
        abs(a.logprob - b.logprob) for one, other in same for a, b in zip(one.tokens, other.tokens, strict=True)
    ]  # fmt: skip
    return Way(
        name=name,
        callers=callers,
        windows_per_s=len(outputs) / seconds,
        ratio=plain_s / seconds,
        same_answers=len(same),
        max_logprob_difference=max(off, default=None),
    )


def _passes(model: Subject, ask: Ask, device: str, top: Ceiling) -> tuple[Passes, tuple[Passes, ...]]:
    """The best of a few, one after the other, of what is on by itself."""
    import torch

    from reasoner.backends.prompted import prompted

    backend = model.load(_speed(features_mib=0, prefix_mib=0))
    scheduler = backend.scheduler
    assert scheduler is not None
    config, decoder, size = backend.model.config, scheduler.decoder, backend.model.dtype.itemsize
    prompt = prompted(backend.model, backend.processor.encode(*ask, normalised=False))
    decoder.slots.make_room(16, prompt.length + 64)

    def read() -> None:
        decoder.prefill(prompt, scheduler.features.of(prompt.pictures), 0)

    flops = prefill_flops(config, prompt.length) + sum(
        vision_flops(config, len(shown.patches)) for shown in prompt.pictures
    )
    together = decoder.together if scheduler.graphs is None else scheduler.graphs.together
    writing = []
    with torch.inference_mode():
        read_s = min(timed(read, device) for _ in range(4))
        for rows in (1, 4, 8, 16):

            def write(rows: int = rows) -> None:
                together([[0]] * rows, [prompt.length] * rows, [prompt.next_position] * rows)

            write()
            write_s = min(timed(write, device) for _ in range(6))
            rate = decode_bytes(config, rows, prompt.length, size) / write_s
            peak = top.peak_bytes_per_s
            writing.append(_shares(rows, rows, write_s, rate, top.bytes_per_s, peak))
    reading = _shares(1, prompt.length, read_s, flops / read_s, top.flops, top.peak_flops)
    return reading, tuple(writing)


def _shares(callers: int, tokens: int, seconds: float, rate: float, most: float, peak: float | None) -> Passes:
    return Passes(
        callers=callers,
        tokens=tokens,
        ms=1000 * seconds,
        share_of_measured=rate / most,
        share_of_peak=None if peak is None else rate / peak,
    )


def _overlap(model: Subject, device: str) -> Overlap:
    """To the first token, for what comes after costs the same either way."""
    from bench.windows import QUESTIONS, drawn
    from reasoner.backends.prompted import prompted
    from reasoner.backends.writing import Writing

    def first_token(backend: LocalBackend, ask: Ask) -> Writing:
        scheduler = backend.scheduler
        assert scheduler is not None
        prompt = prompted(backend.model, backend.processor.encode(*ask, normalised=False))
        writing = Writing(prompt, 1, frozenset())
        scheduler.answer(writing)
        return writing

    anew, kept = model.load(_speed(features_mib=0, prefix_mib=0)), model.load(_speed(prefix_mib=2048))
    first_token(anew, drawn(anew, 2, 99))
    anew_s, reused_s, other_s, off = [], [], [], []
    for seed in range(3):
        grown = drawn(anew, GROWN_FROM + 1, seed)
        whole, whole_s = _clocked(partial(first_token, anew, grown), device)
        first_token(kept, drawn(kept, GROWN_FROM, seed))
        part, part_s = _clocked(partial(first_token, kept, grown), device)
        _, question_s = _clocked(partial(first_token, kept, drawn(kept, GROWN_FROM + 1, seed, QUESTIONS[1])), device)
        anew_s.append(whole_s)
        reused_s.append(part_s)
        other_s.append(question_s)
        off += [abs(a - b) for a, b in zip(whole.tops[0][0], part.tops[0][0], strict=True)]
    return Overlap(
        anew_ms=1000 * min(anew_s),
        reused_ms=1000 * min(reused_s),
        ratio=min(anew_s) / min(reused_s),
        max_logprob_difference=max(off),
        other_question_ms=1000 * min(other_s),
    )


def _clocked(work: Callable[[], Writing], device: str) -> tuple[Writing, float]:
    made: list[Writing] = []
    seconds = timed(lambda: made.append(work()), device)
    return made[0], seconds


def _preprocessing() -> float | None:
    from bench import processor

    found = processor.run(argparse.Namespace(frames=20, side=448, rounds=5)).get("ratio")
    return None if found is None else float(found)


def _memory(model: Subject, asks: Sequence[Ask], new_tokens: int, dtype: str) -> Peak:
    """Of eight callers with what is on by itself, but for what is kept between windows."""
    import torch

    from reasoner.fit import predict

    callers = 8
    backend = model.load(_speed(features_mib=0, prefix_mib=0, together=callers))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    _answered(backend, (list(asks) * callers)[:callers], (), callers, "cuda")
    measured = torch.cuda.max_memory_allocated()
    weights = sum(each.numel() * each.element_size() for each in backend.model.parameters())
    height, width = asks[0][1][0].shape[-3:-1]
    size = backend.fitted(width, height)
    predicted = predict(
        backend.model.config.to_dict(), weights, windows=callers, frames=len(asks[0][1]),
        frame_pixels=size[0] * size[1], new_tokens=new_tokens, dtype=dtype, prefill_tokens=2048, images_at_once=1,
    ).tensors  # fmt: skip
    return Peak(
        callers=callers, measured_bytes=measured, predicted_bytes=predicted, ratio=predicted / measured
    )  # fmt: skip


def _vllm(model: Subject, asks: Sequence[Ask]) -> str:
    """Random weights lie in no folder that vLLM could read, and the bundled model's pictures are pairs."""
    if model.random is not None or model.name == "bundled":
        return "not run: it needs a folder of a released checkpoint; give --model one"
    import time

    from PIL import Image
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    backend = model.load(_speed(plain=True))
    engine = LLM(model=model.config.model, limit_mm_per_prompt={"image": len(asks[0][1])}, max_model_len=16384)
    questions = [
        {"prompt": backend.processor.render(said), "multi_modal_data": {"image": [Image.fromarray(p) for p in shown]}}
        for said, shown in asks
    ]
    limit = SamplingParams(temperature=0.0, max_tokens=model.config.max_new_tokens)
    engine.generate(questions[:1], limit)
    start = time.perf_counter()
    engine.generate(questions, limit)
    return f"{len(asks) / (time.perf_counter() - start):.3f} windows/s, all given at once"


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
