"""`witness models export`: a checkpoint of transformers, or a trained scorer, becomes a folder for every engine."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.folder import ScorerFolder

PICTURES = 64
"""Pictures that the 8-bit graph is calibrated and looked at with."""


def arguments(one: ArgumentParser) -> None:
    one.add_argument(
        "model",
        metavar="MODEL",
        help="a SigLIP 2, SigLIP, CLIP, ViT or DINOv2 checkpoint (folder or hub name), a scorer's folder, bundled",
    )
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the scorer's folder to write")
    one.add_argument(
        "--precision", choices=("fp32", "int8"), default="fp32", help="int8 adds a graph for the CPU (default: fp32)"
    )
    one.add_argument(
        "--frames", type=Path, metavar="PATH", help="the site's own pictures to calibrate int8 on: a video, or a folder"
    )


def run(options: Namespace, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Writes the folder and says how near its engines are to each other. Errors are ExportError or ModelFolderError."""
    from detector.export import TOLERANCE, parity

    note(f"export: {options.model} to {options.out}")
    folder = _folder(options.model, options.out)
    record, shape = folder.record, folder.record.shape
    width, height = shape.picture_size
    say(f"{record.name}: {width}x{height} px, {shape.length} tokens, scaling inside the graph")
    say(f"ONNX Runtime and torch differ by {parity(folder, seed=1):.1e} at most (allowed: {TOLERANCE:.0e})")
    if options.precision == "int8":
        folder = _int8(folder, options, say, note)
    if shape.has_text:
        say("[detector]")
        say(f"model = {json.dumps(str(folder.path), ensure_ascii=False)}")
        if options.precision == "int8":
            say('precision = "int8"')
    else:
        say(f"{folder.path} has no text tower: one vector per picture, for `witness models compile`; it serves no rule")
    return 0


def _folder(model: str, out: Path) -> ScorerFolder:
    from detector.adopt import adopt
    from detector.errors import ExportError
    from detector.export import rewrite
    from detector.folder import BUNDLED, RECORD, read_folder
    from reasoner.pulled import pulled_folder

    trained = BUNDLED if model == "bundled" else Path(model).expanduser()
    if not (trained / RECORD).is_file():
        pulled = None if trained.is_dir() else pulled_folder(model)
        return adopt(str(pulled or model), out, name=model)
    folder = read_folder(model)
    if folder.record.architecture:
        raise ExportError(f"{model} is exported already; name the checkpoint that it was made of")
    if out.resolve() == trained.resolve():
        raise ExportError(f"--out {out} is the model's own folder; name another")
    return rewrite(folder, out)


def _int8(
    folder: ScorerFolder, options: Namespace, say: Callable[[str], None], note: Callable[[str], None]
) -> ScorerFolder:
    from detector.quantise import add_int8

    pictures = _pictures(folder, options.frames)
    note(f"export: calibrating int8 on {len(pictures)} pictures")
    folder, cosines = add_int8(folder, pictures)
    say(
        f"int8: cosine with fp32 {cosines.mean():.5f} on average, {cosines.min():.4f} at worst, over {cosines.size} "
        "tokens that were not calibrated on"
    )
    return _recall(folder, say, note)


def _recall(folder: ScorerFolder, say: Callable[[str], None], note: Callable[[str], None]) -> ScorerFolder:
    """What 8 bits cost in recall goes into the folder's record, where it can be counted without the site's labels."""
    from detector import recall
    from detector.rounding import lines

    if reason := recall.uncounted(folder):
        counts = (
            f"; on labelled recordings of the site `python -m bench recordings MANIFEST --scorer {folder.path} "
            "--precision int8` counts it, and with fp32 beside it what is lost"
        )
        say(f"int8: recall not measured: {reason}{counts if folder.record.shape.has_text else ''}")
        return folder
    note(f"export: counting the recall of fp32 and int8 on {recall.SCENES} synthetic scenes; a minute or two")
    folder = recall.with_recall(folder)
    assert folder.record.int8 is not None
    for line in lines(folder.record.int8):
        say(line)
    return folder


def _pictures(folder: ScorerFolder, frames: Path | None) -> list[NDArray[np.uint8]]:
    from detector import pictures
    from detector.errors import ExportError

    shape = folder.record.shape
    if frames is not None:
        return list(islice(pictures.of_frames(frames, shape, PICTURES), PICTURES))
    if folder.record.architecture:
        raise ExportError("int8 needs pictures like those it will see: give --frames a video, or a folder of pictures")
    return list(pictures.of_scenes(shape, PICTURES))
