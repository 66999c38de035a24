"""Fixtures of the detector's tests: a small model folder, made on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detector.config import DetectorConfig
from detector.folder import TOKENIZER, CategoryRecord, ScorerFolder, Shape
from tests.detector.checkpoint import KINDS, checkpoint
from tests.detector.material import CATEGORIES, noise


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> ScorerFolder:
    """A complete model folder with random weights: the towers' shapes are real, only smaller."""
    import torch

    from detector import captions, export
    from detector.model import ScorerModel
    from detector.statement import learn_tokens

    path = tmp_path_factory.mktemp("small-scorer")
    torch.manual_seed(5)
    shape = Shape(width=64, depth=2, text_width=32, text_depth=1, vocabulary=400, dim=24)
    learn_tokens(captions.corpus(CATEGORIES, CATEGORIES), shape.vocabulary, path / TOKENIZER)
    model = ScorerModel(shape).eval()
    export.write_weights(model, path)
    known = CategoryRecord(
        slope=1.0, offset=4.0, novelty=0.5, threshold=0.3, strict=0.9, recall=1.0, flags_per_minute=0.0
    )
    return export.write_record(path, export.draft(model, "small", dict.fromkeys(CATEGORIES, known)))


@pytest.fixture(scope="session")
def int8_folder(small_folder: ScorerFolder, tmp_path_factory: pytest.TempPathFactory) -> ScorerFolder:
    """The small folder with the graph that `witness models export MODEL --precision int8` adds."""
    from detector.quantise import add_int8

    path = tmp_path_factory.mktemp("int8") / "scorer"
    shutil.copytree(small_folder.path, path)
    folder = ScorerFolder(path=path, record=small_folder.record)
    folder, cosines = add_int8(folder, noise(9, folder.record.shape))
    assert cosines.size == 3 * folder.record.shape.length
    assert cosines.mean() > 0.99
    return folder


@pytest.fixture(scope="session", params=KINDS)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScorerFolder]:
    """An image-text pair's checkpoint, random, and the folder made of it."""
    from detector.adopt import adopt

    path = tmp_path_factory.mktemp(request.param)
    source = checkpoint(request.param, path / "checkpoint")
    return source, adopt(str(source), path / "scorer")


@pytest.fixture
def small(small_folder: ScorerFolder) -> DetectorConfig:
    return DetectorConfig(model=str(small_folder.path), engine="onnx")
