"""Engines in the precisions that they run in, each opened as the product opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from detector.engines import Engine
    from detector.folder import ScorerFolder
    from detector.precision import GraphPrecision

CALIBRATION = 32
"""Pictures of synthetic scenes for int8 and fp8 engines."""


class Way(NamedTuple):
    """One engine in one precision."""

    series: str
    precision: str
    device: str
    open: Callable[[ScorerFolder], Engine]


def ways() -> Iterator[Way]:
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
    from bench.shelf import scorers
    from detector import compilation
    from detector.engines.compiled import open_compiled
    from detector.engines.shelf import Shelf
    from detector.pictures import of_scenes
    from detector.precision import CALIBRATED

    kept = scorers()
    wanted = compilation.here(folder, precision)
    shelf = Shelf(kept)
    found = shelf.find(wanted)
    if precision in CALIBRATED and (found is None or found.stale):
        pictures = (one[None] for one in of_scenes(folder.record.shape, CALIBRATION))
        compilation.compile_engine(folder, wanted, shelf, pictures)
    return open_compiled(folder, precision, kept, build=True)
