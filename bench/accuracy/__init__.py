"""The bundled models, or any others, on freshly rendered scenes of unseen seeds, through the code of the live line.

Every second clip has one event, the categories in turn; the others have look-alikes, people who walk, or nobody. Each
is encoded as the simulated cameras encode, demultiplexed into a ring, watched by the scorer and the gate with the rules
of `deploy/examples/demo-rules.toml`, judged by the reasoner and decided by the policy, in one process per clip and
faster than its time. What each figure means stands at its field in `figures.py`, at `ablation.py` and at `sweep.py`.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import report

if TYPE_CHECKING:
    from bench.accuracy.models import Wanted
    from bench.accuracy.plan import Clip
    from bench.accuracy.row import ClipRow, Watched

QUIET_MINUTES = 20.0
WORKERS = 2
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="any number; the scenes are unseen by every training")
    parser.add_argument(
        "--clips", type=report.positive, default=60, help="clips, half of them with an event (default 60)"
    )
    parser.add_argument("--model", default="bundled", metavar="FOLDER", help="the reasoner (default: the bundled one)")
    parser.add_argument("--scorer", default="bundled", metavar="FOLDER", help="the scorer (default: the bundled one)")
    parser.add_argument("--labels", type=_names, default=(), metavar="A,B", help="only these categories of event")
    parser.add_argument("--save", type=Path, metavar="DIR", help="a row per clip and a picture sheet per mistake")
    parser.add_argument(
        "--quiet-minutes",
        type=float,
        default=QUIET_MINUTES,
        help=f"least quiet camera time that the scorer sees (default {QUIET_MINUTES:g})",
    )
    parser.add_argument("--workers", type=report.positive, default=WORKERS, help=f"processes (default {WORKERS})")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Raises SystemExit with one line for models that cannot be opened and labels that the world does not have."""
    import msgspec

    from bench.accuracy.figures import figures
    from bench.accuracy.models import Wanted
    from bench.accuracy.plan import plan
    from bench.accuracy.sweep import sweep
    from bench.accuracy.work import about
    from deploy.config import DEMO_RULES, load_rules
    from detector.errors import DetectorError
    from ingest.simulator.world import EVENTS
    from reasoner.errors import ReasonerError

    if unknown := [label for label in options.labels if label not in EVENTS]:
        raise SystemExit(f"--labels {unknown[0]}: the scenes have no such event; there are {', '.join(EVENTS)}")
    labels = [label for label in EVENTS if not options.labels or label in options.labels]
    wanted = Wanted(scorer=options.scorer, reasoner=options.model, rules=load_rules(DEMO_RULES))
    began_s = time.monotonic()
    with _pool(options.workers, wanted) as pool:
        try:
            known = pool.submit(about).result()
        except (DetectorError, ReasonerError) as error:
            raise SystemExit(f"python -m bench accuracy: {error}") from None
        unserved = [label for label in labels if label not in {rule.category for rule in known.rules}]
        if unserved:
            report.note(f"no rule that both models serve for {', '.join(unserved)}: their events will be missed")
        rows = _rows(pool, plan(options.seed, options.clips, labels), options.save)
        quiet = _quiet(pool, options.seed, rows, options.quiet_minutes)
    points = sweep([*(row.watched for row in rows), *quiet], known.rules, known.thresholds, known.gate)
    found = figures(
        options.seed,
        rows,
        quiet,
        points,
        labels=labels,
        unserved=unserved,
        models={"scorer": known.scorer, "reasoner": known.reasoner},
        seconds=time.monotonic() - began_s,
    )
    record: dict[str, Any] = msgspec.to_builtins(found)
    return record


@contextmanager
def _pool(workers: int, wanted: Wanted) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, that load the models with their first task."""
    from bench.accuracy.work import prepare

    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), prepare, (wanted,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _rows(pool: ProcessPoolExecutor, clips: Sequence[Clip], save: Path | None) -> list[ClipRow]:
    """In order of the clips."""
    from bench.accuracy.work import clip_row

    tasks = [pool.submit(clip_row, clip, save) for clip in clips]
    for done, task in enumerate(as_completed(tasks), 1):
        row = task.result()
        alerts = ", ".join(f"{alert.category}{'' if alert.true else ' (false)'}" for alert in row.alerts)
        shown = row.label or " ".join(row.kinds)
        report.note(f"{done}/{len(tasks)} {row.name} {shown}: {alerts or 'no alert'}; {row.work_s:.0f} s")
    return [task.result() for task in tasks]


def _quiet(pool: ProcessPoolExecutor, seed: int, rows: Sequence[ClipRow], minutes: float) -> list[Watched]:
    """As many long quiet scenes for the scorer as the clips leave to be wished for."""
    from bench.accuracy.plan import QUIET_S
    from bench.accuracy.sweep import quiet_s
    from bench.accuracy.work import quiet_row

    left_s = minutes * 60 - sum(quiet_s(row.watched) for row in rows)
    tasks = [pool.submit(quiet_row, seed, number) for number in range(max(0, math.ceil(left_s / QUIET_S)))]
    for done, _ in enumerate(as_completed(tasks), 1):
        report.note(f"quiet scene {done}/{len(tasks)}")
    return [task.result() for task in tasks]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The table that is printed without --json."""
    from bench.accuracy.table import lines as table

    return table(figures)
