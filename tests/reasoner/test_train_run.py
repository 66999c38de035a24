"""A training from the command line: what it leaves, what it goes on from, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from deploy.config import keys, load_table
from detector.config import ScorerTrainConfig
from detector.rule import Rule
from detector.window import Window
from reasoner.config import ReasonerConfig
from reasoner.folder import BUNDLED, open_folder
from reasoner.processor import Processor
from reasoner.reason import Reasoner
from reasoner.train import evaluate, sft
from reasoner.train.album import Album
from reasoner.train.config import Calibrate, ModelSize, Render, SftConfig, Stage
from reasoner.train.errors import BadCheckpoint
from reasoner.train.finetune_config import FinetuneConfig
from reasoner.train.gspo_config import GspoConfig
from reasoner.train.inherit import source
from reasoner.train.sft import train
from tests.reasoner.drawn import CATEGORIES, SIZE, config, draw, fresh

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("train-*.toml"))
STAGED = [file for file in EXAMPLES if file.stem.startswith("train-sft") and "rows" not in keys(file)]


def toml(settings: SftConfig) -> str:
    """Tables one level deep, as the examples have them; None is left out."""
    tables = {"": {name: value for name, value in msgspec.to_builtins(settings).items() if not isinstance(value, dict)}}
    tables |= {name: value for name, value in msgspec.to_builtins(settings).items() if isinstance(value, dict)}
    lines = []
    for name, values in tables.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def plan(clips: Path) -> SftConfig:
    return config(clips, validate_steps=1, emphasis={"fall": 2.0})


@pytest.fixture(scope="module")
def ran(plan: SftConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`witness train sft CONFIG --out OUT`, once."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "small.toml").write_text(toml(plan))
    command = [sys.executable, "-m", "deploy", "train", "sft", str(folder / "small.toml"), "--out", str(folder / "out")]
    there = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=there, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"{folder / 'out'}\n"
    return folder / "out"


@pytest.fixture
def copied(ran: Path, tmp_path: Path) -> Path:
    """The finished run, to be damaged."""
    return Path(shutil.copytree(ran, tmp_path / "out"))


def training_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "model" / "witness.json").read_text())["training"]
    return found


def test_it_exports_a_folder_that_serves(ran: Path, crossing: Callable[..., Window]) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    folder = ran / "model"
    stock: Any = Qwen3VLForConditionalGeneration
    model, report = stock.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.dtype == torch.bfloat16
    notes = open_folder(folder).notes
    assert notes is not None
    assert (notes.pairing, notes.input_size, notes.decision_token) == ("motion", (160, 96), "think_first")
    assert notes.categories == CATEGORIES
    reasoner = Reasoner.load(ReasonerConfig(model=str(folder), device="cpu", max_new_tokens=16))
    verdict = reasoner.reason(crossing(), Rule(id="falls", category="fall", watch="a", question="b?"), {}, "Gate 1")
    assert 6 * 15 < verdict.model.tokens_in < 250
    figures = json.loads((ran / "evaluation.json").read_text())
    assert figures["rows"] == 4
    assert set(figures["categories"]) <= set(CATEGORIES)


def test_its_notes_tell_what_was_done(ran: Path, plan: SftConfig) -> None:
    told = training_of(ran)
    stages = {name: told.pop(name) for name in ("warmup", "sft")}
    assert told == {
        "seed": 3,
        "rows": 24,
        "clips_sha256": hashlib.sha256((Path(plan.clips) / "clips.jsonl").read_bytes()).hexdigest(),
        "start_from": "",
        "start_from_sha256": "",
        "emphasis": {"fall": 2.0},
    }
    for name, stage in stages.items():
        kept = torch.load(ran / f"{name}-best.pt", weights_only=True)["step"]
        assert 0 < stage.pop("minutes") < 5
        assert stage == {"steps": 3, "kept_step": kept, "learning_rate": 2e-3, "batch": 6 if name == "warmup" else 4}


def test_its_card_tells_what_was_done(ran: Path) -> None:
    card = (ran / "model" / "README.md").read_text()
    took = training_of(ran)["warmup"]
    assert "trained from nothing by `witness train sft`" in card
    assert f"3 steps of 6 pictures in {took['minutes']:.3g} minutes, learning rate 0.002, the weights of step" in card
    assert "Both stages ended after the steps that were set" in card
    assert "4 rows of the half of the held-out ones by which no weights were chosen" in card
    assert "train-sft.toml" not in card
    assert "`fall` 2" in card


def test_a_finished_run_has_nothing_left_to_train(copied: Path, plan: SftConfig) -> None:
    """What may change between a run and its resumption is changed, the place of the clips too."""
    before, lines = (copied / "sft.pt").read_bytes(), (copied / "metrics.jsonl").read_text()
    clips = Path(shutil.copytree(plan.clips, copied.parent / "clips"))
    other = msgspec.structs.replace(
        plan, clips=str(clips), threads=2, checkpoint_minutes=9.0, evaluation_rows=0, render=Render(workers=7),
        calibrate=Calibrate(windows=0, first_seed=1),
    )  # fmt: skip
    train(other, copied, resume=True)
    torch.set_num_threads(1)
    assert (copied / "sft.pt").read_bytes() == before
    assert (copied / "metrics.jsonl").read_text().startswith(lines)
    assert json.loads((copied / "evaluation.json").read_text())["rows"] == 0


def test_the_clock_does_not_change_the_weights(ran: Path, plan: SftConfig, tmp_path: Path) -> None:
    """Saved after each step, in another process and on a folder with an older run's metrics: the same to the bit."""
    (tmp_path / "metrics.jsonl").write_text('{"stage": "older"}\n')
    train(msgspec.structs.replace(plan, checkpoint_minutes=1e-9, evaluation_rows=1), tmp_path, resume=False)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (ran / "model/model.safetensors").read_bytes()
    assert "older" not in (tmp_path / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, r"another seed \(3, now 4\)"),
        ({"emphasis": {"running": 3.0}}, r"another emphasis.fall \(2.0, now not set\), emphasis.running \(not set, "),
        ({"sft": Stage(learning_rate=1e-3, batch=4, steps=3)}, r"another sft.learning_rate \(0.002, now 0.001\);"),
        ({"sft": Stage(learning_rate=2e-3, batch=4, steps=9)}, r"another sft.steps \(3, now 9\);"),
        (
            {"weight_decay": 0.5, "clip_norm": 2.0},
            r"another clip_norm \(1.0, now 2.0\), weight_decay \(0.03, now 0.5\)",
        ),
        ({"validation_rows": 3}, "another validation_rows"),
        ({"text_share": 0.5}, "another text_share"),
        ({"model": ModelSize()}, "another model.deepstack"),
        ({"start_from": "bundled"}, r'another start_from \("", now "bundled"\), start_from sha256 \("", now "'),
    ],
)
def test_another_training_is_not_resumed(ran: Path, plan: SftConfig, change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadCheckpoint, match=told) as caught:
        train(msgspec.structs.replace(plan, **change), ran, resume=True)
    assert "\n" not in str(caught.value)


def test_other_clips_are_not_resumed_upon(ran: Path, plan: SftConfig, tmp_path: Path) -> None:
    other = msgspec.structs.replace(plan, clips=str(draw(tmp_path / "clips", seed=1)))
    with pytest.raises(BadCheckpoint, match=r"another clips.jsonl sha256 \(\"\w+\.\.\., now "):
        train(other, ran, resume=True)


@pytest.mark.parametrize("name", ["warmup.pt", "sft.pt", "sft-best.pt", "checkpoints"])
def test_a_new_run_does_not_begin_over_an_older_one(plan: SftConfig, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(BadCheckpoint, match=rf"holds {name} of an earlier run; go on with --resume, or .* --out"):
        train(plan, tmp_path, resume=False)
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


def test_nothing_to_resume_is_said(plan: SftConfig, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"nothing to resume: .* holds no warmup.pt or sft.pt; start without"):
        train(plan, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_run_killed_in_its_first_stage_goes_through_both(
    plan: SftConfig, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(sft, "_figures", killed)
        train(plan, tmp_path, resume=False)
    assert (tmp_path / "warmup.pt").exists() and not (tmp_path / "sft.pt").exists()
    train(plan, tmp_path, resume=True)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (ran / "model/model.safetensors").read_bytes()


def test_weights_are_chosen_and_judged_by_different_rows(clips: Path) -> None:
    album = Album.open(clips)
    for chosen, judged in ((400, 400), (3, 2), (0, 1)):
        rows = album.validation(chosen), album.evaluation(judged)
        assert (len(rows[0]), len(rows[1])) == (min(4, chosen), min(4, judged))
        assert max(rows[0], default=-1) < min(rows[1])
    assert {*album.validation(9), *album.evaluation(9)} == set(album.val.tolist())


def test_a_training_may_go_on_from_a_model_folder_with_other_words(ran: Path, plan: SftConfig, tmp_path: Path) -> None:
    folder = ran / "model"
    more = msgspec.structs.replace(plan, start_from=str(folder), model=msgspec.structs.replace(SIZE, merges=260))
    learner, _, processor = fresh(more)
    stored = load_file(folder / "model.safetensors")
    own = learner.model.state_dict()
    layer = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(own[layer], stored[layer].float())
    before = Processor.load(folder).tokenizer
    table = "model.language_model.embed_tokens.weight"
    here, there = (words.convert_tokens_to_ids("<box>") for words in (processor.tokenizer, before))
    assert torch.equal(own[table][here], stored[table][there].float())
    train(more, tmp_path, resume=False)
    told, weights = training_of(tmp_path), open_folder(folder).weights_sha256()
    assert (told["start_from"], told["start_from_sha256"]) == ("witness-reasoner-tiny", weights)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "from nothing" not in card
    assert card.count(f"from the weights of `witness-reasoner-tiny` (sha256 `{weights}`)") == 2
    assert str(folder) not in card


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ({"layers": 3}, r"lacks model.language_model.layers.2.\S+ and 10 more;"),
        ({"layers": 1}, r"has besides model.language_model.layers.1.\S+ and 10 more;"),
        ({"vision_depth": 3}, r"lacks model.visual.blocks.2.\S+ and 11 more;"),
        ({"mlp_width": 128}, r"\(64, 96\) there and \(64, 128\) here;"),
        ({"vision_heads": 1}, "its vision tower has num_heads 2, not 1;"),
        ({"deepstack": (1,)}, r"its vision tower has deepstack_visual_indexes \[0\], not \[1\];"),
    ],
)
def test_weights_of_other_sizes_are_not_taken_over(ran: Path, plan: SftConfig, size: dict[str, Any], told: str) -> None:
    other = msgspec.structs.replace(plan, start_from=str(ran / "model"), model=msgspec.structs.replace(SIZE, **size))
    with pytest.raises(BadCheckpoint, match=rf"start_from .*{told} its \[model\] sizes differ") as caught:
        fresh(other)
    assert "\n" not in str(caught.value)


def test_the_bundled_model_can_be_gone_on_from(plan: SftConfig) -> None:
    bundled = msgspec.structs.replace(plan, start_from="bundled", model=ModelSize())
    learner, _, _ = fresh(bundled)
    stored, own = load_file(BUNDLED / "model.safetensors"), learner.model.state_dict()
    name = "model.language_model.layers.4.mlp.up_proj.weight"
    assert torch.equal(own[name], stored[name].float())
    assert source("bundled").path == BUNDLED
    with pytest.raises(BadCheckpoint, match=r"start_from '.*nowhere': model folder .* does not exist"):
        source(str(BUNDLED / "nowhere"))


@pytest.fixture
def info(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def test_the_evaluation_tells_how_far_it_is(
    ran: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, info: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluate, "LOG_EVERY", 2)
    monkeypatch.setattr(evaluate, "MAX_NEW_TOKENS", 4)
    assert len(evaluate.answer(ran / "model", Album.open(clips), [24, 25, 26, 27, 28])) == 5
    told = [record.getMessage() for record in info.records if record.name == "reasoner.train.evaluate"]
    assert told == ["evaluating: 2 of 5 rows", "evaluating: 4 of 5 rows"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_training(file: Path) -> None:
    kind = file.stem.split("-")[1]
    shapes: dict[str, Any] = {"scorer": ScorerTrainConfig, "gspo": GspoConfig, "sft": SftConfig}
    # As the command line tells the two apart.
    shape = FinetuneConfig if kind == "sft" and "rows" in keys(file) else shapes[kind]
    assert isinstance(load_table(file, shape), shape)


@pytest.mark.parametrize("file", STAGED, ids=lambda path: path.stem)
def test_no_example_but_the_quick_one_ends_by_the_clock(file: Path) -> None:
    """Or another machine would make other weights of the same settings."""
    config = load_table(file, SftConfig)
    quick = file.stem.endswith("-quick")
    assert [stage.steps is None for stage in (config.warmup, config.sft)] == [quick, quick]


def test_there_are_examples_of_each() -> None:
    assert {file.stem.split("-")[1] for file in EXAMPLES} == {"scorer", "sft", "gspo"}
