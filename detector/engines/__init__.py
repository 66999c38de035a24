"""Engines: what runs the two towers. One protocol, chosen by name; nothing heavy is imported until asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from detector.config import EngineKind, Precision
from detector.errors import EngineMismatch, EngineUnavailable, ExportError
from detector.folder import ScorerFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.precision import GraphPrecision

log = logging.getLogger(__name__)


Failure = Literal["unavailable", "mismatch", "export", "system", "lost"]
"""Why an engine was passed over, in a word: it cannot run here, its files or numbers are not what they must be, it
could not be compiled, the operating system refused, or it ran and then failed in the midst of a run."""
RUNGS = ("tensorrt", "onnx on CUDA", "onnx on the CPU", "torch")
"""What `auto` tries, in this order: an engine of its choosing has passed over as many as stand before it."""


class PassedOver(NamedTuple):
    """What `auto` tried before the engine it took."""

    engine: str
    """As `onnx on CUDA`."""
    kind: Failure
    reason: str
    """One line."""

    def __str__(self) -> str:
        return f"{self.engine} ({self.reason})"


class Engine(Protocol):
    """Contract, kept by one test suite for all engines: names, dtypes and shapes are checked when the files are
    loaded (EngineMismatch) and on each call; the constructor warms up; every call returns a fresh array that the
    caller owns; calls may come from several threads; after `close()` every call raises EngineClosed."""

    name: str
    """As `onnx (CPU)`, for people."""
    precision: str
    """`fp32`, `fp16`, `fp8` or `int8`: what an alert says it was scored with."""
    sha256: str
    """Of the file that runs: graph, weights or compiled engine."""
    max_batch: int
    """Most pictures in one call."""
    passed_over: tuple[PassedOver, ...]
    """What `auto` tried before, each with its reason; empty where an engine was named."""

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, H, W, channels), 1 <= N <= max_batch, to float32 (N, T, dim) tokens of unit length.

        T is `Shape.length`: the grid's rows x columns, row by row, so that a zone is a mask over tokens; a tower may
        give one vector for the whole picture instead, or before them (`Shape.tokens`).
        """
        ...

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """int64 (M, text_length) token ids to float32 (M, dim) of unit length. Called once per rule, at load."""
        ...

    def close(self) -> None:
        """Gives back memory; twice is harmless."""
        ...


def load_engine(
    kind: EngineKind,
    folder: ScorerFolder,
    *,
    threads: int = 1,
    precision: Precision = "auto",
    engines: str | Path = "",
) -> Engine:
    """Starts the engine. `auto` takes the first that runs here and logs what it passed over.

    engines: folder of compiled engines, empty for the user's cache. What runs on a GPU is compared with the CPU once,
    on one picture (`detector.engines.parity`).

    Raises EngineUnavailable if it cannot run on this machine, or not in this precision, EngineMismatch if the files are
    not what it expects or the scores would be others than on the CPU, ExportError if `tensorrt` cannot be compiled.
    """
    match kind:
        case "tensorrt":
            try:
                return _tensorrt(folder, precision, engines, build=True)
            except EngineUnavailable as error:
                raise EngineUnavailable(
                    f'detector.engine "tensorrt": {error}; or set detector.engine to "auto", "onnx" or "torch"'
                ) from None
        case "onnx":
            from detector.engines.ort import cuda_missing

            if precision == "int8" or cuda_missing():
                return _onnx(folder, "cpu", threads, precision)
            return _onnx(folder, "cuda", threads, precision)
        case "torch":
            return _torch(folder, precision)
        case "auto":
            return _first_that_runs(folder, threads, precision, engines)


def follow_engine(
    failed: Engine,
    reason: str,
    folder: ScorerFolder,
    *,
    threads: int = 1,
    precision: Precision = "auto",
    engines: str | Path = "",
) -> Engine:
    """Starts the next engine that runs, after one that `auto` chose and that failed in the midst of a run. The rungs
    above are not tried again: a device that comes and goes would cost frames each time.

    reason: one line. Raises as `load_engine`, and EngineUnavailable when nothing stands below.
    """
    place = len(failed.passed_over)
    passed_over = [*failed.passed_over, PassedOver(RUNGS[place], "lost", reason)]
    if len(passed_over) == len(RUNGS):
        raise EngineUnavailable(f"nothing stands below {RUNGS[place]}")
    return _first_that_runs(folder, threads, precision, engines, passed_over)


def _first_that_runs(
    folder: ScorerFolder,
    threads: int,
    precision: Precision,
    engines: str | Path,
    passed_over: Sequence[PassedOver] = (),
) -> Engine:
    """Whatever fails on a GPU is passed over with its reason; what the CPU says of the files is final."""
    gone = list(passed_over)
    on_gpu = (EngineUnavailable, EngineMismatch, ExportError, OSError)
    ways: tuple[tuple[Callable[[], Engine], tuple[type[Exception], ...]], ...] = (
        (lambda: _tensorrt(folder, precision, engines, build=False), on_gpu),
        (lambda: _onnx_cuda(folder, threads, precision), on_gpu),
        (lambda: _onnx(folder, "cpu", threads, precision), (EngineUnavailable,)),
        (lambda: _torch(folder, precision), ()),
    )
    for name, (start, passable) in list(zip(RUNGS, ways, strict=True))[len(gone) :]:
        try:
            return _chosen(start(), gone)
        except passable as error:
            if not isinstance(error, EngineUnavailable):
                log.warning("detector.engine auto: %s is not used: %s", name, error)
            gone.append(PassedOver(name, failure_of(error), str(error)))
    raise AssertionError("the last rung returns or raises")


def failure_of(error: Exception) -> Failure:
    """The word for why an engine was passed over."""
    match error:
        case EngineUnavailable():
            return "unavailable"
        case EngineMismatch():
            return "mismatch"
        case ExportError():
            return "export"
        case _:
            return "system"


def _chosen(engine: Engine, passed_over: list[PassedOver]) -> Engine:
    engine.passed_over = tuple(passed_over)
    said = ", ".join(map(str, passed_over)) or "none"
    log.info("detector.engine auto: %s; passed over: %s", engine.name, said)
    return engine


def _tensorrt(folder: ScorerFolder, precision: Precision, engines: str | Path, *, build: bool) -> Engine:
    from detector.engines.compiled import open_compiled

    chosen: GraphPrecision = "fp16" if precision == "auto" else precision
    return _compared(open_compiled(folder, chosen, engines, build=build), folder, chosen)


def _onnx_cuda(folder: ScorerFolder, threads: int, precision: Precision) -> Engine:
    from detector.engines.ort import cuda_missing

    if missing := "int8 is for the CPU" if precision == "int8" else cuda_missing():
        raise EngineUnavailable(missing)
    return _onnx(folder, "cuda", threads, precision)


def _onnx(folder: ScorerFolder, device: Literal["cpu", "cuda"], threads: int, precision: Precision) -> Engine:
    from detector.engines.ort import OnnxEngine

    engine = OnnxEngine(folder, device=device, threads=threads, precision=precision)
    return engine if device == "cpu" else _compared(engine, folder, "fp32")


def _torch(folder: ScorerFolder, precision: Precision) -> Engine:
    from detector.engines.eager import TorchEngine

    engine = TorchEngine(folder, precision=precision)
    return engine if engine.device == "cpu" else _compared(engine, folder, "fp32")


def _compared(engine: Engine, folder: ScorerFolder, precision: GraphPrecision) -> Engine:
    from detector.engines.parity import check

    try:
        check(engine, folder, precision)
    except BaseException:
        engine.close()
        raise
    return engine
