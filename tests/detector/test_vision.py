"""Vision models of transformers without a text tower: their pooled vector in every engine, and no rule by them."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import recordings
from deploy import export as command
from deploy.check import examine
from deploy.config import Config
from detector.adopt import adopt
from detector.compilation import recipe
from detector.config import DetectorConfig
from detector.engines import load_engine
from detector.engines.parity import check
from detector.engines.plan import Gpu
from detector.errors import EngineMismatch, ExportError, ModelFolderError, RuleNotServed
from detector.export import TOLERANCE, parity
from detector.folder import ARCHITECTURE, IMAGE_GRAPH, RECORD, WEIGHTS, ScorerFolder, files, read_folder
from detector.precision import GraphPrecision, typed
from detector.scorer import Scorer
from ingest.config import CameraConfig
from tests.detector.checkpoint import MEAN, STD
from tests.detector.material import rule

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 16}
KINDS: dict[str, dict[str, Any]] = {
    "vit": {"intermediate_size": 64, "image_size": 64},
    "deit": {"intermediate_size": 64, "image_size": [64, 64]},
    "dinov2": {"image_size": 112, "patch_size": 14},
    "dinov2_with_registers": {"image_size": 64},
    "clip_vision_model": {"intermediate_size": 64, "image_size": 64, "projection_dim": 24},
    "siglip_vision_model": {"intermediate_size": 64, "image_size": 64},
}
CROPPED_PX = 70
"""DINOv2 is released with positions for larger pictures than its processor gives it."""
LOOK = {"image_mean": MEAN, "image_std": STD}


def checkpoint(kind: str, path: Path, *, pooler: bool = True, **look: Any) -> Path:
    """A folder as `save_pretrained` writes it, random but with no two weights alike."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(3)
    classes: Any = AutoModel
    model = classes.from_config(AutoConfig.for_model(kind, **{**SIZE, **KINDS[kind]}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    if not pooler:
        model.pooler = None
    model.save_pretrained(path)
    if kind == "dinov2":
        look = {"do_center_crop": True, "crop_size": {"height": CROPPED_PX, "width": CROPPED_PX}, **look}
    (path / "preprocessor_config.json").write_text(json.dumps({**LOOK, **look}), "utf-8")
    return path


@pytest.fixture(scope="module", params=[*KINDS, "vit without pooler"])
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScorerFolder]:
    """The checkpoint and the folder made of it."""
    kind, _, without = str(request.param).partition(" ")
    path = tmp_path_factory.mktemp(kind)
    source = checkpoint(kind, path / kind, pooler=not without)
    return source, adopt(str(source), path / "scorer")


def test_the_engines_say_what_the_checkpoint_says(adopted: tuple[Path, ScorerFolder]) -> None:
    """transformers' own pooled vector, from floats that numpy scaled, against the folder's uint8 graph."""
    import torch
    from transformers import AutoModel

    source, folder = adopted
    shape = folder.record.shape
    model: Any = AutoModel.from_pretrained(source, dtype="float32").eval()
    width, height = shape.picture_size
    assert (width, height) == ((CROPPED_PX, CROPPED_PX) if model.config.model_type == "dinov2" else (64, 64))
    pictures = np.random.default_rng(1).integers(0, 256, (5, height, width, 3), dtype=np.uint8)
    scaled = torch.from_numpy(((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)).float()
    with torch.inference_mode():
        seen = model(pixel_values=scaled)
    stored = {name for name in _names(source) if name.startswith("pooler")}
    pooled = seen.pooler_output
    if model.config.model_type in ("vit", "deit") and not stored:
        pooled = seen.last_hidden_state[:, 0]
    wanted = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    assert np.linalg.norm(wanted[0] - wanted[1]) > 1e-2
    for name in ("onnx", "torch"):
        engine = load_engine(name, folder)
        for count in (1, 5):
            tokens = engine.image(pictures[:count])
            assert tokens.shape == (count, 1, shape.dim) and tokens.dtype == np.float32
            np.testing.assert_allclose(tokens[:, 0], wanted[:count], atol=1e-3)
        check(engine, folder, "fp32")
        with pytest.raises(EngineMismatch, match="no text tower"):
            engine.text(np.zeros((1, 8), np.int64))
        engine.close()
    assert parity(folder, seed=4) <= TOLERANCE
    assert set(folder.record.sha256) == {IMAGE_GRAPH, WEIGHTS, ARCHITECTURE} == {*files(shape), ARCHITECTURE}
    assert folder.record.scaling is not None and folder.record.scaling.mean == MEAN


def _names(source: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(source / "model.safetensors", "pt") as file:
        return set(file.keys())


def test_the_graph_takes_what_tensorrt_is_compiled_from(adopted: tuple[Path, ScorerFolder], tmp_path: Path) -> None:
    """Typed like any other tower's (the checker judges it), of one Conv and no resizing; a recipe names the folder."""
    import onnx

    _, folder = adopted
    eighths: dict[str, GraphPrecision] = {"dinov2": "fp8", "siglip_vision_model": "int8"}
    precision = eighths.get(folder.record.architecture, "fp16")
    shape = folder.record.shape
    width, height = shape.picture_size
    pictures = np.random.default_rng(2).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    typed(folder.file(IMAGE_GRAPH), tmp_path / "typed.onnx", precision, [pictures])
    graph = onnx.load(str(tmp_path / "typed.onnx")).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("Conv") == 1 and "Resize" not in operators
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param
    wanted = recipe(folder, precision, Gpu("NVIDIA L4", (8, 9)), "11.2.1.2")
    assert wanted.folder == str(folder.path.resolve())


def test_the_command_writes_it_and_rules_are_refused_in_one_line(tmp_path: Path) -> None:
    """As long as no rule asks: what every rule needs is a text to compare with."""
    import cv2

    source = checkpoint("vit", tmp_path / "checkpoint")
    (tmp_path / "frames").mkdir()
    rng = np.random.default_rng(1)
    for index in range(8):
        cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    said: list[str] = []
    options = Namespace(model=str(source), out=tmp_path / "out", precision="int8", frames=tmp_path / "frames")
    assert command.run(options, said.append, lambda line: None) == 0
    assert any("no text tower" in line and "detector.model" not in line for line in said)
    assert not any(line.startswith("[detector]") for line in said), "no configuration uses it"
    assert not any("bench recordings" in line for line in said), "without a rule nothing counts it there"
    folder = read_folder(str(tmp_path / "out"))
    assert folder.record.int8 is not None
    (tmp_path / "list.json").write_bytes(b"[]")
    asked = Namespace(manifest=tmp_path / "list.json", scorer=str(folder.path), precision="int8", model="bundled")
    with pytest.raises(SystemExit, match=r"recordings: the models serve no rule.*out has no text tower") as ended:
        recordings.run(asked)
    assert "\n" not in str(ended.value)
    with pytest.raises(RuleNotServed, match=r"rule-fall.*out has no text tower.*bundled.*SigLIP 2") as caught:
        Scorer.load(DetectorConfig(model=str(folder.path), engine="onnx"), [rule()])
    assert "\n" not in str(caught.value)
    Scorer.load(DetectorConfig(model=str(folder.path), engine="onnx"), []).close()
    config = Config(
        camera=(CameraConfig(id="a", url="rtsp://127.0.0.1/a"),),
        rule=(rule(),),
        data=str(tmp_path / "data"),
        detector=DetectorConfig(model=str(folder.path)),
    )
    (row,) = [row for row in examine(config, probe=False, timeout_s=1.0) if row.part == "scorer"]
    assert row.state == "FAIL" and row.detail == str(caught.value)


@pytest.mark.parametrize(
    ("kind", "damage", "said"),
    [
        ("vit", "processor", r"no preprocessor_config\.json with image_mean"),
        ("siglip_vision_model", "head", "no pooling head"),
        ("dinov2", "weights", r"lacks 2 weights of a 'dinov2', as layernorm\.bias"),
        ("vit", "sizes", r"cannot be loaded"),
        ("vit", "oblong", r"\[64, 32\].*use a square one"),
    ],
)
def test_what_cannot_be_written_is_refused(kind: str, damage: str, said: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = checkpoint(kind, tmp_path / "checkpoint")
    told = json.loads((source / "config.json").read_text("utf-8"))
    match damage:
        case "processor":
            (source / "preprocessor_config.json").unlink()
        case "head":
            told["vision_use_head"] = False
        case "weights":
            weights = load_file(source / "model.safetensors")
            kept = {name: tensor for name, tensor in weights.items() if not name.startswith("layernorm.")}
            save_file(kept, source / "model.safetensors", {"format": "pt"})
        case "sizes":
            told["image_size"] = 32
        case "oblong":
            told["image_size"] = [64, 32]
    (source / "config.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(ExportError, match=said) as caught:
        adopt(str(source), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_another_models_configuration_is_refused(tmp_path: Path) -> None:
    from detector.export import seal
    from detector.vision import load_weights

    folder = adopt(str(checkpoint("clip_vision_model", tmp_path / "checkpoint")), tmp_path / "scorer")
    copy = Path(shutil.copytree(folder.path, tmp_path / "copy"))
    told = json.loads((copy / ARCHITECTURE).read_text("utf-8"))
    (copy / ARCHITECTURE).write_text(json.dumps({**told, "model_type": "bert"}), "utf-8")
    with pytest.raises(ModelFolderError, match=r"config\.json is not the file that"):
        read_folder(str(copy))
    sealed = seal(copy, folder.record)
    with pytest.raises(ModelFolderError, match=r"does not fit scorer\.json"):
        load_weights(sealed)
    (copy / IMAGE_GRAPH).unlink()
    with pytest.raises(ModelFolderError, match=r"scorer\.onnx is missing"):
        read_folder(str(copy))
    assert (copy / RECORD).is_file()
