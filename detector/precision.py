"""The precision of an image tower, written into its ONNX graph: TensorRT's networks are strongly typed, so that casts
and Q/DQ nodes are the only place where it can live (https://docs.nvidia.com/deeplearning/tensorrt/latest/).

The port of the pictures stays uint8 and the tokens stay float32. In fp16 the products and what lies between them are
computed in half; normalisations, softmax and everything outside the products (the pictures' scaling, the tokens' unit
length) keep float32: their sums are what half is too short for. int8 is `detector.quantise` with symmetric ranges, fp8
puts E4M3 nodes where that put int8 ones, from the same ranges; the rest of both is in half.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from detector.errors import ExportError
from detector.quantise import fold, quantise

if TYPE_CHECKING:
    from numpy.typing import NDArray

GraphPrecision = Literal["fp32", "fp16", "int8", "fp8"]
CALIBRATED = ("int8", "fp8")
"""Precisions whose ranges come from pictures."""
OPSET = 19
"""The first in which Q/DQ nodes take half and E4M3."""
PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
FULL = frozenset(
    {
        "Cast", "Clip", "Exp", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "Log", "LogSoftmax",
        "Pow", "RMSNormalization", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMean", "ReduceSum",
        "ReduceSumSquare", "Softmax", "Sqrt",
    }
)  # fmt: skip
"""Operators that keep float32 wherever they stand."""
SMALLEST_SCALE = 2.0**-20
"""Half holds no smaller scale well; a channel with a smaller range has nothing to say."""
E4M3_MAX = 448.0
INT8_MAX = 127.0


def typed(graph: Path, out: Path, precision: GraphPrecision, pictures: Iterable[NDArray[np.uint8]] = ()) -> None:
    """Writes `out`, a self-contained graph that computes in this precision.

    graph: an fp32 image tower, uint8 (N, H, W, channels) to float32 tokens; weights may be external data.
    pictures: batches uint8 (N, H, W, channels) like those it will see; int8 and fp8 only.

    Raises ExportError when the graph cannot be read, or without pictures where they are needed.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        if precision == "int8":
            quantise(graph, whole, pictures, symmetric=True)
        else:
            fold(graph, whole)
        model = onnx.load(str(whole))
        if max(one.version for one in model.opset_import if not one.domain) < OPSET:
            model = onnx.version_converter.convert_version(model, OPSET)
        lead_with_cast(model)
        if precision == "fp8":
            quantised = Path(folder) / "int8.onnx"
            quantise(graph, quantised, pictures, symmetric=True)
            quantise_e4m3(model, ranges(onnx.load(str(quantised))))
        if precision != "fp32":
            halve(model)
        onnx.checker.check_model(model, full_check=True)
        draft = out.with_suffix(".draft")
        onnx.save(model, str(draft))
        draft.replace(out)


def lead_with_cast(model: Any) -> None:
    """Moves the pictures' cast in front of what only moves them: TensorRT takes uint8 at the network's edge and
    nowhere else, so that the first operator must be the cast."""
    graph = model.graph
    port = graph.input[0].name
    path: list[Any] = []
    name = port
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            return
        (node,) = readers
        path.append(node)
        if node.op_type == "Cast":
            break
        if node.op_type not in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity") or node.input[0] != name:
            return
        name = node.output[0]
    *movers, cast = path
    if not movers:
        return
    first, last = movers[0], movers[-1]
    result = cast.output[0]
    cast.input[0], cast.output[0] = port, f"{port}.cast"
    first.input[0] = cast.output[0]
    last.output[0] = result
    nodes = list(graph.node)
    nodes.remove(cast)
    nodes.insert(nodes.index(first), cast)
    del graph.node[:]
    graph.node.extend(nodes)
    _forget_types(graph)


def ranges(model: Any) -> dict[str, float]:
    """Largest magnitude of each activation that a symmetric int8 graph quantises: scale * 127."""
    stored = _stored(model.graph)
    found: dict[str, float] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored:
            found[node.input[0]] = float(stored[node.input[1]].max()) * INT8_MAX
    return found


def quantise_e4m3(model: Any, amax: Mapping[str, float]) -> None:
    """Q/DQ nodes in E4M3 at each product of an activation with stored weights: per tensor, amax on 448. Weights are
    stored in 8 bits. Convolutions keep half: TensorRT has E4M3 kernels for matrix products.

    Raises ExportError if no such product has a range.
    """
    import ml_dtypes
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    stored = _stored(graph)
    zero = helper.make_tensor("e4m3.zero", TensorProto.FLOAT8E4M3FN, (), [0.0])
    nodes: list[Any] = []
    ready: dict[str, str] = {}
    weighed: dict[str, str] = {}
    for node in graph.node:
        known = node.op_type in ("MatMul", "Gemm") and node.input[1] in stored and node.input[0] in amax
        if known and stored[node.input[1]].any():
            activation, weight = node.input[0], node.input[1]
            if activation not in ready:
                scale = f"{activation}.e4m3.scale"
                graph.initializer.append(_scalar(scale, max(amax[activation] / E4M3_MAX, SMALLEST_SCALE)))
                ready[activation] = f"{activation}.e4m3"
                nodes += [
                    helper.make_node("QuantizeLinear", [activation, scale, zero.name], [f"{activation}.q"]),
                    helper.make_node("DequantizeLinear", [f"{activation}.q", scale, zero.name], [ready[activation]]),
                ]
            if weight not in weighed:
                scale = f"{weight}.e4m3.scale"
                step = max(float(np.abs(stored[weight]).max()) / E4M3_MAX, SMALLEST_SCALE)
                step = float(np.float16(step))
                graph.initializer.append(_scalar(scale, step))
                rounded = (stored[weight] / step).clip(-E4M3_MAX, E4M3_MAX).astype(ml_dtypes.float8_e4m3fn)
                graph.initializer.append(numpy_helper.from_array(rounded, f"{weight}.q"))
                weighed[weight] = f"{weight}.e4m3"
                nodes.append(helper.make_node("DequantizeLinear", [f"{weight}.q", scale, zero.name], [weighed[weight]]))
            node.input[0], node.input[1] = ready[activation], weighed[weight]
        nodes.append(node)
    if not weighed:
        raise ExportError("the graph has no matrix product with stored weights and a range; use fp16 or int8")
    graph.initializer.append(zero)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    _forget_types(graph)


def halve(model: Any) -> None:
    """Products, quantisers and what lies between two of them in half; casts where the two precisions meet."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    types = _types(onnx.shape_inference.infer_shapes(model).graph)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    stored = _stored(graph)
    half = _between(graph.node, floats)
    ports = {port.name for port in graph.output}
    in_half: set[str] = set()
    nodes: list[Any] = []
    made: set[str] = set()

    def taken(name: str, wanted_half: bool) -> str:
        """The name under which a float tensor can be read in this precision."""
        if name not in floats or (name in in_half) == wanted_half:
            return name
        other = f"{name}.half" if wanted_half else f"{name}.full"
        if other not in made:
            made.add(other)
            if name in stored:
                values = stored[name].astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, other))
            else:
                kind = TensorProto.FLOAT16 if wanted_half else TensorProto.FLOAT
                nodes.append(helper.make_node("Cast", [name], [other], name=other, to=kind))
        return other

    for index, node in enumerate(graph.node):
        is_half = index in half
        if node.op_type in QUANTISERS and node.input[1] in stored and stored[node.input[1]].dtype == np.float32:
            stored[node.input[1]] = np.maximum(stored[node.input[1]], np.float32(SMALLEST_SCALE))
        for place, name in enumerate(node.input):
            node.input[place] = taken(name, is_half)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if is_half and name in floats:
                if name in ports:
                    node.output[place] = f"{name}.half"
                    nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], name=name, to=TensorProto.FLOAT))
                else:
                    in_half.add(name)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    _forget_types(graph)


def _between(nodes: Sequence[Any], floats: set[str]) -> set[int]:
    """Places of the nodes that compute in half: products and quantisers, and what has one of them on both sides."""
    anchors = PRODUCTS | QUANTISERS
    after: set[str] = set()
    behind: set[int] = set()
    for index, node in enumerate(nodes):
        if node.op_type in anchors or any(name in after for name in node.input):
            behind.add(index)
            after.update(name for name in node.output if name in floats)
    before: set[str] = set()
    ahead: set[int] = set()
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if node.op_type in anchors or any(name in before for name in node.output):
            ahead.add(index)
            before.update(name for name in node.input if name in floats)
    return {
        index
        for index, node in enumerate(nodes)
        if node.op_type in anchors or (index in behind and index in ahead and node.op_type not in FULL)
    }


def _types(graph: Any) -> dict[str, int]:
    """Element type of each tensor."""
    values = (*graph.value_info, *graph.input, *graph.output)
    kinds: dict[str, int] = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return kinds


def _stored(graph: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _scalar(name: str, value: float) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(value, np.float32), name)


def _drop_unread(graph: Any) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _forget_types(graph: Any) -> None:
    """What was inferred of the tensors inside no longer holds."""
    del graph.value_info[:]
