"""An image tower in 8 bits: static quantisation with Q/DQ nodes, calibrated on pictures like those it will see.

Weights are quantised per output channel, activations per tensor from the range they take on the calibration pictures.
The quantised matrices and convolutions are those with stored weights; the two products inside attention keep their
precision (their operands change with every picture, and there is little to win). ONNX Runtime runs the result on the
CPU; with `symmetric` it is what TensorRT asks for: signed activations with zero point 0, so that scales say it all
(https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detector.errors import ExportError
from detector.folder import IMAGE_GRAPH, INT8_GRAPH, ScorerFolder
from detector.rounding import Rounding
from detector.sink import sink_scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 4
"""Pictures in one calibration run: the ranges of all tensors are held for each."""
HELD_OUT = 4
"""Every fourth picture is not calibrated on, but shows how near the result is."""

QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators whose inputs and weights are quantised."""


def quantise(graph: Path, out: Path, pictures: Iterable[NDArray[np.uint8]], *, symmetric: bool) -> None:
    """Writes `out`, the graph with Q/DQ nodes; its weights are inside, whatever the original pointed to.

    graph: an image tower with one uint8 (N, H, W, channels) input; weights may be external data.
    pictures: batches uint8 (N, H, W, channels), each run once; a few dozen pictures are enough.
    symmetric: int8 activations without zero points (TensorRT); else uint8 with zero points (ONNX Runtime on a CPU).

    Raises ExportError without a picture, or when the graph cannot be read.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    reader = _Pictures(graph, pictures)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        fold(graph, whole)
        _prepare(whole, sink=not symmetric)
        # Written beside the target and renamed: a half-written graph must never look like a model.
        draft = out.with_suffix(".draft")
        quantize_static(
            str(whole),
            str(draft),
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=_without_weights(whole),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                "AddQDQPairToWeight": symmetric,
                "QuantizeBias": not symmetric,
                # No CalibMaxIntermediateOutputs: onnxruntime 1.32 drops what it has collected at that number. What is
                # kept are two numbers per tensor and batch.
            },
        )
    draft.replace(out)


def add_int8(folder: ScorerFolder, pictures: Sequence[NDArray[np.uint8]]) -> tuple[ScorerFolder, NDArray[np.float32]]:
    """Adds the CPU's 8-bit graph to a folder. Returns the folder, and the cosine of each token of the pictures that
    were held out with its fp32 self, float32 (tokens,); their mean and least are in the record.

    Raises ExportError with fewer than two pictures.
    """
    from detector.engines.ort import OnnxEngine
    from detector.export import seal

    if len(pictures) < 2:
        raise ExportError(f"{len(pictures)} pictures are too few to calibrate on and to look at afterwards; give more")
    held_out = np.stack(pictures[::HELD_OUT])
    learned = [picture for index, picture in enumerate(pictures) if index % HELD_OUT]
    groups = (np.stack(learned[start : start + BATCH]) for start in range(0, len(learned), BATCH))
    quantise(folder.file(IMAGE_GRAPH), folder.file(INT8_GRAPH), groups, symmetric=False)
    # What an earlier 8-bit graph cost says nothing of this one.
    sealed = seal(folder.path, msgspec.structs.replace(folder.record, int8=None))
    exact, rounded = OnnxEngine(sealed), OnnxEngine(sealed, precision="int8")
    cosines = np.concatenate(
        [(exact.image(each[None]) * rounded.image(each[None])).sum(axis=2).reshape(-1) for each in held_out]
    )
    near = Rounding(cosine_mean=round(float(cosines.mean()), 6), cosine_min=round(float(cosines.min()), 6))
    return seal(folder.path, msgspec.structs.replace(sealed.record, int8=near)), cosines


def fold(graph: Path, out: Path) -> None:
    """Writes a graph with its external weights inside and what is constant computed, in standard operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its pybind exceptions share no base but Exception
        raise ExportError(f"{graph} cannot be read ({' '.join(str(error).split())[:200]}); export it again") from None


def _prepare(graph: Path, *, sink: bool) -> None:
    """Says to onnxruntime that the graph is folded already, and lets the first convolution read bytes."""
    import onnx

    model = onnx.load(str(graph))
    if sink:
        sink_scaling(model)
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    onnx.save(model, str(graph))


def _without_weights(graph: Path) -> list[str]:
    """Names of the matrix products of two computed operands."""
    import onnx

    model = onnx.load(str(graph)).graph
    stored = {tensor.name for tensor in model.initializer}
    return [node.name for node in model.node if node.op_type == "MatMul" and node.input[1] not in stored]


class _Pictures:
    """onnxruntime's CalibrationDataReader over batches of pictures; `read` counts them."""

    def __init__(self, graph: Path, pictures: Iterable[NDArray[np.uint8]]) -> None:
        import onnx

        self._name = onnx.load(str(graph), load_external_data=False).graph.input[0].name
        self._batches: Iterator[NDArray[np.uint8]] = iter(pictures)
        self.read = 0

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            if not self.read:
                raise ExportError("no picture to calibrate on; give --frames a folder or a video with some")
            return None
        self.read += len(batch)
        return {self._name: np.ascontiguousarray(batch)}
