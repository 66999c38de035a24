"""Each way of running the model answers the same windows, in turns with plain `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.reasoner.figures import Way
from bench.reasoner.trial import Trials
from bench.roofline import timed
from reasoner.parse import parse
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
PLAIN = "generate"
_FAR_S = 3600.0
"""Later than any time that an answer states."""


class Step(NamedTuple):
    """One row to come."""

    name: str
    speed: SpeedConfig
    callers: int = 1
    early_exit: bool = False

    @property
    def label(self) -> str:
        """Its name among all rows."""
        return self.name if self.callers == 1 else f"{self.name} {self.callers} at once"


class Plain:
    """`generate` on the same windows: what it says, and again and again how long it takes."""

    def __init__(self, model: Subject, parts: Sequence[Sequence[Ask]], warming: Sequence[Ask], device: str) -> None:
        self._backend = model.load(SpeedConfig(plain=True))
        self._parts, self._device = parts, device
        answered(self._backend, warming[:1], (), 1, device)
        self.said: list[list[Output]] = []
        self.rates: list[float] = []
        """Windows/s, of each time a part was answered."""
        for part in parts:
            outputs, seconds = answered(self._backend, part, (), 1, device)
            self.said.append(outputs)
            self.rates.append(len(part) / seconds)

    def again(self, index: int) -> float:
        """Windows/s of one part, now."""
        _, seconds = answered(self._backend, self._parts[index], (), 1, self._device)
        self.rates.append(len(self._parts[index]) / seconds)
        return self.rates[-1]

    def row(self) -> Way:
        rate, said = median(self.rates), [output for part in self.said for output in part]
        return Way(
            name=PLAIN,
            callers=1,
            windows_per_s=rate,
            generate_per_s=rate,
            ratio=1.0,
            same_answers=len(said),
            same_verdicts=len(said),
            tokens_out=fmean(output.tokens_out for output in said),
            max_logprob_difference=0.0,
        )


def steps(gpu: bool) -> Iterator[Step]:
    """The rows after `generate`, each with what the ones before switched on."""
    switches = dict(OFF)
    added: list[tuple[str, dict[str, Any]]] = [
        ("own loop", {}),
        ("+ patch product", {"patch_product": True}),
        *((("+ patches cut there", {"device_patches": True}),) if gpu else ()),
        ("+ features kept", {"features_mib": 256}),
        ("+ prefixes kept", {"prefix_mib": 2048 if gpu else 64}),
        # On a CPU a prompt is read whole unless set otherwise; `parts` measures it there.
        *((("+ prompt in parts", {"prefill_tokens": 2048}),) if gpu else ()),
        ("+ graphs" if gpu else "+ drafts", {"graphs": True} if gpu else {"draft_tokens": 12}),
    ]
    for name, more in added:
        switches |= more
        yield Step(name, SpeedConfig(**switches))
    # Off as shipped, for it changes what a no looks like.
    yield Step("+ early exit, here only", SpeedConfig(**switches), early_exit=True)
    for callers in CALLERS:
        yield Step("+ together", SpeedConfig(**switches | {"together": callers}), callers)


def ways(
    model: Subject, asks: Sequence[Ask], warming: Sequence[Ask], device: str, rounds: int, trials: Trials
) -> tuple[tuple[Way, ...], list[Output]]:
    """Rows that could be run, and what `generate` said.

    The windows are dealt out to the rounds, for one that comes back would be known: each row answers a round's share
    and then `generate` does, so that a machine that slows down slows both.
    """
    parts = [asks[first::rounds] for first in range(min(rounds, len(asks)))]
    plain = trials.run(PLAIN, lambda: Plain(model, parts, warming, device))
    rows = [
        trials.run(step.label, partial(_row, step, model, parts, warming, device, plain))
        for step in steps(device != "cpu")
    ]
    first, said = ([plain.row()], [one for part in plain.said for one in part]) if plain is not None else ([], [])
    return (*first, *(row for row in rows if row is not None)), said


def _row(
    step: Step,
    model: Subject,
    parts: Sequence[Sequence[Ask]],
    warming: Sequence[Ask],
    device: str,
    plain: Plain | None,
) -> Way:
    backend = model.load(step.speed, early_exit=step.early_exit)
    rates, beside, outputs = [], [], []
    for index, part in enumerate(parts):
        said, seconds = answered(backend, part, () if index else warming, step.callers, device)
        outputs += said
        rates.append(len(part) / seconds)
        if plain is not None:
            beside.append(plain.again(index))
    backend.close()
    expected = None if plain is None else [output for part in plain.said for output in part]
    return _way(step, median(rates), median(beside) if beside else None, outputs, expected)


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
    step: Step, rate: float, plain_rate: float | None, outputs: Sequence[Output], expected: Sequence[Output] | None
) -> Way:
    pairs = [] if expected is None else list(zip(outputs, expected, strict=True))
    same = [(one, other) for one, other in pairs if one.text == other.text]
    off = [
        abs(a.logprob - b.logprob) for one, other in same for a, b in zip(one.tokens, other.tokens, strict=True)
    ]  # fmt: skip
    return Way(
        name=step.name,
        callers=step.callers,
        windows_per_s=rate,
        generate_per_s=plain_rate,
        ratio=None if plain_rate is None else rate / plain_rate,
        same_answers=None if expected is None else len(same),
        same_verdicts=None if expected is None else sum(_yes(one) == _yes(other) for one, other in pairs),
        tokens_out=fmean(output.tokens_out for output in outputs),
        max_logprob_difference=max(off, default=None),
    )


def _yes(output: Output) -> bool | None:
    return parse(output.text, _FAR_S).yes
