"""Windows a second of the reasoner: the bundled model, released checkpoints that are here, else their true shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from bench.edge.limits import Peaks, Weights, peaks_of, prefill_s, step_s, windows_per_s
from bench.edge.record import Ask, Figure, Limit

if TYPE_CHECKING:
    from bench.windows import Ask as Question
    from reasoner.backends.local import LocalBackend
    from reasoner.backends.prompted import Prompted

TITLE = "Reasoner"
ABOUT = (
    "Windows with pictures that no earlier window had, from pixels in memory to text, through the product's own loop; "
    "what is kept between windows is switched off. First token: to the verdict. Whole answer: all that the model "
    "writes, or 60 tokens. On a CPU by CPU time with one thread. The limit is the vision tower's and the prompt's "
    "operations over the peak, and for each further token all weights, keys and values over the memory's bandwidth."
)
AXIS = "callers"

NEW_TOKENS = 60
FRAMES = 20
RELEASED = {
    "Qwen/Qwen3-VL-2B-Instruct": "qwen3-vl-2b",
    "Qwen/Qwen3-VL-4B-Instruct": "qwen3-vl-4b",
    "Qwen/Qwen3-VL-8B-Instruct": "qwen3-vl-8b",
    "Qwen/Qwen3-VL-8B-Instruct-FP8": "",
}
"""Checkpoints, and the shape that stands in where one is not here; empty: nothing does."""
TRAINED_TOKENS = 192


class Subject(NamedTuple):
    """One model as it is loaded."""

    group: str
    name: str
    new_tokens: int
    weights: Weights = "bf16"


def figures(ask: Ask, say: Callable[[str], None]) -> Iterator[Figure]:
    import torch

    if ask.device == "cpu":
        torch.set_num_threads(1)
    peaks = _peaks(ask.device)
    yield from _of(Subject("bundled", "bundled", TRAINED_TOKENS), ask, peaks, say)
    for name, shape in RELEASED.items():
        yield from _released(name, shape, ask, peaks, say)


def _released(name: str, shape: str, ask: Ask, peaks: Peaks, say: Callable[[str], None]) -> Iterator[Figure]:
    from reasoner.checkpoint import locate
    from reasoner.errors import ReasonerError

    try:
        locate(name)
        subject = Subject(name, name, NEW_TOKENS, "fp8" if name.endswith("FP8") else "bf16")
    except ReasonerError as error:
        if not shape:
            yield _without(name, str(error))
            return
        subject = Subject(f"{name}'s shape, random weights", shape, NEW_TOKENS)
        if ask.device == "cpu":
            reason = f"the weights are not here (`witness models pull {name}`), and their shape is measured on a GPU"
            yield _without(subject.group, reason)
            return
    if ask.device == "cpu":
        yield _without(name, "released checkpoints are measured on a GPU")
        return
    try:
        yield from _of(subject, ask, peaks, say)
    except (ReasonerError, RuntimeError) as error:
        # One model that does not fit must not cost the next one its figures.
        yield _without(subject.group, " ".join(str(error).split())[:200])


def _without(group: str, reason: str) -> Figure:
    return Figure(group=group, series="whole answer", unit="windows/s", not_run=reason)


def _of(subject: Subject, ask: Ask, peaks: Peaks, say: Callable[[str], None]) -> Iterator[Figure]:
    """First token and whole answer, one caller and several."""
    from bench.roofline import timed
    from bench.windows import at_once, drawn, staged
    from bench.windows import subject as model
    from reasoner.speed import SpeedConfig

    say(f"loading {subject.group}")
    _free()
    made = model(subject.name, ask.device, "float32" if ask.device == "cpu" else "bfloat16", subject.new_tokens)
    backend = made.load(SpeedConfig(features_mib=0, prefix_mib=0))
    gpu = ask.device == "cuda"
    callers_of = (1, 4, 8) if gpu else (1,)
    count = (8 if ask.quick else 24) if gpu else (6 if ask.quick else 16)
    warm = max(callers_of)
    if backend.notes is not None:
        asks = staged(backend, count + warm)
    else:
        asks = [drawn(backend, FRAMES, seed) for seed in range(count + warm)]
    warming, asks = asks[:warm], asks[warm:]
    _first_tokens(backend, warming[:1])
    first_s = timed(lambda: _first_tokens(backend, asks), ask.device)
    prompt = _prompt(backend, asks[0])
    yield Figure(
        group=subject.group,
        series="first token",
        at=1,
        value=len(asks) / first_s,
        unit="windows/s",
        limit=_limit(backend, prompt, peaks, 1, 1, subject.weights),
        details={
            "ms_per_window": round(1000 * first_s / len(asks), 1),
            "tokens_in": prompt.length,
            "windows": len(asks),
        },
    )
    for number in at_once(warm):
        _answers(backend, warming[:number], number)
    for callers in callers_of:
        say(f"{subject.group}: {callers} at once")
        written: list[int] = []
        seconds = timed(lambda: written.extend(_answers(backend, asks, callers)), ask.device)  # noqa: B023
        out = sum(written) / len(written)
        yield Figure(
            group=subject.group,
            series="whole answer",
            at=callers,
            value=len(asks) / seconds,
            unit="windows/s",
            limit=_limit(backend, prompt, peaks, round(out), callers, subject.weights),
            details={
                "ms_per_window": round(1000 * seconds / len(asks), 1),
                "tokens_in": prompt.length,
                "tokens_out": round(out, 1),
                "windows": len(asks),
            },
        )
    backend.close()


def _free() -> None:
    """What the model before left on the card."""
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _answers(backend: LocalBackend, asks: Sequence[Question], callers: int) -> list[int]:
    """Tokens of each answer."""
    with ThreadPoolExecutor(callers) as pool:
        return [output.tokens_out for output in pool.map(lambda one: backend.answer(*one), asks)]


def _prompt(backend: LocalBackend, ask: Question) -> Prompted:
    return backend.prompt(*ask)


def _first_tokens(backend: LocalBackend, asks: Sequence[Question]) -> None:
    from reasoner.backends.writing import Writing

    assert backend.scheduler is not None
    for one in asks:
        backend.scheduler.answer(Writing(_prompt(backend, one), 1, frozenset()))


def _peaks(device: str) -> Peaks:
    """Published ones where the card is known, else what a product and a copy reach here."""
    import torch

    from bench.roofline import ceiling

    if device == "cuda" and (known := peaks_of(torch.cuda.get_device_name())) is not None:
        return known
    top = ceiling(device, torch.float32 if device == "cpu" else torch.bfloat16)
    name = "this core, as measured" if device == "cpu" else "this card, as measured"
    return Peaks(name, top.flops, top.flops, top.flops, top.flops, top.bytes_per_s, 0.0, 0.0)


def _limit(backend: LocalBackend, prompt: Prompted, peaks: Peaks, out: int, callers: int, weights: Weights) -> Limit:
    """Of windows like this one. A small model's weights stay in a CPU's cache: there a token costs its operations."""
    from bench.roofline import prefill_flops, text_parameters, vision_flops

    config = backend.model.config
    vision = sum(vision_flops(config, len(shown.patches)) for shown in prompt.pictures)
    flops = (vision, prefill_flops(config, prompt.length))
    read = prefill_s(flops, peaks, weights)
    if backend.model.device.type == "cpu":
        text = config.get_text_config()
        step = 2 * (text_parameters(config) + text.hidden_size * text.vocab_size) / peaks.fp32
        value = windows_per_s(read, step, out)
    else:
        step = step_s(config, peaks, prompt.length, callers, weights)
        value = windows_per_s(read, step, out, callers)
    formula = f"{sum(flops) / 1e12:.3g} TFLOP of vision and prompt in {1000 * read:.3g} ms"
    if out > 1:
        formula += f", {out} steps of {1000 * step:.3g} ms" + (f" for {callers} windows" if callers > 1 else "")
    return Limit(value=value, of=peaks.name, formula=formula)
