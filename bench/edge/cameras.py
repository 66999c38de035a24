"""Cameras that the whole box carries: the demo as a user starts it, with more and more of them, event to alert."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bench.edge.limits import RTX_4090, alert_floor_s, prefill_s, step_s
from bench.edge.record import Ask, Figure, Limit

TITLE = "Cameras"
ABOUT = (
    "The demo with simulated cameras of 640x360 and 10 frames/s over RTSP, both models bundled, from an event's "
    "start to the stored alert; the cameras are played by the same box, which costs it as well. A count holds when p95 "
    "is at most 3 s, no window was shed, no coarse frame dropped, and as many of the events are told as with the first "
    "count, or 80 %. On a GPU the most that hold are searched for, the scorer compiled with TensorRT where it is there."
)
AXIS = "cameras"

P95_S = 3.0
SEED = 1
FIRST, MOST = 4, 128
NEAR = 0.1
"""The search ends when the largest count that held and the smallest that did not are this near."""


WELL_TOLD = 0.8
"""Share of the events that is enough whatever the first count told."""
LEAST_TOLD = 0.5
"""A count that tells less than this does not hold, the first one included."""


class Tried(NamedTuple):
    """A count of cameras, whether it held, and the share of its events that was told."""

    cameras: int
    held: bool
    told: float = 1.0


def figures(ask: Ask, say: Callable[[str], None]) -> Iterator[Figure]:
    seconds = 45 if ask.quick else 90
    group = f"{seconds} s each, seed {SEED}"
    tried: list[Tried] = []
    engines, passed_over = ready(say) if ask.device == "cuda" else ("", "")
    while (count := _next(ask, tried)) is not None:
        say(f"{count} {'camera' if count == 1 else 'cameras'} for {seconds} s; scenes are rendered first")
        began_s = time.monotonic()
        found = measure(count, seconds, engines)
        held, why_not = holds(found, tried[0].told if tried else None)
        tried.append(Tried(count, held, told_share(found)))
        yield from _rows(group, count, found, held, why_not, time.monotonic() - began_s)
    best = max((one.cameras for one in tried if one.held), default=0)
    counts = ", ".join(str(one.cameras) for one in tried)
    yield Figure(
        group=group,
        series=f"most cameras with p95 <= {P95_S:g} s, nothing shed or dropped",
        value=best,
        unit="cameras",
        details={
            "tried": counts,
            "searched": ask.device == "cuda",
            "cores": os.cpu_count() or 0,
            "engine": found["engine"],
            **({"passed_over": passed_over} if passed_over else {}),
        },
    )


def ready(say: Callable[[str], None]) -> tuple[str, str]:
    """The folder with the bundled scorer's fp16 engine, compiled on the first run, as the demo itself compiles none;
    else the folder and why TensorRT is passed over."""
    from bench.shelf import shipped
    from detector import compilation
    from detector.engines.compiled import current
    from detector.engines.shelf import Shelf
    from detector.errors import DetectorError
    from detector.folder import read_folder

    folder, shelf = read_folder("bundled"), Shelf(shipped())
    try:
        wanted = compilation.here(folder, "fp16")
        say("compiling the bundled scorer in fp16, once")
        current(folder, wanted, shelf, shelf.find(wanted), build=True)
    except DetectorError as error:
        say(f"TensorRT is passed over: {error}")
        return str(shelf.path), f"TensorRT ({' '.join(str(error).split())[:200]})"
    return str(shelf.path), ""


def measure(cameras: int, seconds: int, engines: str = "") -> dict[str, Any]:
    """As `python -m bench latency`. Raises RuntimeError when the demo fails."""
    from bench import latency

    return latency.run(argparse.Namespace(cameras=cameras, seconds=seconds, seed=SEED), engines)


def _next(ask: Ask, tried: Sequence[Tried]) -> int | None:
    if ask.device == "cuda":
        return next_count(tried)
    few = (1, 2) if ask.quick else (1, 2, 4)
    return few[len(tried)] if len(tried) < len(few) else None


def next_count(tried: Sequence[Tried], first: int = FIRST, most: int = MOST) -> int | None:
    """The count to try next: doubled until one fails, then halfway between; None when it is found."""
    held = max((one.cameras for one in tried if one.held), default=0)
    failed = min((one.cameras for one in tried if not one.held and one.cameras > held), default=None)
    if not tried:
        return first
    if failed is None:
        return None if held >= most else min(2 * held, most)
    between = (held + failed) // 2
    return None if failed - held <= max(1.0, NEAR * failed) or between == held else between


def told_share(found: dict[str, Any]) -> float:
    """Of the events that happened; 0 when none did."""
    return found["matched"] / found["events"] if found["events"] else 0.0


def holds(found: dict[str, Any], first_told: float | None = None) -> tuple[bool, str]:
    """Whether the bound held, and if not, why. Latency is that of told events alone: what a box under load misses or
    drops must not make it look quick.

    found: of `bench latency`. first_told: share of the events that the first count told; None: this is the first.
    """
    reasons = []
    least = LEAST_TOLD if first_told is None else max(LEAST_TOLD, min(WELL_TOLD, first_told))
    if found["p95_s"] is None:
        reasons.append("no event was told")
    elif found["p95_s"] > P95_S:
        reasons.append(f"p95 {found['p95_s']:.2f} s")
    if found["matched"] and told_share(found) < least:
        reasons.append(f"{found['matched']} of {found['events']} events told, {100 * least:.0f} % wanted")
    if found["windows"]["shed"]:
        reasons.append(f"{found['windows']['shed']} windows shed")
    if lost := found["dropped_frames"] + found["unscored_frames"]:
        reasons.append(f"{lost} coarse frames dropped")
    return not reasons, ", ".join(reasons)


def _rows(group: str, cameras: int, found: dict[str, Any], held: bool, why_not: str, wall_s: float) -> Iterator[Figure]:
    details: dict[str, float | int | str | bool] = {
        "held": held,
        "events": found["events"],
        "told": found["matched"],
        "false": found["false"],
        "windows": found["windows"]["flagged"],
        "shed": found["windows"]["shed"],
        "dropped_frames": found["dropped_frames"] + found["unscored_frames"],
        "engine": found["engine"],
        "wall_s": round(wall_s, 1),
    }
    if why_not:
        details["why_not"] = why_not
    for key, series in (("p50_s", "p50"), ("p95_s", "p95")):
        value = found[key]
        yield Figure(
            group=group,
            series=f"event to alert, {series}",
            at=cameras,
            value=value,
            unit="s",
            limit=_floor(),
            not_run="" if value is not None else f"no event was told; {found['events']} happened",
            details=details if series == "p95" else {},
        )


def _floor() -> Limit:
    """Of the mean, with the 8B reasoner in fp8 on an RTX 4090 and a key frame a second."""
    from bench.edge.limits import QWEN3_VL_8B, window_flops

    read = prefill_s(window_flops(QWEN3_VL_8B, 448, 448, 20), RTX_4090, "fp8")
    write = 60 * step_s(QWEN3_VL_8B, RTX_4090, 2250, 1, "fp8")
    floor = alert_floor_s(1.0, read, write)
    formula = (
        "mean of 1 s/2 wait + 0.2 camera + 0.04 score + 0.18 fetch + 0.01 prepare"
        f" + {read:.2f} read + {write:.2f} write + 0.02 publish"
    )
    return Limit(value=floor, of="RTX 4090 with the 8B in fp8", formula=formula, here=False, floor=True)
