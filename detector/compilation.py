"""A model folder to a TensorRT engine for the GPU at hand, and back again when it has gone stale."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from detector.engines import bindings
from detector.engines.build import build
from detector.engines.plan import Compatibility, Gpu, Manifest, Recipe, file_name, profiles, typed_name
from detector.engines.shelf import Shelf
from detector.errors import EngineUnavailable, ExportError
from detector.folder import BUNDLED, IMAGE_GRAPH, WEIGHTS, ScorerFolder, sha256
from detector.precision import CALIBRATED, GraphPrecision, typed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Told the share done, 0..1."""


def recipe(
    folder: ScorerFolder,
    precision: GraphPrecision,
    gpu: Gpu,
    tensorrt: str,
    *,
    max_batch: int = 64,
    compatibility: Compatibility = "none",
) -> Recipe:
    """What an engine of this folder is built from and for; the folder's hashes were checked when it was read."""
    return Recipe(
        model=folder.record.name,
        folder="bundled" if folder.path == BUNDLED else str(folder.path.resolve()),
        graph_sha256=folder.record.sha256[IMAGE_GRAPH],
        weights_sha256=folder.record.sha256[WEIGHTS],
        precision=precision,
        tensorrt=tensorrt,
        gpu=gpu,
        compatibility=compatibility,
        profiles=profiles(max_batch),
    )


def here(folder: ScorerFolder, precision: GraphPrecision) -> Recipe:
    """The recipe for this machine. Raises EngineUnavailable without GPU or TensorRT, naming what to install."""
    return recipe(folder, precision, bindings.gpu(), bindings.tensorrt().__version__)


def compile_engine(
    folder: ScorerFolder,
    wanted: Recipe,
    shelf: Shelf,
    pictures: Iterable[NDArray[np.uint8]] = (),
    progress: Progress = lambda share: None,
) -> Manifest:
    """Builds the engine and puts it on the shelf with its manifest; engines of older weights go.

    pictures: batches uint8 (N, H, W, channels) of the site's own frames, for int8 and fp8.

    Raises EngineUnavailable without GPU or TensorRT, ExportError when the graph cannot be built.
    """
    counted = _Counted(pictures)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "typed.onnx"
        typed(folder.file(IMAGE_GRAPH), graph, wanted.precision, counted)
        return _build(folder, wanted, shelf, graph, counted.number, progress)


def rebuild(
    folder: ScorerFolder, stale: Manifest, wanted: Recipe, shelf: Shelf, progress: Progress = lambda share: None
) -> Manifest:
    """Builds a stale engine again, with the choices of who compiled it.

    Raises as `compile_engine`, and EngineUnavailable when int8 or fp8 must be calibrated on new pictures first.
    """
    built = stale.recipe
    wanted = Recipe(
        **{
            **{name: getattr(wanted, name) for name in wanted.__struct_fields__},
            "compatibility": built.compatibility,
            "profiles": built.profiles,
        }
    )
    if wanted.precision not in CALIBRATED:
        return compile_engine(folder, wanted, shelf, (), progress)
    if reason := calibrated_on_others(folder, stale, wanted):
        raise EngineUnavailable(reason)
    return _build(folder, wanted, shelf, shelf.typed(stale), stale.calibration_pictures, progress)


def calibrated_on_others(folder: ScorerFolder, stale: Manifest, wanted: Recipe) -> str | None:
    """One line where a stale engine needs new pictures before it can be built again."""
    built = stale.recipe
    same = (built.graph_sha256, built.weights_sha256) == (wanted.graph_sha256, wanted.weights_sha256)
    if wanted.precision not in CALIBRATED or same:
        return None
    return f"{stale.engine} was calibrated on other weights; run `{command(folder, wanted.precision)}` again"


def command(folder: ScorerFolder, precision: GraphPrecision) -> str:
    """The command that compiles an engine of this folder."""
    model = "bundled" if folder.path == BUNDLED else str(folder.path)
    frames = " --frames DIR_OR_VIDEO" if precision in CALIBRATED else ""
    return f"witness models compile {model} --precision {precision}{frames}"


def _build(
    folder: ScorerFolder,
    wanted: Recipe,
    shelf: Shelf,
    graph: Path,
    calibration_pictures: int,
    progress: Progress,
) -> Manifest:
    timings = shelf.timings(wanted)
    known = timings.read_bytes() if timings.is_file() else b""
    began_s = time.monotonic()
    engine, measured = build(
        graph, folder.record.shape, wanted.profiles, wanted.precision, wanted.compatibility, known, progress
    )
    shelf.write(timings.name, measured)
    typed_file = typed_name(wanted, sha256(graph)) if wanted.precision in CALIBRATED else ""
    name = file_name(wanted)
    manifest = Manifest(
        recipe=wanted,
        engine=name,
        engine_sha256=shelf.write(name, engine),
        typed=typed_file,
        typed_sha256=shelf.write(typed_file, graph.read_bytes()) if typed_file else "",
        calibration_pictures=calibration_pictures,
        build_s=round(time.monotonic() - began_s, 1),
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    shelf.write_manifest(manifest)
    for gone in shelf.drop_stale(manifest):
        log.info("%s is of older weights or another calibration and was deleted", gone)
    return manifest


class _Counted:
    """Batches of pictures, counted as they pass."""

    def __init__(self, batches: Iterable[NDArray[np.uint8]]) -> None:
        self._batches = batches
        self.number = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for batch in self._batches:
            self.number += len(batch)
            yield batch


def check_calibrated(precision: GraphPrecision, *, has_pictures: bool) -> None:
    """Raises ExportError when pictures are missing, before anything slow begins."""
    if precision in CALIBRATED and not has_pictures:
        raise ExportError(f"{precision} is calibrated on the site's own frames; give --frames a folder or a video")
