"""The precision of a graph: what is written, and what ONNX Runtime computes of it on the CPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from detector.engines.ort import embed
from detector.engines.parity import (
    SCORE_TOLERANCE,
    SEEDS,
    TOLERANCE,
    distance,
    probe,
    rule_ids,
    rule_logits,
    score_change,
)
from detector.errors import ExportError
from detector.folder import IMAGE_GRAPH, ScorerFolder, read_folder
from detector.precision import GraphPrecision, halve, lead_with_cast, ranges, typed


def blotches(count: int, seed: int) -> NDArray[np.uint8]:
    """uint8 (count, 144, 256, 7)."""
    import cv2

    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 9, 16, 7)).astype(np.float32)
    small[..., 3:] *= rng.random((count, 1, 1, 4)) < 0.5
    return np.stack([cv2.resize(each, (256, 144)) for each in small]).astype(np.uint8)


def run(graph: Path | bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As written, without ONNX Runtime's own rewriting."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = graph if isinstance(graph, bytes) else str(graph)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: pictures})[0])


@pytest.fixture(scope="module")
def bundled() -> ScorerFolder:
    return read_folder("bundled")


@pytest.fixture(scope="module")
def graphs(bundled: ScorerFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for precision in ("fp32", "fp16", "fp8", "int8"):
        made[precision] = tmp_path_factory.mktemp("typed") / f"{precision}.onnx"
        typed(bundled.file(IMAGE_GRAPH), made[precision], precision, [blotches(8, seed) for seed in range(3)])
    return made


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
def test_tokens_stay_within_the_tolerance(
    precision: GraphPrecision, graphs: dict[str, Path], bundled: ScorerFolder
) -> None:
    texts = embed(bundled, rule_ids(bundled))
    for pictures in (np.concatenate([probe(bundled.record.shape, seed) for seed in SEEDS]), blotches(3, 77)):
        reference = run(bundled.file(IMAGE_GRAPH), pictures)
        tokens = run(graphs[precision], pictures)
        assert tokens.dtype == np.float32 and tokens.shape == reference.shape
        assert 0 <= distance(tokens, reference) <= TOLERANCE[precision]
        assert precision == "fp32" or distance(tokens, reference) > TOLERANCE["fp32"]
        logits = [rule_logits(bundled, each, texts) for each in (tokens, reference)]
        assert score_change(bundled.record, *logits) <= SCORE_TOLERANCE[precision]


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
def test_ports_first_cast_and_types(precision: GraphPrecision, graphs: dict[str, Path]) -> None:
    model = onnx.load(str(graphs[precision]))
    graph = model.graph
    assert [port.name for port in (*graph.input, *graph.output)] == ["pictures", "tokens"]
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert [node.op_type for node in graph.node if "pictures" in node.input] == ["Cast"]
    assert not any(tensor.external_data for tensor in graph.initializer)
    kinds = element_types(model)
    products = [node for node in graph.node if node.op_type in ("MatMul", "Conv", "Gemm")]
    wanted = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    assert products and {kinds[name] for node in products for name in node.input} == {wanted}
    kept = [node for node in graph.node if node.op_type in ("LayerNormalization", "Softmax", "ReduceL2")]
    assert kept and {kinds[name] for node in kept for name in node.input[:1]} == {TensorProto.FLOAT}


@pytest.mark.parametrize(("precision", "kind"), [("int8", TensorProto.INT8), ("fp8", TensorProto.FLOAT8E4M3FN)])
def test_quantised_products(precision: str, kind: int, graphs: dict[str, Path]) -> None:
    model = onnx.load(str(graphs[precision]))
    kinds, made = element_types(model), {name: node for node in model.graph.node for name in node.output}
    blocks = [
        node for node in model.graph.node if node.op_type == "MatMul" and all(name in made for name in node.input)
    ]
    fed = [node for node in blocks if all(made[name].op_type == "DequantizeLinear" for name in node.input)]
    assert len(fed) == 13, "four in each of three blocks, and the head"
    for node in fed:
        for name in node.input:
            dequantise = made[name]
            assert kinds[dequantise.input[0]] == kind
            assert kinds[dequantise.input[1]] == TensorProto.FLOAT16
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantisers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for node in [*quantisers, *(made[name] for each in fed for name in each.input)]:
        assert (stored[node.input[1]] > 0).all()
        assert float(np.abs(stored[node.input[2]].astype(np.float32)).max()) == 0, "symmetric"
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Conv"] == 12
    convolved = [node for node in model.graph.node if node.op_type == "Conv" and made.get(node.input[0]) is not None]
    quantised = sum(made[node.input[0]].op_type == "DequantizeLinear" for node in convolved)
    assert quantised == (12 if precision == "int8" else 0)


def test_calibration_decides_the_ranges(small_folder: ScorerFolder, tmp_path: Path) -> None:
    from detector.quantise import quantise

    found = []
    for name, pictures in (("dark", blotches(4, 5) // 8), ("bright", blotches(4, 5))):
        quantise(small_folder.file(IMAGE_GRAPH), tmp_path / name, [pictures], symmetric=True)
        found.append(ranges(onnx.load(str(tmp_path / name))))
    dark, bright = found
    assert dark.keys() == bright.keys() and len(dark) > 10
    assert all(value > 0 for value in bright.values()) and dark != bright


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_without_pictures(precision: GraphPrecision, small_folder: ScorerFolder, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--frames"):
        typed(small_folder.file(IMAGE_GRAPH), tmp_path / "out.onnx", precision)
    assert not list(tmp_path.iterdir())


def tower(nodes: list[Any], weights: dict[str, NDArray[np.float32]]) -> Any:
    """A graph uint8 (N, 4, 4, 2) `pictures` to float32 `tokens`."""
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", 4, 4, 2])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", 2, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    model.ir_version = 10
    return model


NODE = helper.make_node
WEIGHT = np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("ends in a product", [
            NODE("Transpose", ["pictures"], ["a"], perm=[0, 3, 1, 2]), NODE("Cast", ["a"], ["b"], to=1),
            NODE("MatMul", ["b", "w"], ["tokens"]),
        ]),
        ("casts first already", [
            NODE("Cast", ["pictures"], ["a"], to=1), NODE("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
            NODE("Mul", ["b", "small"], ["s"]), NODE("MatMul", ["s", "w"], ["c"]), NODE("Softmax", ["c"], ["tokens"]),
        ]),
        ("read in both precisions", [
            NODE("Transpose", ["pictures"], ["t"], perm=[0, 3, 1, 2]), NODE("Cast", ["t"], ["a"], to=1),
            NODE("Mul", ["a", "small"], ["s"]), NODE("MatMul", ["s", "w"], ["b"]), NODE("Softmax", ["b"], ["c"]),
            NODE("Add", ["b", "c"], ["d"]), NODE("MatMul", ["d", "w"], ["e"]), NODE("Add", ["e", "b"], ["tokens"]),
        ]),
    ],
)  # fmt: skip
def test_small_graphs_keep_their_meaning(name: str, nodes: list[Any]) -> None:
    model = tower([*nodes], {"w": WEIGHT, "small": np.array(1 / 255, np.float32)})
    pictures = np.random.default_rng(1).integers(0, 256, (3, 4, 4, 2), dtype=np.uint8)
    reference = run(model.SerializeToString(), pictures)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    lead_with_cast(changed)
    np.testing.assert_array_equal(run(changed.SerializeToString(), pictures), reference)
    assert [node.op_type for node in changed.graph.node if "pictures" in node.input] == ["Cast"]
    halve(changed)
    onnx.checker.check_model(changed, full_check=True)
    tokens = run(changed.SerializeToString(), pictures)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, reference, rtol=4e-3, atol=4e-3 * np.abs(reference).max())


def element_types(model: Any) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return kinds | {tensor.name: tensor.data_type for tensor in graph.initializer}
