"""What a worker process does. The models are loaded with its first task, so that their errors reach whoever waits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from bench.accuracy.models import Models, Wanted
from bench.accuracy.plan import Clip
from bench.accuracy.row import ClipRow, Watched
from bench.accuracy.sweep import Thresholds
from detector.config import GateConfig
from detector.rule import Rule

_wanted: list[Wanted] = []


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured."""

    rules: tuple[Rule, ...]
    """Those that both models serve."""
    thresholds: Thresholds
    gate: GateConfig
    scorer: str
    reasoner: str


def prepare(wanted: Wanted) -> None:
    """First call in a fresh process."""
    _wanted.append(wanted)


@cache
def _models() -> Models:
    return Models(_wanted[-1])


def about() -> About:
    models = _models()
    return About(
        rules=models.rules,
        thresholds=Thresholds(tuple(models.scorer().thresholds.tolist()), models.strict()),
        gate=models.detector.gate,
        scorer=models.folder.record.name,
        reasoner=models.reasoner.backend.name,
    )


def clip_row(clip: Clip, save: Path | None) -> ClipRow:
    from bench.accuracy.clip import measure

    return measure(clip, _models(), save)


def quiet_row(run: int, number: int) -> Watched:
    from bench.accuracy.clip import measure_quiet

    return measure_quiet(run, number, _models())
