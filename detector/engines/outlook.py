"""Which engine a start would take, told without starting one: what is installed, compiled and written, no model loaded.

What only shows when it runs (a GPU without room, scores too far off) is left to `witness check --probe`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from detector import compilation
from detector.config import EngineKind, Precision
from detector.engines import RUNGS, PassedOver, bindings, failure_of, ort
from detector.engines.compiled import never_compiled
from detector.engines.eager import check_precision
from detector.engines.shelf import Shelf
from detector.errors import EngineMismatch, EngineUnavailable
from detector.folder import ScorerFolder
from detector.precision import GraphPrecision


class Outlook(NamedTuple):
    engine: str
    """As `onnx (CPU)`."""
    passed_over: tuple[PassedOver, ...]
    """What `auto` would try before it."""
    note: str = ""
    """What the start would do first, as building an engine again; empty: nothing."""

    def __str__(self) -> str:
        passed_over = f"; passed over: {', '.join(map(str, self.passed_over))}" if self.passed_over else ""
        return self.engine + (f"; {self.note}" if self.note else "") + passed_over


def outlook(
    kind: EngineKind, folder: ScorerFolder, *, precision: Precision = "auto", engines: str | Path = ""
) -> Outlook:
    """Raises what `load_engine` would, as far as it can be known: EngineUnavailable or EngineMismatch."""
    match kind:
        case "tensorrt":
            return _tensorrt(folder, precision, engines, build=True)
        case "onnx":
            return _onnx_cpu(folder, precision) if _cuda_missing(precision) else _onnx_cuda(folder, precision)
        case "torch":
            return _torch(precision)
        case "auto":
            return _first(folder, precision, engines)


def _first(folder: ScorerFolder, precision: Precision, engines: str | Path) -> Outlook:
    gone: list[PassedOver] = []
    ways: tuple[Callable[[], Outlook], ...] = (
        lambda: _tensorrt(folder, precision, engines, build=False),
        lambda: _onnx_cuda(folder, precision),
        lambda: _onnx_cpu(folder, precision),
    )
    for name, look in zip(RUNGS, ways, strict=False):
        try:
            found = look()
        except (EngineUnavailable, EngineMismatch) as error:
            gone.append(PassedOver(name, failure_of(error), str(error)))
            continue
        return found._replace(passed_over=tuple(gone))
    return _torch(precision)._replace(passed_over=tuple(gone))


def _tensorrt(folder: ScorerFolder, precision: Precision, engines: str | Path, *, build: bool) -> Outlook:
    chosen: GraphPrecision = "fp16" if precision == "auto" else precision
    wanted, shelf = compilation.here(folder, chosen), Shelf(engines)
    found, note = shelf.find(wanted), ""
    if found is None:
        if reason := never_compiled(folder, wanted, shelf, build=build):
            raise EngineUnavailable(reason)
        note = "compiled at the first start, which takes minutes"
    elif found.stale:
        if reason := compilation.calibrated_on_others(folder, found.manifest, wanted):
            raise EngineUnavailable(reason)
        note = f"built again at the next start: {', '.join(found.stale)}"
    else:
        shelf.engine(found.manifest)
    return Outlook(f"tensorrt ({wanted.gpu.name}, {chosen})", (), note)


def _cuda_missing(precision: Precision) -> str | None:
    if precision == "int8":
        return "int8 is for the CPU"
    return ort.cuda_missing() or bindings.driver_missing()


def _onnx_cuda(folder: ScorerFolder, precision: Precision) -> Outlook:
    if missing := _cuda_missing(precision):
        raise EngineUnavailable(missing)
    ort.image_graph(folder, precision)
    return Outlook("onnx (CUDA)", ())


def _onnx_cpu(folder: ScorerFolder, precision: Precision) -> Outlook:
    ort.runtime()
    ort.image_graph(folder, precision)
    return Outlook(ort.name_of("cpu", precision), ())


def _torch(precision: Precision) -> Outlook:
    check_precision(precision)
    if find_spec("torch") is None:
        raise EngineUnavailable('detector.engine "torch": it is not installed; install torch and safetensors')
    return Outlook("torch", ())
