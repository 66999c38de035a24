"""`witness models compile` where there is a GPU: what it prints and leaves, and what the next start makes of it."""

from __future__ import annotations

import logging
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.cli import main
from detector.config import DetectorConfig, Precision
from detector.engines import bindings, compiled, load_engine, tensorrt
from detector.engines.plan import Manifest, profiles
from detector.errors import EngineMismatch, EngineUnavailable
from detector.folder import BUNDLED, IMAGE_GRAPH, WEIGHTS, read_folder, sha256
from detector.scorer import Scorer
from tests.detector.material import rule
from tests.detector.scripted_trt import MAGIC, CpuTensorrtEngine, Driver, ScriptedTrt
from tests.detector.test_precision import blotches

Compile = Callable[..., Path]


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> ScriptedTrt:
    module = ScriptedTrt()
    monkeypatch.setattr(bindings, "tensorrt", lambda: module)
    monkeypatch.setattr(bindings, "driver", Driver)
    for place in (tensorrt, compiled):
        monkeypatch.setattr(place, "TensorrtEngine", CpuTensorrtEngine)
    return module


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The bundled one, of which 8 bits keep enough, as somebody's own folder."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "model"))


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """The site's own pictures."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for place, picture in enumerate(blotches(6, 3)):
        assert cv2.imwrite(str(folder / f"{place}.png"), picture[..., :3])
    return folder


@pytest.fixture
def compile_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compile:
    """Runs the command and gives the engine's path, which is the first line that it prints."""

    def run(*more: str) -> Path:
        assert main(["models", "compile", str(model), "--out", str(tmp_path / "engines"), *more]) == 0
        printed = capsys.readouterr()
        path, *table = printed.out.splitlines()
        precision = more[more.index("--precision") + 1] if "--precision" in more else "fp16"
        settings = msgspec.convert(tomllib.loads("\n".join(table))["detector"], DetectorConfig)
        wanted = {
            "engine": "tensorrt",
            "precision": precision,
            "engines": str(tmp_path / "engines"),
            "model": str(model),
        }
        assert settings == msgspec.convert(wanted, DetectorConfig)
        assert (
            f"compiling {read_folder('bundled').record.name} for NVIDIA L4" in printed.err
            and "Traceback" not in printed.err
        )
        return Path(path)

    return run


def manifest_of(engine: Path) -> Manifest:
    return msgspec.json.decode(Path(f"{engine}.json").read_bytes(), type=Manifest)


@pytest.mark.parametrize(
    ("precision", "more", "name", "largest"),
    [
        ("fp32", (), "trt11.2.1.2-fp32-sm89-nvidia-l4-b64", 64),
        ("fp16", (), "trt11.2.1.2-fp16-sm89-nvidia-l4-b64", 64),
        (
            "fp16",
            ("--hardware-compatibility", "ampere_plus", "--max-batch", "8"),
            "trt11.2.1.2-fp16-sm80-plus-b8",
            8,
        ),
        ("fp8", ("--max-batch", "16"), "trt11.2.1.2-fp8-sm89-nvidia-l4-b16", 16),
        ("int8", (), "trt11.2.1.2-int8-sm89-nvidia-l4-b64", 64),
    ],
)
def test_what_it_prints_and_leaves(
    precision: str, more: tuple[str, ...], name: str, largest: int,
    trt: ScriptedTrt, compile_it: Compile, model: Path, frames: Path,
) -> None:  # fmt: skip
    calibrated = precision in ("fp8", "int8")
    given = ("--frames", str(frames)) if calibrated else ()
    engine = compile_it("--precision", precision, *more, *given)
    record = read_folder(str(model)).record
    stem = f"{record.name}-{record.sha256[IMAGE_GRAPH][:4]}{record.sha256[WEIGHTS][:4]}"
    assert engine.name == f"{stem}-{name}.engine"
    made = manifest_of(engine)
    assert made.engine == engine.name and made.engine_sha256 == sha256(engine)
    assert made.recipe.folder == str(model) and made.recipe.weights_sha256 == record.sha256[WEIGHTS]
    assert made.recipe.profiles == profiles(largest)
    assert (made.calibration_pictures > 0, bool(made.typed)) == (calibrated, calibrated)
    wanted = {engine.name, f"{engine.name}.json", "trt11.2.1.2-sm89.timings", made.typed} - {""}
    assert {path.name for path in engine.parent.iterdir()} == wanted
    assert not calibrated or engine.read_bytes() == MAGIC + (engine.parent / made.typed).read_bytes()
    (build,) = trt.builds
    assert build.flags == 1 << 1 and build.level == ("ampere+" if "ampere_plus" in more else "none")
    assert build.profiles == [
        tuple((size, 144, 256, 7) for size in (one.smallest, one.usual, one.largest)) for one in profiles(largest)
    ]


def opened(model: Path, engine: Path) -> Scorer:
    """As the next start does."""
    config = DetectorConfig(model=str(model), engine="auto", engines=str(engine.parent))
    return Scorer.load(config, [rule()])


def test_the_next_start_finds_it_fresh(trt: ScriptedTrt, compile_it: Compile, model: Path) -> None:
    engine = compile_it()
    for _ in range(2):
        scorer = opened(model, engine)
        assert scorer.engine == "tensorrt (NVIDIA L4, fp16)" and scorer.passed_over == ()
        assert scorer.provenance == (read_folder("bundled").record.name, sha256(engine), "fp16")
        scorer.close()
    assert len(trt.builds) == 1
    # Whoever asks for it again gets it built again, faster by what was measured.
    assert compile_it() == engine
    assert [build.timings for build in trt.builds] == [b"", b"timings"]


@pytest.mark.parametrize("changed", ["version", "weights"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_is_stale_is_built_again_at_the_next_start(
    changed: str, precision: Precision, trt: ScriptedTrt, compile_it: Compile, model: Path, frames: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """int8 keeps its calibration while the weights are the same, and asks for another when they are not."""
    given = ("--frames", str(frames)) if precision == "int8" else ()
    engine = compile_it("--precision", precision, "--max-batch", "8", *given)
    before = manifest_of(engine)
    if changed == "version":
        trt.__version__ = "12.0.0.1"
    else:
        retrained(model)
    folder = read_folder(str(model))
    if (changed, precision) == ("weights", "int8"):
        with pytest.raises(EngineUnavailable, match="calibrated on other weights"):
            load_engine("tensorrt", folder, precision=precision, engines=engine.parent)
        assert len(trt.builds) == 1
        return
    with caplog.at_level(logging.WARNING):
        found = load_engine("auto", folder, precision=precision, engines=engine.parent)
    assert f"{engine.name} is stale: " in caplog.text
    assert len(trt.builds) == 2 and found.name == f"tensorrt (NVIDIA L4, {precision})" and found.max_batch == 8
    (path,) = (path for path in engine.parent.glob("*.engine") if path != engine)
    assert sha256(path) == found.sha256
    after = manifest_of(path)
    assert after.recipe.profiles == before.recipe.profiles and after.calibration_pictures == before.calibration_pictures
    assert engine.is_file() == (changed == "version"), "an engine of other weights is of no use to anybody"
    found.close()


def retrained(model: Path) -> None:
    """The same model with other weights, as a training writes it."""
    from detector import export
    from detector.model import load_weights

    folder = read_folder(str(model))
    towers = load_weights(folder.record.shape, folder.file(WEIGHTS))
    for parameter in towers.parameters():
        parameter.data += 1e-3
    export.write_weights(towers, model)
    export.write_record(model, export.draft(towers, folder.record.name, folder.record.categories))


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: MAGIC + b"\0" * len(data), lambda data: b""])
def test_what_is_corrupt_is_refused_until_it_is_compiled_again(
    damage: Callable[[bytes], bytes], trt: ScriptedTrt, compile_it: Compile, model: Path
) -> None:
    engine = compile_it()
    engine.write_bytes(damage(engine.read_bytes()))
    with pytest.raises(EngineMismatch, match=r"is damaged.*models compile") as caught:
        load_engine("tensorrt", read_folder(str(model)), engines=engine.parent)
    assert "\n" not in str(caught.value) and engine.name in str(caught.value)
    scorer = opened(model, engine)
    assert scorer.engine.startswith("onnx") and scorer.passed_over[0].kind == "mismatch"
    scorer.close()
    assert compile_it() == engine
    again = opened(model, engine)
    assert again.engine.startswith("tensorrt")
    again.close()


def test_what_scores_otherwise_than_the_cpu_is_not_praised(
    trt: ScriptedTrt, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine is compared before its path is printed."""

    class Off(CpuTensorrtEngine):
        def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.asarray(super().image(pictures)[..., ::-1])

    monkeypatch.setattr(tensorrt, "TensorrtEngine", Off)
    assert main(["models", "compile", str(model), "--out", str(tmp_path / "engines")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "from the CPU's tokens" in printed.err
