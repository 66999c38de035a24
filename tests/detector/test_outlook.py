"""What is told of the engine before a start is what the start then takes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from detector import compilation
from detector.config import EngineKind, Precision
from detector.engines import bindings, compiled, load_engine, tensorrt
from detector.engines.outlook import outlook
from detector.engines.shelf import Shelf
from detector.errors import EngineMismatch, EngineUnavailable
from detector.folder import ScorerFolder, read_folder
from tests.detector.scripted_trt import CpuTensorrtEngine, Driver, ScriptedTrt


def both(kind: EngineKind, folder: ScorerFolder, precision: Precision, engines: Path) -> tuple[str, str]:
    """The engine told of and the one that starts, each with what it passed over; or why none does."""
    told: list[str] = []
    try:
        found = outlook(kind, folder, precision=precision, engines=engines)
        told.append(f"{found.engine} {[tuple(one) for one in found.passed_over]}")
    except (EngineUnavailable, EngineMismatch) as error:
        told.append(f"{type(error).__name__} {error}")
    try:
        engine = load_engine(kind, folder, precision=precision, engines=engines)
        name = "torch" if engine.name.startswith("torch") else engine.name
        told.append(f"{name} {[tuple(one) for one in engine.passed_over]}")
        engine.close()
    except (EngineUnavailable, EngineMismatch) as error:
        # Where an engine was named, the line also says what else to name.
        text = str(error).removeprefix('detector.engine "tensorrt": ')
        told.append(f"{type(error).__name__} {text.removesuffix(OTHERS)}")
    return told[0], told[1]


OTHERS = '; or set detector.engine to "auto", "onnx" or "torch"'


@pytest.mark.parametrize("precision", ["auto", "fp32", "int8", "fp16"])
@pytest.mark.parametrize("kind", ["auto", "onnx", "torch", "tensorrt"])
@pytest.mark.parametrize("folder", ["small_folder", "int8_folder"])
def test_on_this_machine(
    folder: str, kind: EngineKind, precision: Precision, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    told, started = both(kind, request.getfixturevalue(folder), precision, tmp_path)
    assert told == started


def test_without_onnx_runtime(small_folder: ScorerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    told, started = both("auto", small_folder, "auto", tmp_path)
    assert told == started and told.startswith("torch [('tensorrt'")


@pytest.mark.parametrize("state", ["never", "fresh", "stale", "damaged"])
def test_where_tensorrt_is(
    state: str, small_folder: ScorerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = ScriptedTrt()
    monkeypatch.setattr(bindings, "tensorrt", lambda: trt)
    monkeypatch.setattr(bindings, "driver", Driver)
    for place in (tensorrt, compiled):
        monkeypatch.setattr(place, "TensorrtEngine", CpuTensorrtEngine)
    folder = read_folder(str(shutil.copytree(small_folder.path, tmp_path / "model")))
    shelf = Shelf(tmp_path / "engines")
    if state != "never":
        made = compilation.compile_engine(folder, compilation.here(folder, "fp16"), shelf)
        if state == "damaged":
            (shelf.path / made.engine).write_bytes(b"ftrt")
    if state == "stale":
        trt.__version__ = "12.0.0.1"
    found = outlook("auto", folder, engines=shelf.path)
    assert len(trt.builds) == (state != "never"), "looking builds nothing"
    wanted = {
        "fresh": "tensorrt (NVIDIA L4, fp16)",
        "stale": "tensorrt (NVIDIA L4, fp16); built again at the next start: TensorRT 11.2.1.2 is now 12.0.0.1",
        "never": "onnx (CPU); passed over: tensorrt (no fp16 engine is compiled for NVIDIA L4 in ",
        "damaged": "onnx (CPU); passed over: tensorrt (",
    }
    assert str(found).startswith(wanted[state])
    told, started = both("auto", folder, "auto", shelf.path)
    assert told == started
    if state == "never":
        named = outlook("tensorrt", folder, engines=shelf.path)
        assert named.note == "compiled at the first start, which takes minutes" and not trt.builds
