"""The scaling of the pictures moved into the first convolution of a graph, for its 8-bit form.

A convolution of `scale * x + shift` is one of `x` with scaled weights, plus what it makes of `shift` alone. With that,
its input are the pictures' own bytes, which 8 bits hold exactly, and a pass over every pixel in float is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sink_scaling(model: Any) -> bool:
    """Changes an onnx.ModelProto in place; False, and nothing changed, where its beginning is not what we export: a
    chain of Transpose, Cast and products or sums with constants, from the uint8 (N, H, W, C) input to one Conv."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    picture = graph.input[0]
    height, width, channels = (axis.dim_value for axis in picture.type.tensor_type.shape.dim[1:])
    chain = _chain(graph, picture.name)
    if not chain or chain[-1].op_type != "Conv":
        return False
    convolution = chain.pop()
    scale, shift, turned = np.ones(channels), np.zeros(channels), False
    for node in chain:
        match node.op_type:
            case "Transpose":
                if turned or list(node.attribute[0].ints) != [0, 3, 1, 2]:
                    return False
                turned = True
            case "Cast":
                pass
            case "Mul" | "Div" | "Add" | "Sub":
                value = stored.get(node.input[1])
                if value is None or value.size not in (1, channels):
                    return False
                value = value.astype(np.float64).reshape(-1)
                match node.op_type:
                    case "Mul":
                        scale, shift = scale * value, shift * value
                    case "Div":
                        scale, shift = scale / value, shift / value
                    case "Add":
                        shift = shift + value
                    case "Sub":
                        shift = shift - value
            case _:
                return False
    if not turned or convolution.input[1] not in stored:
        return False
    weights = stored[convolution.input[1]].astype(np.float64)
    attributes = {each.name: helper.get_attribute_value(each) for each in convolution.attribute}
    even = np.broadcast_to(shift[:, None, None], (channels, height, width))
    level = _convolved(even, weights, attributes)
    place = list(graph.node).index(chain[0])
    for node in graph.node:
        # Exporters ask the scaled pictures for their batch; the bytes have the same shape.
        if node.op_type == "Shape" and node.input[0] == chain[-1].output[0]:
            node.input[0] = "sunk.bytes"
    for node in chain:
        graph.node.remove(node)
    sunk = (
        helper.make_node("Transpose", [picture.name], ["sunk.turned"], name="sunk/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["sunk.turned"], ["sunk.bytes"], name="sunk/Cast", to=TensorProto.FLOAT),
    )
    for node in reversed(sunk):
        graph.node.insert(place, node)
    scaled = numpy_helper.from_array((weights * scale[:, None, None]).astype(np.float32), "sunk.weights")
    graph.initializer.append(scaled)
    convolution.input[0], convolution.input[1] = "sunk.bytes", scaled.name
    _add_level(graph, convolution, level, stored)
    read = {name for node in graph.node for name in node.input}
    unread = [tensor for tensor in graph.initializer if tensor.name not in read]
    for tensor in unread:
        graph.initializer.remove(tensor)
    return True


def _chain(graph: Any, name: str) -> list[Any]:
    """The nodes from a tensor on, as long as each has one reader, the first Conv included; its input may be asked for
    its shape as well."""
    found: list[Any] = []
    while True:
        readers = [node for node in graph.node if name in node.input]
        asked = [node for node in readers if node.op_type == "Shape"]
        readers = [node for node in readers if node.op_type != "Shape"]
        if len(readers) != 1 or readers[0].input[0] != name or (asked and readers[0].op_type != "Conv"):
            return []
        found.append(readers[0])
        if readers[0].op_type == "Conv":
            return found
        name = readers[0].output[0]


def _convolved(picture: NDArray[np.float64], weights: NDArray[np.float64], attributes: dict[str, Any]) -> Any:
    """float64 (given, rows, columns) of float64 (taken, H, W), zeros around it where the convolution pads."""
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    down, across = attributes.get("strides", [1, 1])
    padded = np.pad(picture, ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))[:, ::down, ::across]
    return np.einsum("chwij,ocij->ohw", windows, weights, optimize=True)


def _add_level(graph: Any, convolution: Any, level: NDArray[np.float64], stored: dict[str, Any]) -> None:
    """Into the bias where it is the same everywhere, else as a sum after the convolution."""
    from onnx import helper, numpy_helper

    if np.ptp(level, axis=(1, 2)).max() < 1e-9:
        before = stored[convolution.input[2]] if len(convolution.input) > 2 else 0.0
        bias = numpy_helper.from_array((before + level[:, 0, 0]).astype(np.float32), "sunk.bias")
        graph.initializer.append(bias)
        del convolution.input[2:]
        convolution.input.append(bias.name)
        return
    graph.initializer.append(numpy_helper.from_array(level[None].astype(np.float32), "sunk.level"))
    name = convolution.output[0]
    convolution.output[0] = "sunk.convolved"
    added = helper.make_node("Add", ["sunk.convolved", "sunk.level"], [name], name="sunk/Add")
    graph.node.insert(list(graph.node).index(convolution) + 1, added)
