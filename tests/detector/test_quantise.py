"""The 8-bit graph: near fp32, whole by itself, loaded only where it belongs; its calibration pictures."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deploy.export import run
from detector import captions
from detector.adopt import adopt
from detector.config import DetectorConfig
from detector.engines import load_engine
from detector.engines.ort import OnnxEngine
from detector.errors import EngineUnavailable, ExportError
from detector.export import rewrite
from detector.folder import ARCHITECTURE, FILES, IMAGE_GRAPH, INT8_GRAPH, ScorerFolder, read_folder
from detector.pictures import batches, of_frames, of_scenes
from detector.quantise import quantise
from detector.recall import with_recall
from detector.rounding import Kept, Rounding, lines
from detector.scorer import Scorer
from tests.detector.checkpoint import checkpoint
from tests.detector.material import noise, rule


def test_the_engine_runs_it(int8_folder: ScorerFolder) -> None:
    engine = load_engine("auto", read_folder(str(int8_folder.path)), precision="int8")
    assert engine.name == "onnx (CPU, int8)"
    pictures = np.stack(noise(5, int8_folder.record.shape))
    tokens = engine.image(pictures)
    exact = load_engine("onnx", int8_folder).image(pictures)
    assert 0 < np.abs(tokens - exact).max() < 0.3
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=2), 1.0, atol=1e-5)
    np.testing.assert_allclose(engine.image(pictures[3:4])[0], tokens[3], atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_products_with_weights_are_quantised_and_the_weights_are_inside(
    symmetric: bool, small_folder: ScorerFolder, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    out = tmp_path / "int8.onnx"
    shape = small_folder.record.shape
    quantise(small_folder.file(IMAGE_GRAPH), out, batches(iter(noise(4, shape)), 2), symmetric=symmetric)
    graph = onnx.load(str(out), load_external_data=False).graph
    assert not any(tensor.external_data for tensor in graph.initializer)
    made = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    checked: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        sources: list[Any] = [made.get(name) for name in node.input[:2]]
        if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            # Inside attention, or the last layer's unquantised input: both operands are computed.
            assert all(name not in stored for name in node.input[:2])
            continue
        checked[node.op_type] += 1
        zero = stored[sources[0].input[2]]
        assert zero.dtype == (np.int8 if symmetric else np.uint8)
        assert not symmetric or not zero.any()
    assert checked["Conv"] == 12 and checked["MatMul"] == 2 * 4 + 1
    if symmetric:
        kinds = {
            stored[name].dtype
            for node in graph.node
            if node.op_type == "DequantizeLinear"
            for name in node.input[2:3]
            if name in stored
        }
        assert kinds <= {np.dtype(np.int8), np.dtype(np.int32)}


@pytest.mark.parametrize("kind", ["own", "siglip", "clip", "siglip2"])
def test_the_scaling_sinks_into_the_first_convolution(kind: str, small_folder: ScorerFolder, tmp_path: Path) -> None:
    """Same tokens, and the convolution reads bytes; NaFlex has none and stays as it is."""
    import onnx
    import onnxruntime

    from detector.adopt import adopt
    from detector.quantise import fold
    from detector.sink import sink_scaling

    folder = small_folder if kind == "own" else adopt(str(checkpoint(kind, tmp_path / "from")), tmp_path / "scorer")
    whole, sunk = tmp_path / "whole.onnx", tmp_path / "sunk.onnx"
    fold(folder.file(IMAGE_GRAPH), whole)
    model = onnx.load(str(whole))
    assert sink_scaling(model) is (kind != "siglip2")
    onnx.save(model, str(sunk))
    onnx.checker.check_model(str(sunk), full_check=True)
    pictures = np.stack(noise(3, folder.record.shape))
    before, after = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"pictures": pictures})
        for path in (whole, sunk)
    )
    np.testing.assert_allclose(after[0], before[0], atol=3e-6)
    if kind != "siglip2":
        made = {name: node for node in model.graph.node for name in node.output}
        (first,) = [node for node in model.graph.node if node.op_type == "Conv"][:1]
        assert [made[first.input[0]].op_type, made[made[first.input[0]].input[0]].op_type] == ["Cast", "Transpose"]


def test_no_picture_is_one_line(small_folder: ScorerFolder, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no picture to calibrate on"):
        quantise(small_folder.file(IMAGE_GRAPH), tmp_path / "out.onnx", [], symmetric=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("engine", "precision", "said"),
    [
        ("onnx", "int8", r"has no scorer\.int8\.onnx.*--precision int8"),
        ("onnx", "fp16", "ONNX Runtime runs"),
        ("torch", "int8", "torch runs"),
    ],
)
def test_precisions_that_are_not_there(engine: Any, precision: Any, said: str, small_folder: ScorerFolder) -> None:
    with pytest.raises(EngineUnavailable, match=said) as caught:
        Scorer.load(DetectorConfig(model=str(small_folder.path), engine=engine, precision=precision), [rule()])
    assert "\n" not in str(caught.value)


def test_a_damaged_graph_is_noticed(int8_folder: ScorerFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(int8_folder.path, copy)
    (copy / INT8_GRAPH).write_bytes(b"")
    with pytest.raises(ValueError, match=r"scorer\.int8\.onnx is not the file"):
        read_folder(str(copy))


def test_frames_of_folders_and_videos(tmp_path: Path, small_folder: ScorerFolder) -> None:
    shape = small_folder.record.shape
    for camera, grey in (("a", 40), ("b", 200)):
        (tmp_path / camera).mkdir()
        for index in range(6):
            picture = np.full((90, 160, 3), grey + index, np.uint8)
            cv2.imwrite(str(tmp_path / camera / f"{index}.png"), picture)
    (tmp_path / "notes.txt").write_text("no picture", "utf-8")
    found = list(of_frames(tmp_path, shape, 6))
    assert len(found) == 6 and {picture.shape for picture in found} == {(144, 256, 7)}
    assert [int(picture[0, 0, 0]) for picture in found] == [40, 42, 45, 200, 202, 205]
    assert len(list(of_frames(tmp_path, shape, 100))) == 12
    for wrong, said in ((tmp_path / "none", "no such file"), (tmp_path / "notes.txt", "no picture in it")):
        with pytest.raises(ExportError, match=said):
            list(of_frames(wrong, shape, 4))


def test_frames_of_a_video(tmp_path: Path, small_folder: ScorerFolder) -> None:
    import av

    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", 10, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for index in range(40):
            picture = np.full((96, 160, 3), 5 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    found = list(of_frames(tmp_path / "clip.mp4", small_folder.record.shape, 64))
    assert [round(int(picture[0, 0, 0]) / 50) for picture in found] == [0, 1, 2, 3]


def test_frames_are_looked_at_one_by_one(
    tmp_path: Path, small_folder: ScorerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from detector import pictures as module

    for index in range(8):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((90, 160, 3), index, np.uint8))
    decoded: list[int] = []
    real = module._images

    def counted(folder: Path) -> Iterator[Any]:
        for frame in real(folder):
            decoded.append(len(decoded))
            yield frame

    monkeypatch.setattr(module, "_images", counted)
    found = of_frames(tmp_path, small_folder.record.shape, 3)
    assert [(int(picture[0, 0, 0]), len(decoded)) for picture in found] == [(0, 1), (4, 5), (7, 8)]


def test_what_a_former_model_left_is_not_sealed(int8_folder: ScorerFolder, tmp_path: Path) -> None:
    """A folder written over: its old 8-bit graph has other weights, its old configuration is of other classes."""
    out = tmp_path / "out"
    shutil.copytree(int8_folder.path, out)
    (out / ARCHITECTURE).write_text("{}", "utf-8")
    assert set(rewrite(int8_folder, out).record.sha256) == set(FILES)
    adopted = adopt(str(checkpoint("clip", tmp_path / "checkpoint")), out)
    assert set(adopted.record.sha256) == {*FILES, ARCHITECTURE}
    assert set(rewrite(int8_folder, out).record.sha256) == set(FILES)


def test_scenes_are_seen_as_a_camera_sees_them(small_folder: ScorerFolder) -> None:
    found = list(of_scenes(small_folder.record.shape, 3))
    assert len(found) == 3 and found[0].shape == (144, 256, 7)
    assert all(picture[..., :3].std() > 5 for picture in found) and any(picture[..., 3].any() for picture in found)


def test_the_command_counts_and_records_what_8_bits_cost(
    small_folder: ScorerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained folder: its own categories, both precisions on the same scenes; the record says what was printed."""
    from argparse import Namespace

    from detector import recall
    from detector.config import GateConfig, Precision
    from detector.engines import ort
    from detector.measure import measure

    monkeypatch.setattr(recall, "SCENES", 3)
    monkeypatch.setattr(recall, "SCENE_S", 24.0)
    said: list[str] = []
    options = Namespace(model=str(small_folder.path), out=tmp_path / "out", precision="int8", frames=None)
    with monkeypatch.context() as patch:
        # As on a machine with CUDA: both precisions are counted on the CPU all the same.
        patch.setattr(ort, "cuda_missing", lambda: None)
        assert run(options, said.append, lambda line: None) == 0
    folder = read_folder(str(tmp_path / "out"))
    found = folder.record.int8
    assert found is not None and (found.scenes, found.scene_s) == (3, 24.0) and 0.9 < found.cosine_mean <= 1
    assert set(found.categories) == set(folder.record.categories)
    assert found.total.events > 0
    for line in lines(found):
        assert line in said
    watched = [rule(name, watch=captions.watch(name)) for name in sorted(folder.record.categories)]
    seeds = range(recall.FIRST_SEED, recall.FIRST_SEED + 3)
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        scorer = Scorer(folder, OnnxEngine(folder, precision=precision), watched, 16)
        measured = measure(scorer, watched, GateConfig(), seeds, 24.0)
        for name, kept in found.categories.items():
            assert (kept.events, getattr(kept, precision)) == (
                measured.categories[name].events,
                measured.categories[name].found,
            )
    # Without its 8-bit graph nothing is known of one, and a folder of before has no such field.
    assert rewrite(folder, tmp_path / "again").record.int8 is None
    assert read_folder("bundled").record.int8 is None


def test_a_loss_is_told_per_category_and_in_all() -> None:
    found = Rounding(
        cosine_mean=0.99,
        cosine_min=0.9,
        scenes=40,
        scene_s=40.0,
        categories={
            "running": Kept(events=8, fp32=7, int8=8),
            "fall": Kept(events=10, fp32=9, int8=6),
            "crowd": Kept(events=0, fp32=0, int8=0),
        },
        false_fp32=0.5,
        false_int8=0.75,
    )
    assert list(lines(found)) == [
        "int8: crowd    no event in these scenes",
        "int8: fall     10 events, fp32 finds 9, int8 6: recall lost 30.0 points",
        "int8: running  8 events, fp32 finds 7, int8 8: recall lost -12.5 points",
        "int8: all categories: 18 events, fp32 finds 16, int8 14: recall lost 11.1 points; false windows per quiet "
        "minute: fp32 0.50, int8 0.75 (40 synthetic scenes of 40 s, one event is 5.6 points)",
    ]
    assert found.total.loss == pytest.approx(2 / 18)
    assert found.categories["crowd"].loss == 0.0


def test_a_checkpoint_needs_frames_for_int8(tmp_path: Path) -> None:
    from argparse import Namespace

    source = checkpoint("siglip", tmp_path / "checkpoint")
    said: list[str] = []
    options = Namespace(model=str(source), out=tmp_path / "out", precision="int8", frames=None)
    with pytest.raises(ExportError, match="give --frames"):
        run(options, said.append, said.append)
    (tmp_path / "frames").mkdir()
    rng = np.random.default_rng(1)
    for index in range(8):
        cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    options.frames = tmp_path / "frames"
    assert run(options, said.append, said.append) == 0
    assert OnnxEngine(read_folder(str(tmp_path / "out")), precision="int8").image(
        np.zeros((2, 64, 64, 3), np.uint8)
    ).shape == (2, 17, 32)
    assert any(line.startswith("int8: cosine with fp32") for line in said)
    (not_measured,) = [line for line in said if "recall" in line]
    assert "no categories of its own" in not_measured and "python -m bench recordings MANIFEST" in not_measured
    known = read_folder(str(tmp_path / "out")).record.int8
    assert known is not None and known.cosine_mean > 0.9 and known.scenes == 0
    with pytest.raises(ExportError, match="no categories of its own"):
        with_recall(read_folder(str(tmp_path / "out")))
