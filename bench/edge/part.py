"""One part in a process of its own: what it measures is kept as it comes, whatever becomes of the process.

The child is `python -m bench.edge.child`; each line that it writes is a figure. It leads a process group, which is
ended as a whole when the part's time is up.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

import msgspec

from bench.edge.power import Meter, Sensor
from bench.edge.record import FAILED, Ask, Figure, Part, PartName, Status

GRACE_S = 5.0
TAIL = 40
"""Last lines of a child's stderr that are looked through for the reason of its end."""

Say = Callable[[str], None]


def run_part(name: PartName, ask: Ask, limit_s: float, gpu: Sensor | str, say: Say) -> Part:
    """Never raises for what the part does; its status and reason tell."""
    module = importlib.import_module(f"bench.edge.{name}")
    command = [sys.executable, "-m", "bench.edge.child", name, msgspec.json.encode(ask).decode()]
    load, began_s = os.getloadavg()[0], time.monotonic()
    figures: list[Figure] = []
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        readers = [
            threading.Thread(target=_figures, args=(child.stdout, figures, say), daemon=True),
            threading.Thread(target=_lines, args=(child.stderr, tail, say), daemon=True),
        ]
        for reader in readers:
            reader.start()
        with Meter(child.pid, gpu) as meter:
            try:
                child.wait(limit_s)
                timed_out = False
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                _end(child)
        for reader in readers:
            reader.join(GRACE_S)
    status, reason = _ended(child.returncode, timed_out, limit_s, tail, figures)
    return Part(
        name=name,
        title=module.TITLE,
        about=module.ABOUT,
        axis=module.AXIS,
        status=status,
        reason=reason,
        seconds=round(time.monotonic() - began_s, 1),
        load=round(load, 2),
        command=f"python -m bench edge --only {name} --device {ask.device}{' --quick' if ask.quick else ''}",
        figures=tuple(figures),
        power=meter.power(),
    )


def _end(child: subprocess.Popen[str]) -> None:
    """The child and what it started, asked first."""
    for number, grace_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _figures(stream: IO[str], figures: list[Figure], say: Say) -> None:
    for line in stream:
        figure = msgspec.json.decode(line, type=Figure)
        figures.append(figure)
        say(f"  {told(figure)}")


def _lines(stream: IO[str], tail: deque[str], say: Say) -> None:
    for line in stream:
        if text := line.strip():
            tail.append(text)
            say(f"  . {text[:160]}")


def _ended(code: int, timed_out: bool, limit_s: float, tail: deque[str], figures: list[Figure]) -> tuple[Status, str]:
    if timed_out:
        return "stopped", f"its {limit_s:.0f} s were up; --part-limit gives it more"
    if code:
        last = next((line for line in reversed(tail) if line), "")
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return "failed", f"{how}{f': {last[:200]}' if last else ''}"
    if failed := [figure for figure in figures if figure.not_run.startswith(FAILED)]:
        return "failed", f"{len(failed)} of {len(figures)} figures; {failed[0].series}: {failed[0].not_run}"
    if figures and all(figure.not_run for figure in figures):
        return "not run", figures[0].not_run
    return ("ran", "") if figures else ("not run", "it had nothing to measure here")


def told(figure: Figure) -> str:
    """A figure in a line."""
    at = "" if figure.at is None else f" [{figure.at:g}]"
    if figure.value is None:
        return f"{figure.group}, {figure.series}{at}: not run: {figure.not_run}"
    share = "" if figure.share is None else f", {100 * figure.share:.0f} % of the limit"
    return f"{figure.group}, {figure.series}{at}: {figure.value:.4g} {figure.unit}{share}"
