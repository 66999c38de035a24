"""Writes a scorer's model folder: safetensors, ONNX graphs that point into them, tokenizer, record.

The graphs hold no weights. Each initializer names bytes of `scorer.safetensors` (ONNX external data: location, offset,
length), stored in half precision and cast to float32 in the graph, which ONNX Runtime folds away when it loads. So
torch and ONNX cannot disagree about the weights, and the folder is a third of its size.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detector.errors import TrainingError
from detector.folder import (
    ARCHITECTURE,
    FILES,
    IMAGE_GRAPH,
    INT8_GRAPH,
    RECORD,
    TEXT_GRAPH,
    TOKENIZER,
    WEIGHTS,
    CategoryRecord,
    ScorerFolder,
    ScorerRecord,
    files,
    hashes,
    read_folder,
)

if TYPE_CHECKING:
    from torch import nn

    from detector.model import ScorerModel
    from detector.pair import PairModel
    from detector.vision import VisionModel

OPSET = 20
TOLERANCE = 2e-5
"""Largest difference allowed between ONNX Runtime and torch in one component of a unit vector."""


def write_weights(model: ScorerModel | PairModel | VisionModel, folder: Path) -> None:
    """Writes the weights and a graph for each tower. Everything else (`write_record`) builds on these files; what a
    former model left in the folder goes.

    The graphs need no weights but their names, so it does not matter that those of `model` are not rounded.
    """
    import torch
    from safetensors.torch import save_file

    from detector.model import weights
    from detector.vision import VisionModel

    folder.mkdir(parents=True, exist_ok=True)
    shape = model.shape
    for name in (RECORD, INT8_GRAPH, ARCHITECTURE, *({*FILES} - {*files(shape)})):
        # Of a model that was here before: the new record would vouch for what is not in every folder.
        (folder / name).unlink(missing_ok=True)
    save_file(weights(model), folder / WEIGHTS)
    width, height = shape.picture_size
    pictures = torch.zeros((2, height, width, shape.channels), dtype=torch.uint8)
    _export(model.image, "image.", pictures, "pictures", "tokens", folder / IMAGE_GRAPH)
    if not isinstance(model, VisionModel):
        ids = torch.ones((2, shape.text_length), dtype=torch.int64)
        _export(model.text, "text.", ids, "ids", "texts", folder / TEXT_GRAPH)


def write_record(folder: Path, record: ScorerRecord) -> ScorerFolder:
    """Writes `scorer.json` with the hashes of the folder's files, and reads the folder back.

    Raises TrainingError if ONNX Runtime and torch disagree by more than `TOLERANCE`.
    """
    written = seal(folder, record)
    difference = parity(written)
    if difference > TOLERANCE:
        raise TrainingError(f"{folder}: ONNX Runtime and torch differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    return written


def seal(folder: Path, record: ScorerRecord) -> ScorerFolder:
    """Writes `scorer.json` for the files that are there, and reads the folder back."""
    record = msgspec.structs.replace(record, sha256=hashes(folder, files(record.shape)))
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    return read_folder(str(folder))


def rewrite(folder: ScorerFolder, out: Path) -> ScorerFolder:
    """Writes a trained scorer's folder anew from its weights: what the graphs are today."""
    from detector.model import load_weights

    write_weights(load_weights(folder.record.shape, folder.file(WEIGHTS)), out)
    (out / TOKENIZER).write_bytes(folder.file(TOKENIZER).read_bytes())
    # The 8-bit graph stays behind, and with it what is known of it.
    return write_record(out, msgspec.structs.replace(folder.record, int8=None))


def draft(model: ScorerModel, name: str, categories: Mapping[str, CategoryRecord]) -> ScorerRecord:
    """A record of the model as it stands, without hashes."""
    return ScorerRecord(
        name=name,
        shape=model.shape,
        scale=float(model.log_scale.detach().exp()),
        bias=float(model.bias.detach()),
        sharpness=float(model.log_sharpness.detach().exp()),
        categories=dict(categories),
        sha256={},
    )


def parity(folder: ScorerFolder, seed: int = 0) -> float:
    """Largest difference between the two engines on noise and random ids, batches of 1 and 3."""
    from detector.engines.eager import TorchEngine
    from detector.engines.ort import OnnxEngine

    rng = np.random.default_rng(seed)
    shape = folder.record.shape
    width, height = shape.picture_size
    onnx, torch = OnnxEngine(folder), TorchEngine(folder, device="cpu")
    worst = 0.0
    for count in (1, 3):
        pictures = rng.integers(0, 256, (count, height, width, shape.channels), dtype=np.uint8)
        worst = max(worst, float(np.abs(onnx.image(pictures) - torch.image(pictures)).max()))
        if shape.has_text:
            ids = rng.integers(0, shape.vocabulary, (count, shape.text_length), dtype=np.int64)
            worst = max(worst, float(np.abs(onnx.text(ids) - torch.text(ids)).max()))
    return worst


def _export(tower: nn.Module, prefix: str, example: Any, takes: str, gives: str, path: Path) -> None:
    """One tower to an ONNX graph with a free batch axis, its weights replaced by references."""
    import onnx
    import torch

    # Half-written files must never look like a model: the exporter writes beside the target.
    draft_path = path.with_suffix(".draft")
    with warnings.catch_warnings():
        # The TorchScript exporter keeps parameter names, on which the references rest; it says that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            tower,
            (example,),
            str(draft_path),
            input_names=[takes],
            output_names=[gives],
            dynamic_axes={takes: {0: "batch"}, gives: {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    graph = onnx.load(str(draft_path))
    draft_path.unlink()
    _refer(graph, prefix, path.parent / WEIGHTS)
    onnx.save(graph, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def _refer(model: Any, prefix: str, weights: Path) -> None:
    """Replaces each initializer by a float16 reference into the safetensors file, followed by a cast."""
    from onnx import TensorProto, helper

    places = byte_ranges(weights)
    initializers = list(model.graph.initializer)
    del model.graph.initializer[:]
    casts = []
    for tensor in initializers:
        offset, length = places[prefix + tensor.name]
        stored = TensorProto(name=f"{tensor.name}.half", data_type=TensorProto.FLOAT16, dims=tensor.dims)
        stored.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", offset), ("length", length)):
            stored.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(stored)
        casts.append(helper.make_node("Cast", [stored.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    for entry in (*model.graph.node, model.graph, model):
        entry.doc_string = ""


def byte_ranges(path: Path) -> dict[str, tuple[int, int]]:
    """Offset in the file and length of each tensor of a safetensors file (8 bytes of header length, JSON, data;
    https://github.com/huggingface/safetensors#format)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    begin = 8 + length
    return {
        name: (begin + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__"
    }
