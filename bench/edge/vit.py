"""Pictures a second of the scorer: engine, precision and batch, bundled and on a released model's shape."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.edge.limits import RTX_4090, Peaks, images_per_s, peaks_of
from bench.edge.record import Ask, Figure, Limit

if TYPE_CHECKING:
    from detector.engines import Engine
    from detector.folder import ScorerFolder
    from detector.precision import GraphPrecision

TITLE = "Coarse scorer"
ABOUT = (
    "uint8 pictures in, token vectors out, through the engines that the product uses, copies to and from the card "
    "included; the median of repeated calls with one caller. On a CPU by CPU time of one thread. The limit is the "
    "published peak of the card, or a matrix product as measured here on the CPU, over the operations of one picture."
)
AXIS = "batch"

BATCHES = (1, 8, 32)
ROUNDS = 400
CALL_LIMIT_S = {True: 6.0, False: 40.0}
"""With --quick, and without: a batch whose one call would take longer is left out."""
CALIBRATION = 32
"""Pictures of synthetic scenes for int8 and fp8 engines."""
SIDE = {"cpu": 1024, "cuda": 8192}


class Way(NamedTuple):
    """One engine in one precision."""

    series: str
    precision: str
    device: str
    open: Callable[[ScorerFolder], Engine]


def figures(ask: Ask, say: Callable[[str], None]) -> Iterator[Figure]:
    """Raises nothing for an engine that does not run here: it has a figure that says so."""
    import torch

    from bench.detector import bundled_folder, released_folder

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
            for way in _ways(ask):
                yield from _measured(folder, way, ask, products, say)


def _products(device: str) -> dict[str, float]:
    """FLOP/s of a large square product by precision, as measured."""
    import torch

    from bench.roofline import timed

    kinds = {"fp32": torch.float32} if device == "cpu" else {"fp32": torch.float32, "fp16": torch.float16}
    found = {}
    for name, kind in kinds.items():
        matrix = torch.randn(SIDE[device], SIDE[device], device=device, dtype=kind)
        seconds = [timed(lambda matrix=matrix: matrix @ matrix, device) for _ in range(6)]
        found[name] = 2 * SIDE[device] ** 3 / min(seconds[1:])
    return found


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


def _ways(ask: Ask) -> Iterator[Way]:
    from detector.engines.eager import TorchEngine
    from detector.engines.ort import OnnxEngine

    yield Way("torch, CPU, fp32", "fp32", "cpu", lambda folder: TorchEngine(folder, device="cpu"))
    yield Way("ONNX Runtime, CPU, fp32", "fp32", "cpu", OnnxEngine)
    yield Way("ONNX Runtime, CPU, int8", "int8", "cpu", lambda folder: OnnxEngine(folder, precision="int8"))
    yield Way("torch, CUDA, fp32", "fp32", "cuda", _torch_cuda)
    yield Way("ONNX Runtime, CUDA, fp32", "fp32", "cuda", _onnx_cuda)
    precisions: tuple[GraphPrecision, ...] = ("fp32", "fp16", "fp8", "int8")
    for precision in precisions:
        yield Way(f"TensorRT, {precision}", precision, "cuda", partial(_tensorrt, precision=precision))


def _torch_cuda(folder: ScorerFolder) -> Engine:
    import torch

    from detector.engines.eager import TorchEngine
    from detector.errors import EngineUnavailable

    if not torch.cuda.is_available():
        raise EngineUnavailable("torch sees no GPU")
    return TorchEngine(folder, device="cuda")


def _onnx_cuda(folder: ScorerFolder) -> Engine:
    from detector.engines.ort import OnnxEngine, cuda_missing
    from detector.errors import EngineUnavailable

    if missing := cuda_missing():
        raise EngineUnavailable(missing)
    return OnnxEngine(folder, device="cuda")


def _tensorrt(folder: ScorerFolder, precision: GraphPrecision) -> Engine:
    """Compiled on the first run and kept: the weights are the same in every run."""
    from detector import compilation
    from detector.engines.compiled import open_compiled
    from detector.engines.shelf import Shelf, default_path
    from detector.pictures import of_scenes
    from detector.precision import CALIBRATED

    kept = default_path().with_name("bench-engines")
    wanted = compilation.here(folder, precision)
    shelf = Shelf(kept)
    found = shelf.find(wanted)
    if precision in CALIBRATED and (found is None or found.stale):
        pictures = (one[None] for one in of_scenes(folder.record.shape, CALIBRATION))
        compilation.compile_engine(folder, wanted, shelf, pictures)
    return open_compiled(folder, precision, kept, build=True)


def _measured(
    folder: ScorerFolder, way: Way, ask: Ask, products: dict[str, dict[str, float]], say: Callable[[str], None]
) -> Iterator[Figure]:
    import numpy as np

    from detector.cost import tower_flops
    from detector.errors import DetectorError

    shape = folder.record.shape
    (width, height), flops = shape.picture_size, tower_flops(shape)
    group = f"{folder.record.name}, {width}x{height}, {flops / 1e9:.3g} GFLOP a picture"
    unit = "images/s" if way.device == "cuda" else "images/s of a core"
    limit = _limit(way, flops, products)
    if way.device == "cuda" and ask.device == "cpu":
        yield Figure(group=group, series=way.series, unit=unit, limit=limit, not_run="no GPU was asked for or found")
        return
    try:
        engine = way.open(folder)
    except DetectorError as error:
        yield Figure(group=group, series=way.series, unit=unit, limit=limit, not_run=str(error))
        return
    details = _distance(engine, folder, way)
    spend_s, one_s = (2.0 if ask.quick else 6.0), 0.0
    for batch in BATCHES:
        if one_s * batch > CALL_LIMIT_S[ask.quick]:
            reason = (
                f"one call would take {one_s * batch:.0f} s; {'--quick' if ask.quick else 'this run'} leaves it out"
            )
            yield Figure(group=group, series=way.series, at=batch, unit=unit, limit=limit, not_run=reason)
            continue
        pictures = np.random.default_rng(batch).integers(0, 256, (batch, height, width, shape.channels), np.uint8)
        clock = time.process_time if way.device == "cpu" else time.perf_counter
        taken = repeated(lambda pictures=pictures: engine.image(pictures), clock, spend_s)  # type: ignore[misc]
        median_s = statistics.median(taken)
        one_s = median_s / batch
        p99_ms = 1000 * sorted(taken)[min(len(taken) - 1, int(0.99 * len(taken)))]
        more = {"ms_per_call": round(1000 * median_s, 3), "p99_ms_per_call": round(p99_ms, 3), "calls": len(taken)}
        yield Figure(
            group=group,
            series=way.series,
            at=batch,
            value=batch / median_s,
            unit=unit,
            limit=limit,
            details={**more, **details},
        )
    engine.close()


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
        return Limit(value=images_per_s(flops, rate), of="this core's matrix product", formula=formula)
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
