"""Two models answer the same unseen windows: what is printed is what the schema says, and spoilt weights show."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from bench.gspo import EACH, SCHEMA_FILE, arguments, lines, rendered, run, schema
from reasoner.folder import BUNDLED

SEED, CLIPS = 5, 8


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments(parser)
    return parser.parse_args(list(words))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with its vocabulary's rows turned round: it still loads, and writes nonsense."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "broken"
    shutil.copytree(BUNDLED, folder)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, file, {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def figures(broken: Path) -> dict[str, Any]:
    return run(options("bundled", str(broken), "--seed", str(SEED), "--clips", str(CLIPS)))


def test_both_are_judged_on_the_same_windows(figures: dict[str, Any]) -> None:
    jsonschema.validate({"bench": "gspo", **figures, "machine": {}}, schema())
    assert (figures["clips"], figures["before"]["model"]) == (CLIPS, "bundled")
    assert 0 < figures["true"] < CLIPS, "windows of one answer tell nothing of the other"
    before, after = figures["before"], figures["after"]
    assert before["accuracy"] > 0.7 and before["box_iou"] > 0.4
    assert after["accuracy"] < before["accuracy"] and after["evidence_reward"] < before["evidence_reward"]
    assert figures["gains"] is False


def test_a_model_gains_nothing_on_itself() -> None:
    figures = run(options("bundled", str(BUNDLED), "--seed", str(SEED), "--clips", "4"))
    assert {**figures["before"], "model": ""} == {**figures["after"], "model": ""}
    assert figures["gains"] is False
    assert list(lines(figures))[-1].startswith("no gain")
    risen = {**figures, "gains": True}
    assert list(lines(risen))[-1].startswith("a gain")


def test_a_seed_gives_the_same_windows_and_another_gives_others() -> None:
    first, again, other = (rendered(seed, EACH + 1, "bundled", [])[0] for seed in (SEED, SEED, SEED + 1))
    assert [clip.row for clip in first] == [clip.row for clip in again]
    assert all(np.array_equal(a.pictures, b.pictures) for a, b in zip(first, again, strict=True))
    assert [clip.row for clip in first] != [clip.row for clip in other]


def test_windows_are_of_what_both_models_know() -> None:
    everything, _ = rendered(SEED, 2 * EACH, "bundled", [])
    known = {everything[0].row.category}
    assert {clip.row.category for clip in everything} != known
    clips, _ = rendered(SEED, 3, "bundled", [known])
    assert {clip.row.category for clip in clips} == known


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bundled", "no/such/folder"], "no/such/folder"),
        (["bundled", "bundled", "--reward", "no-such.toml"], "no-such.toml"),
        (["bundled", "bundled", "--scorer", "no/scorer/here"], "no/scorer/here"),
    ],
)
def test_what_cannot_be_read_is_one_line(words: list[str], says: str) -> None:
    with pytest.raises(SystemExit, match=says) as ended:
        run(options(*words))
    assert str(ended.value).startswith("python -m bench gspo: ") and "\n" not in str(ended.value)


def test_the_schema_file_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.gspo"
    record = msgspec.json.decode(SCHEMA_FILE.read_bytes())
    assert record["properties"]["bench"] == {"const": "gspo"}
