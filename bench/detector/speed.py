"""Engines on the same pictures in turns, on the CPU and on a GPU where there is one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.detector.figures import ModelSpeed, Speed
from bench.detector.targets import TENSORRT

if TYPE_CHECKING:
    from detector.engines import Engine
    from detector.folder import ScorerFolder

BATCHES = (1, 8, 32)
EAGER, EAGER_CUDA, HALF_CUDA = "torch eager", "torch eager (CUDA)", "torch fp16 (CUDA)"


def compare(folder: ScorerFolder, rounds: int) -> ModelSpeed:
    from detector.cost import tower_flops
    from detector.engines.eager import TorchEngine
    from detector.engines.ort import OnnxEngine

    shape = folder.record.shape
    torch = TorchEngine(folder, device="cpu")
    engines: dict[str, Engine] = {
        EAGER: torch,
        "onnx fp32": OnnxEngine(folder),
        "onnx int8": OnnxEngine(folder, precision="int8"),
    }
    speeds = list(_timed(engines, EAGER, shape.picture_size, shape.channels, rounds, time.process_time))
    flop = tower_flops(shape)
    there, not_run = on_gpu(folder)
    product = _product() if there else None
    if there:
        # As many rounds at the largest batch as are asked for at one: they are cheap there.
        many = rounds * max(BATCHES)
        found = _timed(there, EAGER_CUDA, shape.picture_size, shape.channels, many, time.perf_counter)
        speeds += of_product(list(found), flop, product)
    for engine in (*engines.values(), *there.values()):
        engine.close()
    return ModelSpeed(
        model=folder.record.name,
        picture_size=shape.picture_size,
        gflop=flop / 1e9,
        speeds=tuple(speeds),
        not_run=not_run,
        product_tflops=None if product is None else product / 1e12,
    )


def on_gpu(folder: ScorerFolder) -> tuple[dict[str, Engine], dict[str, str]]:
    """Torch twice and TensorRT, or why not. Without torch on the card there is nothing to compare with."""
    import torch

    from bench.half import HalfTorchEngine
    from bench.shelf import scorers
    from detector.engines import load_engine
    from detector.engines.eager import TorchEngine
    from detector.errors import DetectorError

    if not torch.cuda.is_available():
        return {}, dict.fromkeys((EAGER_CUDA, HALF_CUDA, TENSORRT), "torch sees no GPU")
    engines: dict[str, Engine] = {EAGER_CUDA: TorchEngine(folder, device="cuda"), HALF_CUDA: HalfTorchEngine(folder)}
    try:
        engines[TENSORRT] = load_engine("tensorrt", folder, precision="fp16", engines=scorers())
    except DetectorError as error:
        return engines, {TENSORRT: str(error)}
    return engines, {}


def _product() -> float:
    """FLOP/s of a large square matrix product in fp16 on the card, now."""
    import torch

    from bench.roofline import ceiling

    return ceiling("cuda", torch.float16).flops


def of_product(speeds: Sequence[Speed], flop: float, product: float | None) -> Iterator[Speed]:
    """With the ratio to torch in fp16 and the share of the matrix product. flop: of one picture; product: FLOP/s."""
    half_ms = {speed.batch: speed.ms for speed in speeds if speed.engine == HALF_CUDA}
    for speed in speeds:
        half = half_ms.get(speed.batch)
        yield msgspec.structs.replace(
            speed,
            half_ratio=None if half is None else half / speed.ms,
            product_share=None if product is None else flop / (speed.ms / 1000) / product,
        )


def _timed(
    engines: dict[str, Engine],
    peer: str,
    size: tuple[int, int],
    channels: int,
    rounds: int,
    clock: Callable[[], float],
) -> Iterator[Speed]:
    import numpy as np

    rng = np.random.default_rng(0)
    for batch in BATCHES:
        pictures = rng.integers(0, 256, (batch, size[1], size[0], channels), dtype=np.uint8)
        taken: dict[str, list[float]] = {name: [] for name in engines}
        if clock is time.perf_counter:
            for engine in engines.values():
                # A GPU's first call of a size chooses kernels and captures a graph.
                engine.image(pictures)
        for _ in range(max(3, rounds // batch)):
            for name, engine in engines.items():
                start = clock()
                engine.image(pictures)
                taken[name].append((clock() - start) * 1000 / batch)
        median = {name: statistics.median(times) for name, times in taken.items()}
        for name, ms in median.items():
            yield Speed(engine=name, batch=batch, ms=ms, ratio=median[peer] / ms)
