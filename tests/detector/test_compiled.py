"""TensorRT without a GPU: what is pure runs for real, what calls the library is held against its real bindings."""

from __future__ import annotations

import ast
import logging
import shutil
import threading
import tomllib
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from detector import compilation
from detector.engines import bindings, load_engine
from detector.engines import build as build_module
from detector.engines.compiled import current
from detector.engines.lane import Lane, LaneClosed
from detector.engines.phases import Phases, monitor
from detector.engines.plan import (
    Gpu,
    Profile,
    Recipe,
    differences,
    file_name,
    padded,
    profile_of,
    profiles,
    typed_name,
)
from detector.engines.shelf import Shelf
from detector.errors import EngineMismatch, EngineUnavailable, ExportError
from detector.folder import IMAGE_GRAPH, ScorerFolder, read_folder
from detector.precision import typed
from tests.detector.gpu import need_bindings, no_gpu

ADA = Gpu("NVIDIA GeForce RTX 4090", (8, 9))
RECIPE = Recipe(
    model="Mall scorer",
    graph_sha256="1a2b" * 16,
    weights_sha256="3c4d" * 16,
    precision="fp16",
    tensorrt="11.2.1.2",
    gpu=ADA,
    compatibility="none",
    profiles=profiles(64),
)


@pytest.mark.parametrize(
    ("max_batch", "wanted"),
    [
        (1, [(1, 1, 1)]),
        (2, [(1, 1, 1), (2, 2, 2)]),
        (8, [(1, 1, 1), (2, 8, 8)]),
        (16, [(1, 1, 1), (2, 8, 8), (9, 16, 16)]),
        (64, [(1, 1, 1), (2, 8, 8), (9, 32, 32), (33, 64, 64)]),
    ],
)
def test_profiles_cover_every_batch_once(max_batch: int, wanted: list[tuple[int, int, int]]) -> None:
    made = profiles(max_batch)
    assert [(one.smallest, one.usual, one.largest) for one in made] == wanted
    for count in range(1, max_batch + 1):
        fitting = [place for place, one in enumerate(made) if one.smallest <= count <= one.largest]
        assert fitting == [profile_of(made, count)]
    sizes = {padded(count, max_batch) for count in range(1, max_batch + 1)}
    assert sizes == {size for size in (1, 2, 4, 8, 16, 32, 64) if size <= max_batch}
    assert all(count <= padded(count, max_batch) < 2 * count for count in range(1, max_batch + 1))
    assert [padded(count, 12) for count in (8, 9, 12)] == [8, 12, 12]


@pytest.mark.parametrize("max_batch", [0, 65])
def test_profiles_have_bounds(max_batch: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        profiles(max_batch)
    with pytest.raises(ValueError, match="not tuned"):
        Profile(4, 2, 8)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "mall-scorer-1a2b3c4d-trt11.2.1.2-fp16-sm89-nvidia-geforce-rtx-4090-b64.engine"),
        (
            {"compatibility": "same_compute_capability", "precision": "int8"},
            "mall-scorer-1a2b3c4d-trt11.2.1.2-int8-sm89-any-b64.engine",
        ),
        (
            {"compatibility": "ampere_plus", "profiles": profiles(16), "model": "../../етк"},
            "model-1a2b3c4d-trt11.2.1.2-fp16-sm80-plus-b16.engine",
        ),
    ],
)
def test_names_say_version_precision_and_gpu(changed: dict[str, Any], name: str) -> None:
    recipe = replace(RECIPE, **changed)
    assert file_name(recipe) == name
    assert typed_name(recipe, "5e6f7a8b9c").endswith(f"-1a2b3c4d-{recipe.precision}-5e6f7a8b.onnx")


HOPPER = Gpu("NVIDIA H100 80GB HBM3", (9, 0))
OTHER_ADA = Gpu("NVIDIA L4", (8, 9))
TURING = Gpu("Tesla T4", (7, 5))


@pytest.mark.parametrize(
    ("built", "now", "reasons"),
    [
        ({}, {}, []),
        ({}, {"profiles": profiles(8), "compatibility": "ampere_plus"}, []),
        ({}, {"graph_sha256": "ff" * 32}, ["the graph"]),
        ({}, {"weights_sha256": "ff" * 32}, ["the weights"]),
        ({"tensorrt": "10.15.1.29"}, {}, ["TensorRT 10.15.1.29 is now 11.2.1.2"]),
        ({}, {"precision": "int8"}, ["the precision"]),
        ({}, {"gpu": HOPPER}, ["the GPU NVIDIA GeForce RTX 4090 (sm89) is now NVIDIA H100 80GB HBM3 (sm90)"]),
        ({}, {"gpu": OTHER_ADA}, ["the GPU"]),
        ({"compatibility": "same_compute_capability"}, {"gpu": OTHER_ADA}, []),
        ({"compatibility": "same_compute_capability"}, {"gpu": HOPPER}, ["the GPU"]),
        ({"compatibility": "ampere_plus"}, {"gpu": HOPPER}, []),
        ({"compatibility": "ampere_plus"}, {"gpu": TURING}, ["the GPU"]),
        ({"tensorrt": "10.15.1.29"}, {"gpu": HOPPER, "graph_sha256": "ff" * 32}, ["the graph", "TensorRT", "the GPU"]),
    ],
)
def test_staleness(built: dict[str, Any], now: dict[str, Any], reasons: list[str]) -> None:
    found = differences(replace(RECIPE, **built), replace(RECIPE, **now))
    assert len(found) == len(reasons)
    assert all(one.startswith(reason) for one, reason in zip(found, reasons, strict=True))


class Builder:
    """Stands where the GPU is needed and nowhere else: keeps what it was asked, gives bytes."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, graph: Path, shape: Any, *rest: Any) -> tuple[bytes, bytes]:
        *asked, timings, progress = rest
        self.asked.append((graph.read_bytes()[:4], *asked, timings))
        progress(0.5)
        return f"engine {len(self.asked)}".encode(), b"timings"


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    builder = Builder()
    monkeypatch.setattr(compilation, "build", builder)
    return builder


def recipe_of(folder: ScorerFolder, **changed: Any) -> Recipe:
    return replace(compilation.recipe(folder, "fp16", ADA, "11.2.1.2"), **changed)


def test_compiled_found_and_read_again(small_folder: ScorerFolder, tmp_path: Path, builder: Builder) -> None:
    wanted, shelf = recipe_of(small_folder), Shelf(tmp_path / "engines")
    assert shelf.find(wanted) is None
    shares: list[float] = []
    manifest = compilation.compile_engine(small_folder, wanted, shelf, (), shares.append)
    found = shelf.find(wanted)
    assert found is not None and found.manifest == manifest and not found.stale
    assert shelf.engine(manifest) == b"engine 1" and shares == [0.5]
    assert {path.name for path in shelf.path.iterdir()} == {
        manifest.engine, f"{manifest.engine}.json", "trt11.2.1.2-sm89.timings",
    }  # fmt: skip
    assert current(small_folder, wanted, shelf, found, build=True) == manifest and len(builder.asked) == 1
    compilation.compile_engine(small_folder, wanted, shelf)
    assert [asked[-1] for asked in builder.asked] == [b"", b"timings"]


@pytest.mark.parametrize("changed", [{"tensorrt": "12.0.0"}, {"gpu": HOPPER}, {"weights_sha256": "ff" * 32}])
def test_a_stale_engine_is_built_again(
    changed: dict[str, Any],
    small_folder: ScorerFolder,
    tmp_path: Path,
    builder: Builder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, old = Shelf(tmp_path), recipe_of(small_folder, profiles=profiles(8), compatibility="same_compute_capability")
    compilation.compile_engine(small_folder, old, shelf)
    wanted = recipe_of(small_folder, **changed)
    with caplog.at_level(logging.WARNING):
        manifest = current(small_folder, wanted, shelf, shelf.find(wanted), build=False)
    assert "is stale" in caplog.text
    assert manifest.recipe == replace(wanted, profiles=old.profiles, compatibility=old.compatibility)
    again = shelf.find(wanted)
    assert again is not None and not again.stale and again.manifest == manifest
    assert "weights_sha256" not in changed or not (tmp_path / file_name(old)).exists()


def test_calibrated_engines_are_built_again_without_pictures(
    small_folder: ScorerFolder, tmp_path: Path, builder: Builder
) -> None:
    from tests.detector.test_precision import blotches

    shelf, wanted = Shelf(tmp_path), recipe_of(small_folder, precision="int8")
    with pytest.raises(EngineUnavailable, match=r"models compile .* --precision int8 --frames"):
        current(small_folder, wanted, shelf, None, build=True)
    with pytest.raises(ExportError, match="no picture"):
        compilation.compile_engine(small_folder, wanted, shelf)
    made = compilation.compile_engine(small_folder, wanted, shelf, [blotches(4, 1), blotches(3, 2)])
    assert made.calibration_pictures == 7 and shelf.typed(made).name == typed_name(wanted, made.typed_sha256)
    newer = replace(wanted, tensorrt="12.0.0")
    again = current(small_folder, newer, shelf, shelf.find(newer), build=False)
    assert (again.typed_sha256, again.calibration_pictures) == (made.typed_sha256, 7)
    other = replace(wanted, weights_sha256="ff" * 32)
    with pytest.raises(EngineUnavailable, match="calibrated on other weights"):
        current(small_folder, other, shelf, shelf.find(other), build=False)


def test_a_new_calibration_leaves_the_old_one_until_it_is_built(
    small_folder: ScorerFolder, tmp_path: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.detector.test_precision import blotches

    shelf, wanted = Shelf(tmp_path), recipe_of(small_folder, precision="int8")
    older = replace(wanted, tensorrt="11.0.0")
    first = compilation.compile_engine(small_folder, older, shelf, [blotches(4, 1)])

    def interrupted(*given: Any) -> tuple[bytes, bytes]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(compilation, "build", interrupted)
        compilation.compile_engine(small_folder, wanted, shelf, [blotches(4, 9) // 4])
    assert shelf.typed(first).is_file() and len(list(tmp_path.glob("*.onnx"))) == 1
    second = compilation.compile_engine(small_folder, wanted, shelf, [blotches(4, 9) // 4])
    assert shelf.typed(first) != shelf.typed(second)
    third = compilation.compile_engine(small_folder, wanted, shelf, [blotches(4, 5) // 2])
    assert {path.name for path in tmp_path.glob("*.onnx")} == {first.typed, third.typed}, "none that nobody needs"


def test_models_of_one_name_do_not_touch_each_other(
    small_folder: ScorerFolder, tmp_path: Path, builder: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, ours = Shelf(tmp_path), recipe_of(small_folder)
    theirs = replace(ours, folder="/models/other", weights_sha256="ee" * 32)
    other = compilation.compile_engine(small_folder, theirs, shelf)
    assert shelf.find(ours) is None
    made = compilation.compile_engine(small_folder, ours, shelf)
    assert shelf.engine(other) == b"engine 1" and shelf.engine(made) == b"engine 2"
    moved = shelf.find(replace(ours, folder="/models/moved"))
    assert moved is not None and not moved.stale and moved.manifest == made
    # One that cannot be read stops its own model, and nobody else.
    (tmp_path / f"{other.engine}.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        found = shelf.find(ours)
    assert found is not None and found.manifest == made and f"{other.engine}.json is damaged" in caplog.text
    assert compilation.compile_engine(small_folder, ours, shelf).engine == made.engine
    with pytest.raises(EngineMismatch, match="damaged"):
        shelf.find(theirs)


def test_the_last_choice_of_batches_counts(small_folder: ScorerFolder, tmp_path: Path, builder: Builder) -> None:
    shelf, wanted = Shelf(tmp_path), recipe_of(small_folder)
    for largest in (64, 16):
        compilation.compile_engine(small_folder, replace(wanted, profiles=profiles(largest)), shelf)
    found = shelf.find(wanted)
    assert found is not None and found.manifest.recipe.profiles[-1].largest == 16


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"engine 2"), "damaged"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: Path(f"{path}.json").write_bytes(b'{"format": 1'), "damaged"),
        (lambda path: Path(f"{path}.json").write_bytes(b"{}"), "damaged"),
        (
            lambda path: Path(f"{path}.json").write_text(
                Path(f"{path}.json").read_text().replace(f'"{path.name}"', '"../elsewhere.engine"')
            ),
            "manifest",
        ),
    ],
    ids=["bytes", "gone", "half a manifest", "empty manifest", "elsewhere"],
)
def test_damage_is_refused_in_one_line(
    damage: Callable[[Path], Any], reason: str, small_folder: ScorerFolder, tmp_path: Path, builder: Builder
) -> None:
    shelf, wanted = Shelf(tmp_path), recipe_of(small_folder)
    damage(tmp_path / compilation.compile_engine(small_folder, wanted, shelf).engine)
    with pytest.raises(EngineMismatch, match=f"{reason}.*models compile") as caught:
        found = shelf.find(wanted)
        assert found is not None
        shelf.engine(found.manifest)
    assert "\n" not in str(caught.value)


def test_manifest_is_json(small_folder: ScorerFolder, tmp_path: Path, builder: Builder) -> None:
    made = compilation.compile_engine(small_folder, recipe_of(small_folder), Shelf(tmp_path))
    text = msgspec.json.decode((tmp_path / f"{made.engine}.json").read_bytes())
    assert text["recipe"]["graph_sha256"] == small_folder.record.sha256[IMAGE_GRAPH]
    assert text["recipe"]["profiles"][2] == {"smallest": 9, "usual": 32, "largest": 32}
    assert text["recipe"]["gpu"] == {"name": "NVIDIA GeForce RTX 4090", "capability": [8, 9]}


def test_progress_never_goes_back() -> None:
    shares: list[float] = []
    phases = Phases(shares.append)
    phases.start("build", None, 2)
    for outer in range(2):
        phases.start("tune", "build", 4)
        for step in range(4):
            phases.step("tune", step)
        phases.finish("tune")
        phases.step("build", outer)
    phases.finish("build")
    assert shares == sorted(set(shares)) and shares[0] == pytest.approx(0.125) and shares[-1] == 1.0


@contextmanager
def held(log: list[str]) -> Iterator[None]:
    log.append(f"in {threading.current_thread().name}")
    yield
    log.append("out")


def test_lane_overlaps_two_and_finishes_in_order() -> None:
    log: list[str] = []
    lane = Lane("device", lambda: held(log), depth=2)
    gate = threading.Event()
    lane_futures: list[Future[int]] = []

    def piece(number: int) -> Callable[[], Callable[[], int]]:
        def launch() -> Callable[[], int]:
            if number == 0:
                gate.wait(5)
            if number == 3:
                raise ValueError("three")
            log.append(f"launch {number}")

            def finish() -> int:
                log.append(f"finish {number}")
                if number == 4:
                    raise ValueError("four")
                return number

            return finish

        return launch

    lane_futures = [lane.start(piece(number)) for number in range(6)]
    gate.set()
    results = [future.exception(5) or future.result() for future in lane_futures]
    assert [str(result) for result in results] == ["0", "1", "2", "three", "four", "5"]
    lane.close()
    lane.close()
    with pytest.raises(LaneClosed):
        lane.run(int)
    assert log[0] == "in device" and log[-1] == "out"
    # Two are started before the first is waited for, and never three.
    assert log[1:4] == ["launch 0", "launch 1", "finish 0"]
    assert [line for line in log if line.startswith("finish")] == [f"finish {number}" for number in (0, 1, 2, 4, 5)]


def test_lane_that_cannot_enter_says_why() -> None:
    @contextmanager
    def refused() -> Iterator[None]:
        raise EngineMismatch("not this engine")
        yield

    with pytest.raises(EngineMismatch, match="not this engine"):
        Lane("device", refused, depth=2)


@pytest.mark.skipif(no_gpu() is None, reason="there is a GPU")
def test_without_gpu_one_line_says_what_to_install(
    small_folder: ScorerFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.cli import main

    with pytest.raises(EngineUnavailable, match=r'detector\.engine "tensorrt": .*set detector\.engine') as caught:
        load_engine("tensorrt", small_folder, engines=tmp_path)
    assert "\n" not in str(caught.value)
    assert main(["models", "compile", str(small_folder.path), "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "witness[gpu]" in printed.err
    assert main(["models", "compile", str(small_folder.path), "--precision", "int8"]) == 2
    assert "--frames" in capsys.readouterr().err


CLASSES = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "one": "IOptimizationProfile", "cache": "ITimingCache", "runtime": "Runtime", "loaded": "ICudaEngine",
    "engine": "ICudaEngine", "_engine": "ICudaEngine", "context": "IExecutionContext", "_contexts": "IExecutionContext",
    "mode": "TensorIOMode", "severity": "ILogger.Severity",
}  # fmt: skip
"""What the names in our source stand for."""
ROOTS = ("trt", "_trt", "module")


def used(source: Path) -> set[tuple[str, str]]:
    """(class, attribute) of the bindings that a file uses; class "" for the module itself."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if not isinstance(node, ast.Attribute):
            continue
        path = []
        inner: ast.expr = node.value
        if isinstance(inner, ast.Subscript):
            inner = inner.value
        while isinstance(inner, ast.Attribute):
            path.append(inner.attr)
            inner = inner.value
        path.append(inner.id if isinstance(inner, ast.Name) else "")
        chain = list(reversed(path))
        for place, name in enumerate(chain):
            if name in ROOTS:
                found.add((".".join(chain[place + 1 :]), node.attr))
                break
        else:
            if path[0] in CLASSES:
                found.add((CLASSES[path[0]], node.attr))
    return found


def test_every_call_is_one_of_the_real_bindings() -> None:
    trt = need_bindings()
    folder = Path(bindings.__file__).parent
    uses = set().union(*(used(folder / name) for name in ("bindings.py", "build.py", "phases.py", "tensorrt.py")))
    ours = {("IExecutionContext", name) for name in ("clear", "push", "detach")}
    driver = {("", name) for name in ("init", "Device", "Error")} | {("Device", "count")}
    uses -= ours | driver
    assert len(uses) > 30
    missing = []
    for owner, attribute in sorted(uses):
        found: Any = trt
        for name in [*filter(None, owner.split(".")), attribute]:
            found = getattr(found, name, None)
        if found is None:
            missing.append((owner, attribute))
    assert not missing
    assert all(hasattr(trt.HardwareCompatibilityLevel, name.upper()) for name in ("none", "ampere_plus"))


def test_logger_monitor_and_missing_driver_on_the_real_bindings(
    small_folder: ScorerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = need_bindings()
    shares: list[float] = []
    watched = monitor(trt, Phases(shares.append))
    watched.phase_start("build", None, 2)
    assert isinstance(watched, trt.IProgressMonitor) and watched.step_complete("build", 0) is True
    watched.phase_finish("build")
    assert shares == [0.5, 1.0]
    if no_gpu() is None:
        return
    graph = tmp_path / "fp16.onnx"
    typed(small_folder.file(IMAGE_GRAPH), graph, "fp16")
    # Past our own look at the driver, the library itself must end in our one line.
    monkeypatch.setattr(bindings, "driver", lambda: None)
    with pytest.raises(EngineUnavailable, match=r"TensorRT [\d.]+ cannot use the GPU .*nvidia-smi") as caught:
        build_module.build(graph, small_folder.record.shape, profiles(8), "fp16", "none", b"", shares.append)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("own", [False, True])
def test_the_lines_for_the_configuration_are_a_table_of_it(own: bool, tmp_path: Path) -> None:
    """What is printed can be pasted: a folder of one's own is named, and so is where its engines lie."""
    from deploy import compile as command
    from detector.config import DetectorConfig

    folder = read_folder("bundled")
    if own:
        shutil.copytree(folder.path, tmp_path / 'a "folder"')
        folder = read_folder(str(tmp_path / 'a "folder"'))
    said: list[str] = []
    options = Namespace(precision="int8", out=tmp_path / "engines" if own else None)
    command._say_table(options, folder, said.append)
    config = msgspec.convert(tomllib.loads("\n".join(said))["detector"], DetectorConfig)
    assert (config.engine, config.precision) == ("tensorrt", "int8")
    assert config.model == (str(folder.path) if own else "bundled")
    assert config.engines == (str(tmp_path / "engines") if own else "")
