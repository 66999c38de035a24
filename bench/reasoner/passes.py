"""The model's passes by themselves: reading a prompt, writing a token, and a window that grows by a picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bench.reasoner.figures import Overlap, Passes
from bench.roofline import Ceiling, decode_bytes, prefill_flops, timed, vision_flops
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject
    from reasoner.backends.local import LocalBackend
    from reasoner.backends.writing import Writing

GROWN_FROM = 19
"""Pictures of the window that grows by one more."""


def passes(model: Subject, ask: Ask, device: str, top: Ceiling) -> tuple[Passes, tuple[Passes, ...]]:
    """The best of a few, one after the other, of what is on by itself."""
    import torch

    backend = model.load(SpeedConfig(features_mib=0, prefix_mib=0))
    scheduler = backend.scheduler
    assert scheduler is not None
    config, decoder, size = backend.model.config, scheduler.decoder, backend.model.dtype.itemsize
    prompt = backend.prompt(*ask)
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


def overlap(model: Subject, device: str) -> Overlap:
    """To the first token, for what comes after costs the same either way."""
    from bench.windows import QUESTIONS, drawn
    from reasoner.backends.writing import Writing

    def first_token(backend: LocalBackend, ask: Ask) -> Writing:
        scheduler = backend.scheduler
        assert scheduler is not None
        prompt = backend.prompt(*ask)
        writing = Writing(prompt, 1, frozenset())
        scheduler.answer(writing)
        return writing

    anew, kept = model.load(SpeedConfig(features_mib=0, prefix_mib=0)), model.load(SpeedConfig(prefix_mib=2048))
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
