"""`witness models compile`: a scorer's folder becomes a TensorRT engine for the GPU of this machine."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.folder import ScorerFolder

PICTURES = 128
"""Pictures that int8 and fp8 are calibrated on."""
AT_ONCE = 8
PRECISIONS = ("fp32", "fp16", "fp8", "int8")
COMPATIBILITIES = ("none", "ampere_plus", "same_compute_capability")


def arguments(one: ArgumentParser) -> None:
    one.add_argument("model", metavar="MODEL", help="bundled, or a scorer's folder (`witness models export`)")
    one.add_argument("--precision", choices=PRECISIONS, default="fp16", help="what it computes in (default: fp16)")
    one.add_argument(
        "--frames", type=Path, metavar="DIR_OR_VIDEO", help="the site's own pictures, to calibrate fp8 and int8 on"
    )
    one.add_argument("--max-batch", type=_batch, default=64, metavar="N", help="most pictures in a call (default: 64)")
    one.add_argument(
        "--hardware-compatibility",
        choices=COMPATIBILITIES,
        default="none",
        help="other GPUs that it may run on, at some cost in speed (default: none)",
    )
    one.add_argument("--out", type=Path, metavar="DIR", help="folder of engines (default: the user's cache folder)")


def run(options: Namespace, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Builds the engine and names it, with the lines of the configuration that use it.

    Raises EngineUnavailable without GPU or TensorRT, ExportError, ModelFolderError.
    """
    from msgspec.structs import replace

    from deploy.progress import Progress
    from detector import compilation
    from detector.engines.parity import check
    from detector.engines.plan import profiles
    from detector.engines.shelf import Shelf
    from detector.engines.tensorrt import TensorrtEngine
    from detector.folder import read_folder

    folder = read_folder(options.model)
    compilation.check_calibrated(options.precision, has_pictures=options.frames is not None)
    wanted = replace(
        compilation.here(folder, options.precision),
        compatibility=options.hardware_compatibility,
        profiles=profiles(options.max_batch),
    )
    shelf = Shelf(options.out or "")
    with Progress(f"compiling {folder.record.name} for {wanted.gpu.name}", note) as progress:
        manifest = compilation.compile_engine(folder, wanted, shelf, _pictures(folder, options), progress)
    engine = TensorrtEngine(folder, manifest, shelf.engine(manifest))
    try:
        check(engine, folder, options.precision)
    finally:
        engine.close()
    say(str(shelf.path / manifest.engine))
    _say_table(options, folder, say)
    return 0


def _say_table(options: Namespace, folder: ScorerFolder, say: Callable[[str], None]) -> None:
    """The table of the configuration that serves this engine."""
    from detector.folder import BUNDLED

    settings = {"engine": "tensorrt", "precision": options.precision}
    if folder.path != BUNDLED:
        settings["model"] = str(folder.path.resolve())
    if options.out:
        settings["engines"] = str(options.out.resolve())
    say("[detector]")
    for name, value in settings.items():
        say(f"{name} = {json.dumps(value, ensure_ascii=False)}")


def _pictures(folder: ScorerFolder, options: Namespace) -> Iterator[NDArray[np.uint8]]:
    """Batches for the calibration; none where the precision needs none."""
    from detector.pictures import batches, of_frames
    from detector.precision import CALIBRATED

    if options.precision not in CALIBRATED:
        return iter(())
    return batches(of_frames(options.frames, folder.record.shape, PICTURES), AT_ONCE)


def _batch(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:
        raise ArgumentTypeError(f"{text} is not a number from 1 to 64")
    return value
