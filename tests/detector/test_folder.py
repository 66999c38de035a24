"""Configuration and model folders: what is wrong is named in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from detector.config import DetectorConfig, GateConfig, ScorerTrainConfig
from detector.errors import DetectorError, ModelFolderError
from detector.folder import FILES, RECORD, ScorerFolder, read_folder
from detector.statement import Tokens, statement

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle = 1", "unknown field `modle`"),
        ('engine = "tensorflow"', "Invalid enum value 'tensorflow' - at `$.engine`"),
        ("max_batch = 0", "at `$.max_batch`"),
        ("gate.close_ratio = 1.5", "at `$.gate.close_ratio`"),
        ("gate.min_span_s = 9.0", "min_span_s 9.0 is longer than max_span_s 7.0"),
        ("gate.pad_before_s = 6.0", "leave nothing of max_span_s"),
    ],
)
def test_mistakes_in_the_table_are_named(text: str, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.toml.decode(text, type=DetectorConfig)
    assert words in str(caught.value)


def test_defaults() -> None:
    config = msgspec.toml.decode("", type=DetectorConfig)
    assert (config.model, config.engine, config.gate) == ("bundled", "auto", GateConfig())


@pytest.mark.parametrize("name", ["train-scorer.toml", "train-scorer-further.toml", "train-scorer-quick.toml"])
def test_training_examples(name: str) -> None:
    config = msgspec.toml.decode((EXAMPLES / name).read_bytes(), type=ScorerTrainConfig)
    assert config.categories and config.threads == 1


def copied(folder: ScorerFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder.path, tmp_path / "model"))


def refused(path: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        read_folder(str(path))
    assert isinstance(caught.value, DetectorError) and isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no folder" in refused(tmp_path / "nowhere")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    assert "has no scorer.json" in refused(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_incomplete_and_damaged(name: str, small_folder: ScorerFolder, tmp_path: Path) -> None:
    path = copied(small_folder, tmp_path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    assert f"{name} is not the file" in refused(path)
    (path / name).unlink()
    assert f"{name} is missing" in refused(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [('"format": 1', '"format": 2', "format 2"), ('"scale"', '"scael"', "cannot be read"), ("{", "", "cannot be read")],
)
def test_records_that_cannot_be_read(
    old: str, new: str, words: str, small_folder: ScorerFolder, tmp_path: Path
) -> None:
    path = copied(small_folder, tmp_path)
    (path / RECORD).write_text((path / RECORD).read_text().replace(old, new, 1))
    assert words in refused(path)


def test_tokens_pad_and_cut_and_know_every_character(small_folder: ScorerFolder) -> None:
    tokens = Tokens(small_folder.file("tokenizer.json"), 12)
    ids = tokens.encode(
        [statement("fall", "a  person\n fell"), statement("fall", "有人摔倒 🧳" * 9), "fall: a person fell"]
    )
    assert ids.shape == (3, 12)
    assert ids[0].tolist() == ids[2].tolist(), "blanks do not matter"
    assert ids[0, -1] == 0 and 0 not in ids[1].tolist()


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="is no tokenizer"):
        Tokens(tmp_path / "tokenizer.json", 12)
