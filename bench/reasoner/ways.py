"""Each way of running the model answers the same windows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bench.reasoner.figures import Way
from bench.roofline import timed
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject
    from reasoner.backends import Output
    from reasoner.backends.local import LocalBackend

OFF: dict[str, Any] = {
    "features_mib": 0, "prefix_mib": 0, "together": 1, "prefill_tokens": 0, "graphs": False, "draft_tokens": 0,
    "patch_product": False, "device_patches": False,
}  # fmt: skip
CALLERS = (4, 8, 16)
"""Of the last rows."""


def ways(
    model: Subject, plain: LocalBackend, asks: Sequence[Ask], warming: Sequence[Ask], device: str
) -> tuple[tuple[Way, ...], list[Output]]:
    gpu = device != "cpu"
    expected, plain_s = answered(plain, asks, warming[:1], 1, device)
    rows = [_way("generate", 1, plain_s, plain_s, expected, expected)]
    switches = dict(OFF)
    steps: list[tuple[str, dict[str, Any], int]] = [
        ("own loop", {}, 1),
        ("+ patch product", {"patch_product": True}, 1),
        *((("+ patches cut there", {"device_patches": True}, 1),) if gpu else ()),
        ("+ features kept", {"features_mib": 256}, 1),
        ("+ prefixes kept", {"prefix_mib": 2048 if gpu else 64}, 1),
        ("+ prompt in parts", {"prefill_tokens": 2048}, 1),
        ("+ graphs" if gpu else "+ drafts", {"graphs": True} if gpu else {"draft_tokens": 12}, 1),
        *(("+ together", {"together": callers}, callers) for callers in CALLERS),
    ]
    for name, more, callers in steps:
        switches |= more
        backend = model.load(SpeedConfig(**switches))
        outputs, seconds = answered(backend, asks, warming, callers, device)
        rows.append(_way(name, callers, seconds, plain_s, outputs, expected))
        backend.close()
    return tuple(rows), expected


def answered(
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
        # Without graphs to capture, what the buffers need is there after the largest number; guesses are made of
        # answers.
        for number in at_once(callers) if device != "cpu" else [max(callers, len(warming))]:
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
