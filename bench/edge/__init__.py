"""What one box carries: decoding, scorer, reasoner, cameras, watts and memory, each beside its physical limit.

Parts run one after the other in processes of their own, so that what one of them does to itself costs the others
nothing. The record is written after each part.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.edge.power import Sensor, sensor
from bench.edge.record import Ask, Box, Figures, Part, PartName

NAMES: tuple[PartName, ...] = ("nvdec", "vit", "reasoner", "cameras")
LIMIT_S = {
    ("cpu", True): 240.0,
    ("cpu", False): 900.0,
    ("cuda", True): 1800.0,
    ("cuda", False): 5400.0,
}
"""Of one part, by device and whether it is quick; engines are compiled for a GPU, once."""
BUSY = 0.5
"""Programs per core that wanted it before anything began; from here on the box counts as busy."""
VERSIONS = ("tensorrt", "tensorrt_bindings", "pycuda", "onnxruntime-gpu", "nvidia-ml-py")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write one JSON object, anew after each part; -: print it"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report to look at, anew after each part")
    parser.add_argument(
        "--quick",
        action=argparse.BooleanOptionalAction,
        help="shorter, a few minutes (default: on a machine without GPU)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: a GPU, if any)")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="PART", help=f"of {', '.join(NAMES)}; again for more"
    )
    parser.add_argument("--part-limit", type=float, metavar="S", help="seconds after which a part is stopped")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Raises SystemExit with one line for a GPU that is not there and a file that cannot be written."""
    from bench.edge.part import run_part

    gpu = sensor()
    device = _device(options.device, gpu)
    ask = Ask(device=device, quick=device == "cpu" if options.quick is None else options.quick)
    limit_s = options.part_limit or LIMIT_S[ask.device, ask.quick]
    parts: list[Part] = []
    wanted = options.only or NAMES
    figures = Figures(
        device=ask.device,
        quick=ask.quick,
        busy=os.getloadavg()[0] > BUSY * (os.cpu_count() or 1),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        finished=False,
        command="python -m bench " + " ".join(sys.argv[1:]),
        box=box(gpu),
        parts=(),
    )
    _write(figures, options)
    for number, name in enumerate(wanted, start=1):
        _say(f"[{number}/{len(wanted)}] {name}, at most {limit_s:.0f} s")
        parts.append(run_part(name, ask, limit_s, gpu, _say))
        _say(f"[{number}/{len(wanted)}] {name}: {parts[-1].status} in {parts[-1].seconds:.0f} s {parts[-1].reason}")
        figures = msgspec.structs.replace(figures, finished=number == len(wanted), parts=tuple(parts))
        _write(figures, options)
    return dict(msgspec.to_builtins(figures))


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line per figure."""
    from bench.edge.part import told
    from bench.edge.power import told as told_power

    for part in msgspec.convert(figures, Figures).parts:
        yield f"{part.title}: {part.status}{f' ({part.reason})' if part.reason else ''}"
        yield from (f"  {told(figure)}" for figure in part.figures)
        if part.power is not None:
            yield f"  {told_power(part.power)}"


def box(gpu: Sensor | str) -> Box:
    """What decides about the figures beside what every benchmark says."""
    there = gpu if isinstance(gpu, Sensor) else None
    return Box(
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        gpu=there.name if there else "",
        driver=there.driver if there else "",
        vram_gib=round(there.vram_gib, 1) if there and there.vram_gib else None,
        power_limit_w=there.power_limit_w if there else None,
        versions={name: _version(name) for name in VERSIONS},
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def _device(wanted: str, gpu: Sensor | str) -> Any:
    if wanted == "cuda" and isinstance(gpu, str):
        raise SystemExit(f"python -m bench edge: --device cuda: no GPU answers ({gpu}); use --device cpu")
    return wanted if wanted != "auto" else "cpu" if isinstance(gpu, str) else "cuda"


def _write(figures: Figures, options: argparse.Namespace) -> None:
    """Whole files or none: a run that is killed leaves what it had."""
    if options.html is None and options.json in (None, "-"):
        return
    from bench.report import machine

    record = {"bench": "edge", **msgspec.to_builtins(figures), "machine": machine()}
    try:
        if options.json not in (None, "-"):
            _put(Path(options.json), json.dumps(record, indent=1) + "\n")
        if options.html is not None:
            from bench.edge.page import page

            _put(options.html, page(record))
    except OSError as error:
        raise SystemExit(f"python -m bench edge: {error.filename}: {error.strerror}; give another file") from None


def _put(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
