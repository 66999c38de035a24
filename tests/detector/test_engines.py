"""One suite for every engine: same inputs, same tokens; the contract of `detector.engines.Engine`."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from detector import compilation, engines
from detector.engines import Engine, load_engine
from detector.engines import parity as engine_parity
from detector.engines.eager import TorchEngine
from detector.engines.lasting import LastingEngine
from detector.engines.ort import OnnxEngine
from detector.engines.plan import Gpu, Manifest
from detector.engines.shelf import Shelf
from detector.engines.tensorrt import TensorrtEngine
from detector.errors import EngineClosed, EngineMismatch, EngineUnavailable, ExportError
from detector.export import TOLERANCE, byte_ranges, parity
from detector.folder import IMAGE_GRAPH, INT8_GRAPH, TEXT_GRAPH, WEIGHTS, ScorerFolder, Shape
from detector.precision import CALIBRATED, GraphPrecision
from detector.similarity import pooled, probability
from tests.detector.breaking import BreakingEngine
from tests.detector.gpu import need_cuda, need_gpu

PRECISIONS: dict[str, GraphPrecision] = {
    "onnx": "fp32", "onnx-int8": "int8", "onnx-cuda": "fp32", "torch": "fp32", "torch-cuda": "fp32",
    "tensorrt": "fp16", "tensorrt-fp32": "fp32", "tensorrt-fp8": "fp8", "tensorrt-int8": "int8",
    "lasting": "fp32", "breaking": "fp32",
}  # fmt: skip
"""Every engine in every precision that it serves: ONNX Runtime on CUDA and torch serve fp32 alone."""
NEAR = {
    kind: engine_parity.TOLERANCE[precision] if kind.startswith("tensorrt") and precision != "fp32" else TOLERANCE
    for kind, precision in PRECISIONS.items()
}
"""Between two calls of one engine with other neighbours: another batch size may take other kernels."""

Open = Callable[[ScorerFolder], Engine]


@pytest.fixture(scope="session")
def compiled(
    small_folder: ScorerFolder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[GraphPrecision], tuple[Shelf, Manifest]]:
    """The small folder's engine in a precision, built on this machine's GPU, once."""
    shelf = Shelf(tmp_path_factory.mktemp("engines"))

    @cache
    def build(precision: GraphPrecision) -> tuple[Shelf, Manifest]:
        calibration = [
            pictures(4, 1),
            np.concatenate([engine_parity.probe(small_folder.record.shape, s) for s in (1, 2)]),
        ]
        wanted = compilation.here(small_folder, precision)
        given = calibration if precision in CALIBRATED else ()
        return shelf, compilation.compile_engine(small_folder, wanted, shelf, given)

    return build


@pytest.fixture(params=list(PRECISIONS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name.startswith("tensorrt"):
        need_gpu()
    if name == "onnx-cuda":
        need_cuda("onnx")
    if name == "torch-cuda":
        need_cuda("torch")
    return name


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest) -> ScorerFolder:
    """The small model; with its 8-bit graph where that is what runs."""
    found: ScorerFolder = request.getfixturevalue("int8_folder" if kind == "onnx-int8" else "small_folder")
    return found


@pytest.fixture
def start(kind: str, request: pytest.FixtureRequest) -> Open:
    if kind.startswith("tensorrt"):
        shelf, manifest = request.getfixturevalue("compiled")(PRECISIONS[kind])
        return lambda folder: TensorrtEngine(folder, manifest, shelf.engine(manifest))
    ways: dict[str, Open] = {
        "onnx": OnnxEngine,
        "onnx-int8": lambda folder: OnnxEngine(folder, precision="int8"),
        "onnx-cuda": lambda folder: OnnxEngine(folder, device="cuda"),
        "torch": lambda folder: TorchEngine(folder, device="cpu"),
        "torch-cuda": lambda folder: TorchEngine(folder, device="cuda"),
        "lasting": lambda folder: LastingEngine(OnnxEngine(folder)),
        "breaking": lambda folder: BreakingEngine(OnnxEngine(folder)),
    }
    return ways[kind]


@pytest.fixture
def engine(start: Open, folder: ScorerFolder) -> Iterator[Engine]:
    loaded = start(folder)
    yield loaded
    loaded.close()


def pictures(count: int, start: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(start).integers(0, 256, (count, 144, 256, 7), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7, 33, 64])
def test_batches(engine: Engine, kind: str, count: int) -> None:
    given = pictures(count)
    tokens = engine.image(given)
    assert tokens.shape == (count, 144, 24) and tokens.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=2), 1.0, atol=1e-5)
    np.testing.assert_allclose(engine.image(given[-1:])[0], tokens[-1], atol=NEAR[kind])


def test_same_scores(engine: Engine, kind: str, folder: ScorerFolder) -> None:
    reference = OnnxEngine(folder)
    allowed = engine_parity.TOLERANCE[PRECISIONS[kind]]
    ids = np.random.default_rng(4).integers(1, 400, (5, 40), dtype=np.int64)
    np.testing.assert_allclose(engine.text(ids), reference.text(ids), atol=TOLERANCE)
    record = folder.record
    texts, known = reference.text(ids), next(iter(record.categories.values()))
    for given in (pictures(3), engine_parity.probe(record.shape)):
        tokens, wanted, novelty = engine.image(given), reference.image(given), np.zeros(len(given), np.float32)
        apart = engine_parity.distance(tokens, wanted)
        assert apart <= allowed
        assert PRECISIONS[kind] == "fp32" or apart > engine_parity.TOLERANCE["fp32"], "it is the precision it says"
        scores = [
            probability(record.scale * pooled(each, texts, record.sharpness)[:, 0] + record.bias, novelty, known)
            for each in (tokens, wanted)
        ]
        np.testing.assert_allclose(scores[0], scores[1], atol=allowed * record.scale)
    engine_parity.check(engine, folder, PRECISIONS[kind])


def _raises(error: Exception) -> Callable[..., object]:
    def raising(*given: object, **named: object) -> object:
        raise error

    return raising


def test_an_engine_that_is_too_far_off_is_refused(small_folder: ScorerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(OnnxEngine):
        def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            tokens = super().image(pictures)
            tokens[0, 5, 0] += 0.01
            return tokens

    with pytest.raises(EngineMismatch, match=r"1\.0e-02 from the CPU's tokens, more than the 0\.004 of fp16"):
        engine_parity.check(Off(small_folder), small_folder, "fp16")
    engine_parity.check(Off(small_folder), small_folder, "int8")
    torch_alone = EngineUnavailable("not installed")

    class Turned(OnnxEngine):
        """Each token is near enough for 8 bits, and all of them lean towards the texts."""

        def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            leaning = super().image(pictures) + 0.28 * super().text(ids).mean(axis=0)
            return np.asarray(leaning / np.linalg.norm(leaning, axis=-1, keepdims=True), np.float32)

    ids = engine_parity.rule_ids(small_folder)
    with pytest.raises(EngineMismatch, match=r"from the CPU's scores, more than the 0\.25 of int8"):
        engine_parity.check(Turned(small_folder), small_folder, "int8")
    monkeypatch.setattr(OnnxEngine, "__init__", _raises(torch_alone))
    engine_parity.check(TorchEngine(small_folder, device="cpu"), small_folder, "fp32")
    assert engine_parity.distance(np.full((1, 1, 2), np.nan, np.float32), np.zeros((1, 1, 2), np.float32)) == np.inf


def test_the_caller_owns_what_it_gets(engine: Engine) -> None:
    given = pictures(2)
    first = engine.image(given)
    kept = first.copy()
    engine.image(pictures(2, 9))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(engine.image(given), kept)


def test_views_are_welcome(engine: Engine) -> None:
    given = pictures(4)
    np.testing.assert_allclose(engine.image(given[::2]), engine.image(given[::2].copy()), atol=1e-6)


def test_texts(engine: Engine) -> None:
    ids = np.zeros((3, 40), np.int64)
    ids[0, :4], ids[1, :4], ids[2, :9] = (5, 6, 7, 8), (5, 6, 7, 8), range(20, 29)
    texts = engine.text(ids)
    assert texts.shape == (3, 24) and texts.dtype == np.float32
    np.testing.assert_allclose(texts[0], texts[1], atol=1e-6)
    assert float(texts[0] @ texts[2]) < 0.999
    np.testing.assert_allclose(engine.text(ids[2:])[0], texts[2], atol=TOLERANCE)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 144, 256, 3), np.uint8),
        np.zeros((1, 256, 144, 7), np.uint8),
        np.zeros((144, 256, 7), np.uint8),
        np.zeros((1, 144, 256, 7), np.float32),
        np.zeros((0, 144, 256, 7), np.uint8),
        np.zeros((65, 144, 256, 7), np.uint8),
    ],
    ids=["channels", "turned", "no batch", "dtype", "empty", "too many"],
)
def test_wrong_pictures_are_refused(engine: Engine, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(EngineMismatch, match="takes"):
        engine.image(wrong)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 39), np.int64), np.zeros((1, 40), np.int32), np.zeros((0, 40), np.int64), np.full((1, 40), 400)],
    ids=["length", "dtype", "empty", "vocabulary"],
)
def test_wrong_ids_are_refused(engine: Engine, wrong: NDArray[np.int64]) -> None:
    with pytest.raises(EngineMismatch):
        engine.text(wrong)


def test_it_says_what_runs(engine: Engine, kind: str, folder: ScorerFolder) -> None:
    names = {"torch": WEIGHTS, "torch-cuda": WEIGHTS, "onnx-int8": INT8_GRAPH}
    assert engine.precision == PRECISIONS[kind]
    assert len(engine.sha256) == 64
    if kind.startswith("tensorrt"):
        assert engine.sha256 not in folder.record.sha256.values() and engine.precision in engine.name
    else:
        assert engine.sha256 == folder.record.sha256[names.get(kind, IMAGE_GRAPH)]


def test_concurrent_callers(engine: Engine, kind: str) -> None:
    batches = [pictures(1 + index % 3, index) for index in range(12)]
    alone = [engine.image(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.image, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=NEAR[kind])


@pytest.mark.parametrize("kind", ["tensorrt"], indirect=True)
def test_tensorrt_shares_the_device_with_torch(small_folder: ScorerFolder, start: Open) -> None:
    """Both work at once in one context, torch allocates while graphs are recorded, and it outlives the engine."""
    import torch

    rng = torch.Generator("cuda").manual_seed(1)
    matrix = torch.randn(1024, 1024, generator=rng, device="cuda") / 32
    wanted = (matrix @ matrix).cpu()
    engine = start(small_folder)
    stop = threading.Event()

    def multiply() -> int:
        rounds = 0
        while not stop.is_set() or not rounds:
            torch.cuda.empty_cache()
            torch.testing.assert_close((matrix @ matrix).cpu(), wanted)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(multiply)
        alone = {count: engine.image(pictures(count)) for count in range(1, 12)}
        for count, tokens in alone.items():
            np.testing.assert_array_equal(engine.image(pictures(count)), tokens)
        stop.set()
        assert working.result(60)
    engine.close()
    torch.testing.assert_close((matrix @ matrix).cpu(), wanted)


def test_closed_and_opened_again(start: Open, folder: ScorerFolder) -> None:
    first = start(folder)
    tokens = first.image(pictures(1))
    first.close()
    first.close()
    with pytest.raises(EngineClosed, match="closed"):
        first.image(pictures(1))
    with pytest.raises(EngineClosed, match="closed"):
        first.text(np.zeros((1, 40), np.int64))
    again = start(folder)
    np.testing.assert_array_equal(again.image(pictures(1)), tokens)
    again.close()


@pytest.mark.parametrize("model", ["small", "bundled"])
def test_engines_agree(model: str, small_folder: ScorerFolder) -> None:
    from detector.folder import read_folder

    assert parity(small_folder if model == "small" else read_folder("bundled"), seed=3) <= TOLERANCE


def test_the_graphs_hold_no_weights_and_point_into_the_safetensors(small_folder: ScorerFolder) -> None:
    import onnx

    assert small_folder.file(IMAGE_GRAPH).stat().st_size < 100_000
    places = set(byte_ranges(small_folder.file(WEIGHTS)).values())
    for name in (IMAGE_GRAPH, TEXT_GRAPH):
        graph = onnx.load(str(small_folder.file(name)), load_external_data=False).graph
        references = [{entry.key: entry.value for entry in tensor.external_data} for tensor in graph.initializer]
        assert references and {entry["location"] for entry in references} == {WEIGHTS}
        assert {(int(entry["offset"]), int(entry["length"])) for entry in references} <= places


def test_auto_says_what_it_chose(small_folder: ScorerFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "detector.engines"):
        engine = load_engine("auto", small_folder, engines=tmp_path)
    assert engine.name in caplog.text
    # Nothing was compiled here, so that a start never takes minutes that nobody asked for.
    assert re.search(
        r"passed over: tensorrt \((no fp16 engine is compiled|TensorRT is not|no NVIDIA GPU|pycuda)", caplog.text
    )
    engine.close()


@pytest.mark.parametrize(
    ("failing", "chosen", "said"),
    [
        ({}, "TRT", []),
        ({"_tensorrt": EngineUnavailable("no GPU")}, "CUDA", ["tensorrt (no GPU)"]),
        ({"_tensorrt": EngineMismatch("too far off")}, "CUDA", ["tensorrt (too far off)"]),
        ({"_tensorrt": ExportError("cannot build")}, "CUDA", ["tensorrt (cannot build)"]),
        (
            {"_tensorrt": OSError("full"), "_onnx_cuda": OSError("gone")},
            "CPU",
            ["tensorrt (full)", "onnx on CUDA (gone)"],
        ),
        (
            {"_tensorrt": EngineUnavailable("no GPU"), "_onnx_cuda": EngineMismatch("off")},
            "CPU",
            ["tensorrt (no GPU)", "onnx on CUDA (off)"],
        ),
        (
            {
                "_tensorrt": EngineUnavailable("a"),
                "_onnx_cuda": EngineUnavailable("b"),
                "_onnx": EngineUnavailable("c"),
            },
            "torch",
            ["tensorrt (a)", "onnx on CUDA (b)", "onnx on the CPU (c)"],
        ),
    ],
    ids=["all run", "no GPU", "damaged", "no rebuild", "no disk", "only the CPU", "only torch"],
)
def test_auto_falls_in_order_and_says_why(
    failing: dict[str, Exception],
    chosen: str,
    said: list[str],
    small_folder: ScorerFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every rung is the real one where this machine has it; elsewhere its place is held by a CPU engine with a name."""
    import detector.engines as rooms

    def rung(step: str, name: str) -> Callable[..., Engine]:
        def start(*arguments: object, **named: object) -> Engine:
            if step in failing:
                raise failing[step]
            engine = OnnxEngine(small_folder)
            engine.name = name
            return engine

        return start

    for step, name in (("_tensorrt", "TRT"), ("_onnx_cuda", "CUDA"), ("_onnx", "CPU"), ("_torch", "torch")):
        monkeypatch.setattr(rooms, step, rung(step, name))
    with caplog.at_level(logging.INFO, "detector.engines"):
        engine = load_engine("auto", small_folder)
    assert (engine.name, list(map(str, engine.passed_over))) == (chosen, said)
    kinds = {EngineUnavailable: "unavailable", EngineMismatch: "mismatch", ExportError: "export", OSError: "system"}
    assert [one.kind for one in engine.passed_over] == [kinds[type(error)] for error in failing.values()]
    assert f"auto: {chosen}; passed over: {', '.join(said) or 'none'}" in caplog.text
    surprising = any(not isinstance(error, EngineUnavailable) for error in failing.values())
    assert any(record.levelno == logging.WARNING for record in caplog.records) == surprising


def test_what_onnx_runtime_raises_is_passed_over_as_well(
    small_folder: ScorerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU without room says so only when the tower runs: its session loads, and the first call fails."""
    import onnxruntime

    from detector.engines import ort

    real = ort._open

    class Full:
        run = staticmethod(_raises(onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException("BFCArena:\nno room")))

    monkeypatch.setattr(ort, "cuda_missing", lambda: None)
    monkeypatch.setattr(ort, "_open", lambda *given: Full if given[3] == "cuda" else real(*given))
    engine = load_engine("auto", small_folder)
    assert engine.name == "onnx (CPU)"
    assert str(engine.passed_over[1]) == (
        "onnx on CUDA (onnx (CUDA) failed (BFCArena: no room); set detector.engine to another)"
    )


@pytest.mark.parametrize("installed", [(), ("onnxruntime_gpu",)])
def test_two_builds_of_onnx_runtime_are_named(
    installed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_folder: ScorerFolder
) -> None:
    """The second one is only its record: what it does to the files of the first was measured elsewhere."""
    from deploy.check import _libraries
    from detector.engines import ort

    if "CUDAExecutionProvider" in ort.runtime().get_available_providers():
        pytest.skip("not run: this ONNX Runtime has CUDA")
    for name in installed:
        record = tmp_path / f"{name}-9.9.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [row.detail for row in _libraries() if row.part == "onnxruntime"]
    with pytest.raises(EngineUnavailable) as caught:
        engines._onnx_cuda(small_folder, 1, "auto")
    if not installed:
        assert ort.clash() is None and rows == [] and "built without CUDA" in str(caught.value)
        return
    assert rows == [ort.clash()] == [str(caught.value)]
    assert (
        "onnxruntime-gpu 9.9 are both installed" in rows[0]
        and "pip uninstall -y onnxruntime onnxruntime-gpu" in rows[0]
    )


def test_an_onnx_runtime_that_was_half_uninstalled_is_named(
    monkeypatch: pytest.MonkeyPatch, small_folder: ScorerFolder, tmp_path: Path
) -> None:
    """What is left of the folder is a package without anything in it; torch runs then."""
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(EngineUnavailable, match=r"empty.*install it again"):
        OnnxEngine(small_folder)
    engine = load_engine("auto", small_folder, engines=tmp_path)
    assert engine.name.startswith("torch") and "is empty" in engine.passed_over[2].reason
    engine.close()


class OutOfMemory(Exception):
    """As `pycuda.driver.Error`, of which its MemoryError and LogicError are."""


@pytest.mark.parametrize("stage", ["context", "shelf"])
def test_a_gpu_or_shelf_that_fails_is_passed_over(
    stage: str, small_folder: ScorerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for pycuda, whose errors this machine may have no GPU to raise."""
    from detector.engines import bindings, compiled
    from detector.engines import tensorrt as module

    threads: list[str] = []

    class Context:
        def push(self) -> None:
            threads.append("pushed")

        def detach(self) -> None:
            threads.append("detached")

    class Driver:
        Error = OutOfMemory
        Context = type("Stack", (), {"pop": staticmethod(lambda: threads.append("popped"))})

        @staticmethod
        def Device(place: int) -> object:
            return type("Device", (), {"retain_primary_context": staticmethod(Context)})

    monkeypatch.setattr(bindings, "driver", lambda: Driver)
    monkeypatch.setattr(
        bindings, "tensorrt", lambda: type("Trt", (), {"Runtime": _raises(OutOfMemory("out of\nroom"))})
    )
    monkeypatch.setattr(bindings, "logger", lambda trt: None)
    monkeypatch.setattr(
        module, "capture_for_this_thread", lambda: threads.append(f"captures in {threading.current_thread().name}")
    )
    wanted = compilation.recipe(small_folder, "fp16", Gpu("NVIDIA L4", (8, 9)), "11.2.1.2")
    monkeypatch.setattr(compilation, "here", lambda folder, precision: wanted)
    manifest = Manifest(recipe=wanted, engine="x.engine", engine_sha256="0" * 64, build_s=1.0, created="2026")
    if stage == "shelf":
        monkeypatch.setattr(compiled, "current", _raises(PermissionError(13, "Permission denied", "x.engine")))
    else:
        monkeypatch.setattr(compiled, "current", lambda *given, **named: manifest)
        monkeypatch.setattr(Shelf, "engine", lambda self, manifest: b"")
    engine = load_engine("auto", small_folder, engines=tmp_path)
    assert engine.name.startswith("onnx")
    if stage == "shelf":
        said = engine.passed_over[0].reason
        assert "Permission denied" in said and "set detector.engines" in said
    else:
        assert str(engine.passed_over[0]) == (
            "tensorrt (tensorrt (NVIDIA L4, fp16) failed (out of room); see nvidia-smi)"
        )
        assert threads == ["pushed", "captures in tensorrt", "popped", "detached"]
    with pytest.raises(EngineUnavailable):
        compiled.open_compiled(small_folder, "fp16", tmp_path, build=False)


def test_a_thread_is_told_whose_captures_concern_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from detector.engines import cudagraph

    asked: list[tuple[str, int]] = []

    class Library:
        def cuThreadExchangeStreamCaptureMode(self, mode: Any) -> int:
            asked.append(("mode", mode._obj.value))
            return 0

    monkeypatch.setattr(cudagraph, "_library", Library)
    cudagraph.capture_for_this_thread()
    assert asked == [("mode", cudagraph.CAPTURE_THREAD_LOCAL)]
    assert "cuThreadExchangeStreamCaptureMode" in cudagraph.FUNCTIONS


def test_torch_on_a_gpu_is_exact_and_compared(small_folder: ScorerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from detector.engines import eager

    def switches() -> tuple[bool, str, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.allow_tf32, torch.get_float32_matmul_precision(), cudnn.enabled

    before = switches()
    barrier = threading.Barrier(3)

    def use(place: int) -> tuple[bool, str, bool]:
        barrier.wait(10)
        with eager.full_products("cuda"):
            return switches()

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(use, range(3))) == {(False, "highest", True)}
    assert switches() == before

    class OnGpu(TorchEngine):
        """Says that it is on a GPU and errs as TF32 does."""

        def __init__(self, folder: ScorerFolder, **named: Any) -> None:
            super().__init__(folder, device="cpu")
            self.device = "cuda"

        def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            with monkeypatch.context() as here:
                here.setattr(self, "device", "cpu")
                return super().image(pictures) + np.float32(1e-3)

        def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
            with monkeypatch.context() as here:
                here.setattr(self, "device", "cpu")
                return super().text(ids)

    monkeypatch.setattr(eager, "TorchEngine", OnGpu)
    with pytest.raises(EngineMismatch, match="from the CPU's tokens"):
        load_engine("torch", small_folder)


def test_what_the_cpu_says_of_the_files_is_final(small_folder: ScorerFolder, tmp_path: Path) -> None:
    with pytest.raises(EngineMismatch):
        load_engine("auto", _with_shape(small_folder, dim=25), engines=tmp_path)


def _with_shape(folder: ScorerFolder, **changed: object) -> ScorerFolder:
    shape: Shape = msgspec.structs.replace(folder.record.shape, **changed)
    return msgspec.structs.replace(folder, record=msgspec.structs.replace(folder.record, shape=shape))


def test_files_that_do_not_fit_the_record(start: Open, folder: ScorerFolder) -> None:
    with pytest.raises(EngineMismatch) as caught:
        start(_with_shape(folder, dim=25))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "file"),
    [("onnx", IMAGE_GRAPH), ("onnx", WEIGHTS), ("onnx-int8", INT8_GRAPH), ("torch", WEIGHTS)],
    indirect=["kind"],
)
def test_damaged_files(file: str, start: Open, folder: ScorerFolder, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder.path, copy)
    (copy / file).write_bytes((copy / file).read_bytes()[:50])
    with pytest.raises(EngineMismatch) as caught:
        start(ScorerFolder(path=copy, record=folder.record))
    assert "\n" not in str(caught.value)
