"""Engines: what runs the two towers. One protocol, chosen by name; nothing heavy is imported until asked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Protocol

from detector.config import EngineKind, Precision
from detector.errors import EngineUnavailable
from detector.folder import ScorerFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

TENSORRT_MISSING = 'this version has no TensorRT engine; set detector.engine to "auto", "onnx" or "torch"'


class Engine(Protocol):
    """Contract, kept by one test suite for all engines: names, dtypes and shapes are checked when the files are
    loaded (EngineMismatch) and on each call; the constructor warms up; every call returns a fresh array that the
    caller owns; calls may come from several threads; after `close()` every call raises EngineClosed."""

    name: str
    """As `onnx (CPU)`, for people."""
    max_batch: int
    """Most pictures in one call."""

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, H, W, channels), 1 <= N <= max_batch, to float32 (N, T, dim) tokens of unit length.

        T is `Shape.length`: the grid's rows x columns, row by row, so that a zone is a mask over tokens; a tower may give
        one vector for the whole picture instead, or before them (`Shape.tokens`).
        """
        ...

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """int64 (M, text_length) token ids to float32 (M, dim) of unit length. Called once per rule, at load."""
        ...

    def close(self) -> None:
        """Gives back memory; twice is harmless."""
        ...


def load_engine(
    kind: EngineKind, folder: ScorerFolder, *, threads: int = 1, precision: Precision = "auto"
) -> Engine:
    """Starts the engine. `auto` takes the first that runs here and logs what it passed over.

    Raises EngineUnavailable if it cannot run on this machine, or not in this precision, EngineMismatch if the files are
    not what it expects.
    """
    match kind:
        case "tensorrt":
            raise EngineUnavailable(f'detector.engine "tensorrt": {TENSORRT_MISSING}')
        case "onnx":
            from detector.engines.ort import OnnxEngine, cuda_missing

            device: Literal["cpu", "cuda"] = "cpu" if precision == "int8" or cuda_missing() else "cuda"
            return OnnxEngine(folder, device=device, threads=threads, precision=precision)
        case "torch":
            from detector.engines.eager import TorchEngine

            return TorchEngine(folder, precision=precision)
        case "auto":
            return _first_that_runs(folder, threads, precision)


def _first_that_runs(folder: ScorerFolder, threads: int, precision: Precision) -> Engine:
    passed_over = [f"tensorrt ({TENSORRT_MISSING.split(';')[0]})"]
    try:
        from detector.engines.ort import OnnxEngine, cuda_missing

        missing = "int8 is for the CPU" if precision == "int8" else cuda_missing()
        if missing is None:
            try:
                return _chosen(OnnxEngine(folder, device="cuda", threads=threads, precision=precision), passed_over)
            except EngineUnavailable as error:
                missing = str(error)
        passed_over.append(f"onnx on CUDA ({missing})")
        return _chosen(OnnxEngine(folder, device="cpu", threads=threads, precision=precision), passed_over)
    except EngineUnavailable as error:
        passed_over.append(f"onnx on the CPU ({error})")
    from detector.engines.eager import TorchEngine

    return _chosen(TorchEngine(folder, precision=precision), passed_over)


def _chosen(engine: Engine, passed_over: list[str]) -> Engine:
    log.info("detector.engine auto: %s; passed over: %s", engine.name, ", ".join(passed_over))
    return engine
