"""One suite for every engine: same inputs, same tokens; the contract of `detector.engines.Engine`."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from detector.engines import Engine, load_engine
from detector.engines.eager import TorchEngine
from detector.engines.ort import OnnxEngine
from detector.errors import EngineClosed, EngineMismatch, EngineUnavailable
from detector.export import TOLERANCE, byte_ranges, parity
from detector.folder import IMAGE_GRAPH, TEXT_GRAPH, WEIGHTS, ScorerFolder, Shape

ENGINES: dict[str, Callable[[ScorerFolder], Engine]] = {"onnx": OnnxEngine, "torch": TorchEngine}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, small_folder: ScorerFolder) -> Iterator[Engine]:
    loaded = ENGINES[request.param](small_folder)
    yield loaded
    loaded.close()


def pictures(count: int, start: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(start).integers(0, 256, (count, 144, 256, 7), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_batches(engine: Engine, count: int) -> None:
    given = pictures(count)
    tokens = engine.image(given)
    assert tokens.shape == (count, 144, 24) and tokens.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=2), 1.0, atol=1e-5)
    np.testing.assert_allclose(engine.image(given[-1:])[0], tokens[-1], atol=TOLERANCE)


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
    np.testing.assert_allclose(engine.image(given[::2]), engine.image(given[::2].copy()), atol=TOLERANCE)


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


def test_concurrent_callers(engine: Engine) -> None:
    batches = [pictures(1 + index % 3, index) for index in range(12)]
    alone = [engine.image(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.image, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)


@pytest.mark.parametrize("kind", sorted(ENGINES))
def test_closed_and_opened_again(kind: str, small_folder: ScorerFolder) -> None:
    first = ENGINES[kind](small_folder)
    tokens = first.image(pictures(1))
    first.close()
    first.close()
    with pytest.raises(EngineClosed, match="closed"):
        first.image(pictures(1))
    with pytest.raises(EngineClosed, match="closed"):
        first.text(np.zeros((1, 40), np.int64))
    np.testing.assert_array_equal(ENGINES[kind](small_folder).image(pictures(1)), tokens)


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


def test_auto_says_what_it_chose(small_folder: ScorerFolder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "detector.engines"):
        engine = load_engine("auto", small_folder)
    assert engine.name in caplog.text
    assert "passed over: tensorrt" in caplog.text
    engine.close()


def test_tensorrt_is_refused_in_one_line(small_folder: ScorerFolder) -> None:
    with pytest.raises(EngineUnavailable, match=r'"tensorrt".*set detector\.engine') as caught:
        load_engine("tensorrt", small_folder)
    assert "\n" not in str(caught.value)


def _with_shape(folder: ScorerFolder, **changed: object) -> ScorerFolder:
    shape: Shape = msgspec.structs.replace(folder.record.shape, **changed)
    return msgspec.structs.replace(folder, record=msgspec.structs.replace(folder.record, shape=shape))


@pytest.mark.parametrize("kind", sorted(ENGINES))
def test_files_that_do_not_fit_the_record(kind: str, small_folder: ScorerFolder) -> None:
    with pytest.raises(EngineMismatch) as caught:
        ENGINES[kind](_with_shape(small_folder, dim=25))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "file"), [("onnx", IMAGE_GRAPH), ("onnx", WEIGHTS), ("torch", WEIGHTS)])
def test_damaged_files(kind: str, file: str, small_folder: ScorerFolder, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(small_folder.path, copy)
    (copy / file).write_bytes((copy / file).read_bytes()[:50])
    with pytest.raises(EngineMismatch) as caught:
        ENGINES[kind](ScorerFolder(path=copy, record=small_folder.record))
    assert "\n" not in str(caught.value)
