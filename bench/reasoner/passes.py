"""The model's passes by themselves: reading a prompt, whole and in parts, and writing a token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.reasoner.figures import Parts, Passes
from bench.roofline import Ceiling, decode_bytes, prefill_flops, timed, vision_flops
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject
    from reasoner.backends.local import LocalBackend
    from reasoner.backends.prompted import Prompted
    from reasoner.backends.writing import Writing

ROWS = (1, 4, 8, 16)
"""Windows that are given a token together."""
PART_TOKENS = 2048
"""As shipped for a GPU."""
LEAST_PARTS = 4
"""Of a prompt that is shorter than that."""
TURNS = 3


def reading(model: Subject, ask: Ask, device: str, top: Ceiling) -> Passes:
    """The best of a few, of what is on by itself."""
    import torch

    backend, prompt = _ready(model, ask, 1)
    scheduler, config = backend.scheduler, backend.model.config
    assert scheduler is not None

    def read() -> None:
        scheduler.decoder.prefill(prompt, scheduler.features.of(prompt.pictures), 0)

    flops = prefill_flops(config, prompt.length) + sum(
        vision_flops(config, len(shown.patches)) for shown in prompt.pictures
    )
    with torch.inference_mode():
        read_s = min(timed(read, device) for _ in range(4))
    return _shares(1, prompt.length, read_s, flops / read_s, top.flops, top.peak_flops)


def writing(model: Subject, ask: Ask, device: str, top: Ceiling, rows: int) -> Passes:
    """The best of a few steps for so many windows, each as long as this one."""
    import torch

    backend, prompt = _ready(model, ask, rows)
    scheduler, config = backend.scheduler, backend.model.config
    assert scheduler is not None
    together = scheduler.decoder.together if scheduler.graphs is None else scheduler.graphs.together

    def write() -> None:
        together([[0]] * rows, [prompt.length] * rows, [prompt.next_position] * rows)

    with torch.inference_mode():
        write()
        write_s = min(timed(write, device) for _ in range(6))
    rate = decode_bytes(config, rows, prompt.length, backend.model.dtype.itemsize) / write_s
    return _shares(rows, rows, write_s, rate, top.bytes_per_s, top.peak_bytes_per_s)


def parts(model: Subject, ask: Ask, device: str) -> Parts:
    """One prompt whole and in parts, in turns; the first of each is thrown away."""
    backends, prompt = [], _ready(model, ask, 1)[1]
    part_tokens = PART_TOKENS if prompt.length > PART_TOKENS else -(-prompt.length // LEAST_PARTS)
    for tokens in (0, part_tokens):
        backends.append(model.load(SpeedConfig(features_mib=0, prefix_mib=0, prefill_tokens=tokens)))
        first_token(backends[-1], ask)
    taken: list[list[float]] = [[], []]
    held: list[list[int]] = [[], []]
    tops: list[Writing] = []
    for _ in range(TURNS):
        for index, backend in enumerate(backends):
            before = _held(device)
            said, seconds = clocked(partial(first_token, backend, ask), device)
            taken[index].append(seconds)
            tops.append(said)
            if before is not None:
                held[index].append(_most(device) - before)
    (whole_s, parts_s), (whole, in_parts) = map(median, taken), (max(each, default=None) for each in held)
    return Parts(
        tokens=prompt.length,
        part_tokens=part_tokens,
        whole_ms=1000 * whole_s,
        parts_ms=1000 * parts_s,
        ratio=whole_s / parts_s,
        whole_bytes=whole,
        parts_bytes=in_parts,
        max_logprob_difference=apart(tops[0], tops[1]),
    )


def first_token(backend: LocalBackend, ask: Ask) -> Writing:
    """To the first token, for what comes after costs the same either way."""
    from reasoner.backends.writing import Writing

    scheduler = backend.scheduler
    assert scheduler is not None
    made = Writing(backend.prompt(*ask), 1, frozenset())
    scheduler.answer(made)
    return made


def clocked(work: Callable[[], Writing], device: str) -> tuple[Writing, float]:
    made: list[Writing] = []
    seconds = timed(lambda: made.append(work()), device)
    return made[0], seconds


def apart(one: Writing, other: Writing) -> float:
    """Largest difference of the log-probabilities of the likeliest first tokens."""
    return max(abs(a - b) for a, b in zip(one.tops[0][0], other.tops[0][0], strict=True))


def _ready(model: Subject, ask: Ask, rows: int) -> tuple[LocalBackend, Prompted]:
    backend = model.load(SpeedConfig(features_mib=0, prefix_mib=0))
    assert backend.scheduler is not None
    prompt = backend.prompt(*ask)
    backend.scheduler.decoder.slots.make_room(rows, prompt.length + 64)
    return backend, prompt


def _shares(callers: int, tokens: int, seconds: float, rate: float, most: float, peak: float | None) -> Passes:
    return Passes(
        callers=callers,
        tokens=tokens,
        ms=1000 * seconds,
        share_of_measured=rate / most,
        share_of_peak=None if peak is None else rate / peak,
    )


def _held(device: str) -> int | None:
    """Bytes that are held on the card now, from which on the most are counted; none on a CPU."""
    if device == "cpu":
        return None
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _most(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated(device)
