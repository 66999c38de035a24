"""The compiled engine of a folder for this machine: found, built again when stale, refused when damaged."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from detector import compilation
from detector.engines.plan import Manifest, Recipe
from detector.engines.shelf import Found, Shelf
from detector.engines.tensorrt import TensorrtEngine
from detector.errors import EngineUnavailable
from detector.folder import ScorerFolder
from detector.precision import CALIBRATED, GraphPrecision

log = logging.getLogger(__name__)

SAID_EVERY_S = 15.0


def open_compiled(
    folder: ScorerFolder, precision: GraphPrecision, engines: str | Path = "", *, build: bool
) -> TensorrtEngine:
    """build: compile what was never compiled here; a stale engine was wanted once and is always built again.

    Raises EngineUnavailable without GPU, TensorRT or engine, or where the shelf cannot be read and written,
    EngineMismatch for a damaged one, ExportError when it cannot be built again.
    """
    wanted = compilation.here(folder, precision)
    shelf = Shelf(engines)
    try:
        found = shelf.find(wanted)
        manifest = current(folder, wanted, shelf, found, build=build)
        engine = shelf.engine(manifest)
    except OSError as error:
        raise EngineUnavailable(
            f"the folder of engines {shelf.path} cannot be used ({' '.join(str(error).split())[:200]}); "
            "set detector.engines to one that can be written"
        ) from error
    return TensorrtEngine(folder, manifest, engine)


def current(folder: ScorerFolder, wanted: Recipe, shelf: Shelf, found: Found | None, *, build: bool) -> Manifest:
    """A manifest that fits this machine, built if need be."""
    if found is not None and not found.stale:
        return found.manifest
    progress = _Logged()
    if found is not None:
        log.warning("%s is stale: %s; building it again", found.manifest.engine, ", ".join(found.stale))
        return compilation.rebuild(folder, found.manifest, wanted, shelf, progress)
    if reason := never_compiled(folder, wanted, shelf, build=build):
        raise EngineUnavailable(reason)
    log.warning("compiling the scorer for %s, once; this takes minutes", wanted.gpu.name)
    return compilation.compile_engine(folder, wanted, shelf, (), progress)


def never_compiled(folder: ScorerFolder, wanted: Recipe, shelf: Shelf, *, build: bool) -> str | None:
    """One line where nothing is compiled and nothing can be unasked; None where a start may compile it."""
    if build and wanted.precision not in CALIBRATED:
        return None
    return (
        f"no {wanted.precision} engine is compiled for {wanted.gpu.name} in {shelf.path}; "
        f"run `{compilation.command(folder, wanted.precision)}`"
    )


class _Logged:
    """A line now and then while a start waits for the builder."""

    def __init__(self) -> None:
        self._said_s = time.monotonic()

    def __call__(self, share: float) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= SAID_EVERY_S:
            self._said_s = now_s
            log.info("compiling the scorer: %.0f %%", 100 * share)
