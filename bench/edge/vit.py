"""Pictures a second of the scorer: engine, precision and batch, bundled and on a released model's shape."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.edge.limits import RTX_4090, Peaks, images_per_s, peaks_of
from bench.edge.record import FAILED, Ask, Figure, Limit
from bench.edge.ways import Way, ways

if TYPE_CHECKING:
    from detector.engines import Engine
    from detector.folder import ScorerFolder

TITLE = "Coarse scorer"
ABOUT = (
    "uint8 pictures in, token vectors out, through the engines that the product uses, copies to and from the card "
    "included; the median of repeated calls with one caller. On a CPU by CPU time of one thread. The limit is the "
    "published peak of the card over the operations of one picture; on a CPU torch's matrix product in this run takes "
    "its place, which other kernels may beat by some percent on a busy machine."
)
AXIS = "batch"

BATCHES = (1, 8, 32)
ROUNDS = 400
SPEND_S = {True: 2.0, False: 6.0}
"""On one engine and batch, with --quick and without."""
CALL_LIMIT_S = {True: 6.0, False: 40.0}
"""A batch whose one call would take longer is left out."""
SIDE = {"cpu": 1024, "cuda": 8192}


def figures(ask: Ask, say: Callable[[str], None]) -> Iterator[Figure]:
    """Raises nothing for an engine that does not run here: it has a figure that says so."""
    import torch

    from bench.detector.models import bundled_folder, released_folder

    torch.set_num_threads(1)
    products = {device: _products(device) for device in ("cpu", *(("cuda",) if ask.device == "cuda" else ()))}
    for device, rates in products.items():
        for precision, rate in rates.items():
            yield Figure(
                group="square matrix product",
                series=f"torch {precision}, {'one core' if device == 'cpu' else torch.cuda.get_device_name()}",
                value=rate / 1e12,
                unit="TFLOP/s",
                limit=_product_limit(torch, device, precision),
            )
    with tempfile.TemporaryDirectory() as place:
        for name, make in (("bundled", bundled_folder), ("released", released_folder)):
            say(f"preparing the {name} model")
            folder = make(Path(place) / name)
            for way in ways():
                yield from _measured(folder, way, ask, products)


def _products(device: str) -> dict[str, float]:
    """FLOP/s of a large square product by precision, as measured."""
    import torch

    kinds = {"fp32": torch.float32} if device == "cpu" else {"fp32": torch.float32, "fp16": torch.float16}
    found = {}
    for name, kind in kinds.items():
        matrix = torch.randn(SIDE[device], SIDE[device], device=device, dtype=kind)
        found[name] = 2 * SIDE[device] ** 3 / _product_s(matrix, device)
    return found


def _product_s(matrix: Any, device: str) -> float:
    """Of the matrix with itself, the best of a few after a first."""
    from bench.roofline import timed

    return min([timed(lambda: matrix @ matrix, device) for _ in range(20)][1:])


def _product_limit(torch: Any, device: str, precision: str) -> Limit | None:
    if device == "cpu":
        return None
    peaks = peaks_of(torch.cuda.get_device_name()) or RTX_4090
    return Limit(
        value=peaks.flops(precision) / 1e12,
        of=peaks.name,
        formula="published dense peak",
        here=peaks_of(torch.cuda.get_device_name()) is not None,
    )


def _measured(folder: ScorerFolder, way: Way, ask: Ask, products: dict[str, dict[str, float]]) -> Iterator[Figure]:
    from detector.cost import tower_flops

    shape = folder.record.shape
    (width, height), flops = shape.picture_size, tower_flops(shape)
    blank = Figure(
        group=f"{folder.record.name}, {width}x{height}, {flops / 1e9:.3g} GFLOP a picture",
        series=way.series,
        unit="images/s" if way.device == "cuda" else "images/core-s",
        limit=_limit(way, flops, products),
        not_run="no GPU was asked for or found",
    )
    if way.device == "cuda" and ask.device == "cpu":
        yield blank
        return
    replace = msgspec.structs.replace
    try:
        engine = way.open(folder)
        try:
            details = _distance(engine, folder, way)
            for figure in _batches(engine, folder, way, ask):
                yield replace(blank, **{**figure, "details": {**figure.get("details", {}), **details}})
        finally:
            engine.close()
    except Exception as error:  # noqa: BLE001 - one engine that fails must not cost the others their figures
        yield replace(blank, not_run=reason_of(error))


def reason_of(error: Exception) -> str:
    """In a line; what was not foreseen is named by its kind."""
    from detector.errors import DetectorError

    text = " ".join(str(error).split())[:240]
    return text if isinstance(error, DetectorError) else f"{FAILED}{type(error).__name__}: {text}"


def _batches(engine: Engine, folder: ScorerFolder, way: Way, ask: Ask) -> Iterator[dict[str, Any]]:
    """Of a figure what depends on the batch."""
    import numpy as np

    shape = folder.record.shape
    width, height = shape.picture_size
    one_s = 0.0
    for batch in BATCHES:
        if one_s * batch > CALL_LIMIT_S[ask.quick]:
            by = "--quick" if ask.quick else "this run"
            yield {"at": batch, "not_run": f"one call would take {one_s * batch:.0f} s; {by} leaves it out"}
            continue
        pictures = np.random.default_rng(batch).integers(0, 256, (batch, height, width, shape.channels), np.uint8)
        clock = time.process_time if way.device == "cpu" else time.perf_counter
        taken = repeated(partial(engine.image, pictures), clock, SPEND_S[ask.quick])
        median_s = statistics.median(taken)
        one_s = median_s / batch
        p99_s = sorted(taken)[min(len(taken) - 1, int(0.99 * len(taken)))]
        details = {
            "ms_per_call": round(1000 * median_s, 3),
            "p99_ms_per_call": round(1000 * p99_s, 3),
            "calls": len(taken),
        }
        yield {"at": batch, "value": batch / median_s, "not_run": "", "details": details}


def _distance(engine: Engine, folder: ScorerFolder, way: Way) -> dict[str, float | int | str | bool]:
    """How far the tokens of one probe are from those of the CPU in fp32, where the engine is another."""
    from detector.engines.ort import OnnxEngine
    from detector.engines.parity import distance, probe

    if way.device == "cpu" and way.precision == "fp32":
        return {}
    picture = probe(folder.record.shape)
    cpu = OnnxEngine(folder, precision="fp32")
    found = distance(engine.image(picture), cpu.image(picture))
    cpu.close()
    return {"distance_to_cpu_fp32": float(f"{found:.3g}")}


def repeated(work: Callable[[], object], clock: Callable[[], float], spend_s: float) -> list[float]:
    """Seconds of each call after a first one; at least two, and as many as fit."""
    work()
    taken: list[float] = []
    end_s = time.monotonic() + spend_s
    while len(taken) < 2 or (time.monotonic() < end_s and len(taken) < ROUNDS):
        start_s = clock()
        work()
        taken.append(clock() - start_s)
    return taken


def _limit(way: Way, flops: float, products: dict[str, dict[str, float]]) -> Limit | None:
    """On a card its published peak where it is known; on a CPU the matrix product of this run, which is in fp32."""
    if way.device == "cpu":
        if way.precision != "fp32":
            return None
        rate = products["cpu"]["fp32"]
        formula = f"{rate / 1e9:.0f} GFLOP/s of a core, measured / {flops / 1e9:.3g} GFLOP"
        return Limit(value=images_per_s(flops, rate), of="torch's matrix product on this core", formula=formula)
    peaks = _card()
    rate = (peaks or RTX_4090).flops(way.precision)
    return Limit(
        value=images_per_s(flops, rate),
        of=(peaks or RTX_4090).name,
        formula=f"{rate / 1e12:.4g} TFLOP/s {way.precision} / {flops / 1e9:.3g} GFLOP",
        here=peaks is not None,
    )


def _card() -> Peaks | None:
    import torch

    return peaks_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
