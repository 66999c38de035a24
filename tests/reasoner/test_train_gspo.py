"""Reinforcement feeds what serving feeds, is truly off-policy, moves the reward, and goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch

pytest.importorskip("trl", reason="the extra `train` is not installed")

from reasoner import rewards
from reasoner.boxes import WHOLE, Box
from reasoner.folder import BUNDLED, open_folder
from reasoner.grade import PUBLISHED, SEVEN, Claimed, RewardTable, TrueObject, Truth, read
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.train.album import Album
from reasoner.train.clip_exercises import ClipExercises, truth_of
from reasoner.train.config import SftConfig
from reasoner.train.errors import BadCheckpoint, BadClips, TrainError, TrainFailed
from reasoner.train.exercise import Exercise
from reasoner.train.feed import Feed
from reasoner.train.gspo import exercises_of, new_trainer, train
from reasoner.train.gspo_config import GspoConfig, Lora
from reasoner.train.gspo_run import begin, last_checkpoint
from reasoner.train.judge import Judged, judge
from reasoner.train.policy import Best, GspoTrainer, ratio_figures
from reasoner.train.release import card, export
from reasoner.train.shown import Shown
from reasoner.train.stgr_exercises import StgrExercises
from reasoner.train.stgr_exercises import truth_of as stgr_truth_of
from tests.reasoner.drawn import draw

KNOWN = open_folder(BUNDLED).notes.categories[:4]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw(tmp_path_factory.mktemp("clips"), rows=40, categories=KNOWN, walking=True)


def config(clips: Path, /, **more: Any) -> GspoConfig:
    given: dict[str, Any] = {
        "clips": str(clips), "seed": 3, "batch": 6, "gradient_accumulation_steps": 1, "steps_per_generation": 2,
        "blocks": 2, "learning_rate": 2e-4, "validate_blocks": 1, "checkpoint_blocks": 1, "validation_rows": 8,
        "evaluation_rows": 4, "max_new_tokens": 64, "temperature": 1.6,
    }  # fmt: skip
    return msgspec.convert(given | more, GspoConfig)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def ran(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run of the bundled model; beside it `broken`, the same folder as a crash at the last step leaves it."""
    out = tmp_path_factory.mktemp("gspo") / "whole"
    consider = GspoTrainer.consider

    def copied_first(self: GspoTrainer, judged: Judged) -> None:
        if self.state.global_step == self.state.max_steps:
            shutil.copytree(out, out.with_name("broken"))
        consider(self, judged)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GspoTrainer, "consider", copied_first)
        train(config(clips), out, resume=False)
    return out


def test_prompts_are_the_serving_ones_token_by_token_and_pixel_by_pixel(clips: Path) -> None:
    folder = open_folder(BUNDLED)
    served = Processor.load(folder)
    feed = Feed(Processor.load(folder).tokenizer, Processor.load(folder))
    exercises = ClipExercises(Album.open(clips), folder, 1, 0.7)
    asked = [exercises.plain(index) for index in (0, 1, 5)]
    alone = [served.encode(one.messages, one.pictures) for one in asked]
    row = exercises.album.rows[1]
    assert asked[1].messages == messages(row.question, row.times, style="brief")

    filled = [[{"role": "user", "content": _filled(one)}] for one in asked]
    listed = feed.apply_chat_template(filled, tokenize=True, add_generation_prompt=True, return_dict=True)
    assert listed["input_ids"] == [one["input_ids"][0].tolist() for one in alone]
    assert torch.equal(listed["pixel_values"], torch.cat([one["pixel_values"] for one in alone]))

    texts = [feed.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in filled]
    padded = feed(images=[one.pictures for one in asked], text=texts, padding=True, return_tensors="pt")
    assert len({one["input_ids"].shape[1] for one in alone}) > 1, "prompts of one length would not show the padding"
    for place, one in enumerate(alone):
        length = one["input_ids"].shape[1]
        for name in ("input_ids", "mm_token_type_ids"):
            assert torch.equal(padded[name][place, -length:], one[name][0])
        assert padded["attention_mask"][place].sum() == length
        assert padded["attention_mask"][place, -length:].all()
    assert torch.equal(padded["image_grid_thw"], torch.cat([one["image_grid_thw"] for one in alone]))


def _filled(exercise: Any) -> list[dict[str, Any]]:
    left = iter(exercise.pictures)
    return [
        {**part, "image": next(left)} if part["type"] == "image" else part for part in exercise.messages[0]["content"]
    ]


def test_the_policy_moves_away_from_the_one_that_answered(ran: Path) -> None:
    steps = [line for line in lines(ran) if "ratio_mean" in line]
    assert len(steps) == 4
    first, later = steps[0::2], steps[1::2]
    assert all(line["ratio_off"] == 0 for line in first), "the first step of a block meets its own answers"
    assert all(line["ratio_off"] > 0.5 and line["ratio_min"] < line["ratio_max"] for line in later)
    assert all(0.5 < line["ratio_mean"] < 2 for line in steps)


def test_its_figures_are_written_down(ran: Path) -> None:
    assert [line["step"] for line in lines(ran) if "val_reward" in line] == [0, 2, 4]
    first = next(line for line in lines(ran) if "reward" in line)
    assert {"term_time_points", "term_coverage_points", "term_box_iou", "term_answer"} <= set(first)


class OneQuestion(ClipExercises):
    """The same row as it is, over and over."""

    def practice(self, index: int, turn: int) -> Exercise:
        return self.plain(next(row for row in self.train if not self.album.rows[row].answer))


def test_the_reward_rises(clips: Path, tmp_path: Path) -> None:
    """So hot that many of the first answers fall apart; what is whole and right is paid, and soon most are. With the
    sign of the loss turned, all fall apart by the second block."""
    folder = open_folder(BUNDLED)
    given = config(
        clips, generations=6, batch=12, blocks=6, learning_rate=1.5e-4, vision=False, temperature=2.0,
        max_new_tokens=40, validate_blocks=6, checkpoint_blocks=9,
        reward=dict.fromkeys((*PUBLISHED, *SEVEN), 0.0) | {"answer": 1.0, "form": 1.0},
    )  # fmt: skip
    exercises = OneQuestion(Album.open(clips), folder, given.seed, given.true_share)
    validation, _ = exercises.held_out(1, 1)
    new_trainer(given, folder, Processor.load(folder), exercises, validation, tmp_path).train()
    sampled = [line["reward"] for line in lines(tmp_path) if "reward" in line]
    assert len(sampled) == given.blocks
    assert sum(sampled[-2:]) / 2 > sampled[0] + 0.05


def test_what_it_leaves_behind_is_a_model_with_both_figures(ran: Path) -> None:
    figures = json.loads((ran / "evaluation.json").read_text("utf-8"))
    assert set(figures["evaluation"]) == {"sft", "gspo"}
    for side in figures["evaluation"].values():
        assert side["rows"] == 4
        assert {"evidence_reward", "box_iou", "precision", "recall"} <= set(side)
    before, kept = (msgspec.convert(figures["validation"][side], Judged) for side in ("sft", "gspo"))
    assert kept.gains(before) == (figures["kept_step"] > 0)
    reported = [msgspec.convert(figures["evaluation"][side], Judged) for side in ("sft", "gspo")]
    assert figures["confirmed"] == (figures["kept_step"] > 0 and reported[1].gains(reported[0]))
    made, source = open_folder(ran / "model"), open_folder(BUNDLED)
    assert made.notes is not None and source.notes is not None
    assert made.notes.calibrator is None, "the calibrator was fitted on other weights"
    assert made.notes.categories == source.notes.categories
    assert {file.name for file in made.path.iterdir()} == {file.name for file in source.path.iterdir()}
    assert (made.weights_sha256() != source.weights_sha256()) == (figures["kept_step"] > 0)
    assert "## Reinforcement" in (made.path / "README.md").read_text("utf-8")


def test_a_resumed_run_ends_where_an_unbroken_one_does(clips: Path, ran: Path) -> None:
    broken = ran.with_name("broken")
    assert [path.name for path in (broken / "checkpoints").iterdir()] == ["checkpoint-2"]
    told = len(lines(broken))
    train(config(clips), broken, resume=True)
    unbroken = {line["step"]: line for line in lines(ran) if "ratio_mean" in line}
    resumed = {line["step"]: line for line in lines(broken)[told:] if "ratio_mean" in line}
    assert list(resumed) == [3, 4]
    for step, line in resumed.items():
        for name in {"loss", "reward", "ratio_mean", "ratio_max", "norm"} & set(line):
            assert line[name] == pytest.approx(unbroken[step][name], rel=1e-4, abs=1e-6)
    assert open_folder(ran / "model").weights_sha256() == open_folder(broken / "model").weights_sha256()


def test_a_failing_calibration_leaves_card_and_figures(
    clips: Path, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ended run resumed with too few windows: only the rendering of their scenes is spared here."""
    out = tmp_path / "out"
    shutil.copytree(ran, out)
    for name in ("evaluation.json", "model/README.md"):
        (out / name).unlink()
    monkeypatch.setattr("reasoner.train.calibrate.weighed_scenes", lambda *_: iter([(1, [])] * 3))
    few = config(clips, calibrate={"windows": 1}, evaluation_rows=1)
    with pytest.raises(TrainFailed, match=r"written but has no calibrator: .*; raise windows in \[calibrate\]"):
        train(few, out, resume=True)
    assert "confirmed" in json.loads((out / "evaluation.json").read_text("utf-8"))
    assert "## Reinforcement" in (out / "model" / "README.md").read_text("utf-8")
    assert open_folder(out / "model").notes is not None


def test_nothing_to_resume_and_nothing_to_write_over(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"nothing to resume.*without --resume"):
        last_checkpoint(tmp_path, resume=True)
    assert last_checkpoint(tmp_path, resume=False) is None
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BadCheckpoint, match="nothing to resume"):
        last_checkpoint(tmp_path, resume=True)
    (tmp_path / "model").mkdir()
    with pytest.raises(BadCheckpoint, match="holds model of an earlier run"):
        last_checkpoint(tmp_path, resume=False)
    (tmp_path / "checkpoints" / "checkpoint-3").mkdir()
    assert last_checkpoint(tmp_path, resume=True) == tmp_path / "checkpoints" / "checkpoint-3"
    with pytest.raises(BadCheckpoint, match="go on with --resume"):
        last_checkpoint(tmp_path, resume=False)


def test_a_refused_resumption_is_one_line_and_renders_nothing(tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    with pytest.raises(BadCheckpoint, match="nothing to resume"):
        train(config(clips), out, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_takes_nothing_over(clips: Path, tmp_path: Path) -> None:
    """A run that died before its first checkpoint leaves figures and perhaps weights."""
    folder = open_folder(BUNDLED)
    (tmp_path / "best").mkdir()
    for name in ("metrics.jsonl", "best.json", "best/model.safetensors"):
        (tmp_path / name).write_text('{"step": 1}\n')
    exercises = ClipExercises(Album.open(clips), folder, 3, 0.7)
    assert begin(config(clips), folder, exercises, tmp_path, resume=False) is None
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_checkpoint_of_another_run_is_refused(clips: Path, ran: Path) -> None:
    folder = open_folder(BUNDLED)
    exercises = ClipExercises(Album.open(clips), folder, 3, 0.7)
    with pytest.raises(BadCheckpoint, match="another configuration"):
        begin(config(clips, learning_rate=1e-5), folder, exercises, ran, resume=True)
    with pytest.raises(BadCheckpoint, match="--resume"):
        begin(config(clips), folder, exercises, ran, resume=False)
    assert begin(config(clips, evaluation_rows=1), folder, exercises, ran, resume=True) is not None


def test_a_released_checkpoint_learns_through_adapters(
    clips: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole prompt, RGB pictures at a pixel budget, bfloat16 weights, adapters on the language model alone.

    A model that was never trained earns nothing by any answer, so that here it is paid for its letters.
    """

    def answer(completions: Any, **_: Any) -> list[float]:
        return [float(sum(letter.isalpha() for letter in turn[0]["content"])) for turn in completions]

    monkeypatch.setattr("reasoner.train.reinforce.reward_functions", lambda table, coordinates: [answer])
    given = config(
        clips, model=str(tiny), lora=msgspec.to_builtins(Lora(rank=2, alpha=4)), weights="bfloat16",
        precision="bfloat16", gradient_checkpointing=True, blocks=1, batch=3, max_new_tokens=12, validation_rows=2,
        evaluation_rows=1, min_frame_pixels=4096, max_frame_pixels=9216, learning_rate=1e-2,
        reward=dict.fromkeys((*PUBLISHED, *SEVEN), 0.0) | {"answer": 1.0},
    )  # fmt: skip
    train(given, tmp_path, resume=False)
    steps = [line for line in lines(tmp_path) if "ratio_mean" in line]
    assert [line["ratio_off"] > 0 for line in steps] == [False, True]
    assert open_folder(tmp_path / "model").notes is None
    export(open_folder(tiny), tmp_path / "checkpoints" / "checkpoint-2", tmp_path / "merged", lora=True)
    changed = changed_parts(tiny, tmp_path / "merged")
    assert any("self_attn.q_proj" in name for name in changed)
    assert all(".language_model.layers." in name for name in changed)


def test_the_last_weights_as_a_folder(ran: Path, tmp_path: Path) -> None:
    export(open_folder(BUNDLED), ran / "checkpoints" / "checkpoint-4", tmp_path, lora=False)
    changed = changed_parts(BUNDLED, tmp_path)
    assert any(".visual." in name for name in changed)
    assert any(".language_model." in name for name in changed)
    assert open_folder(tmp_path).config["dtype"] == open_folder(BUNDLED).config["dtype"]
    with pytest.raises(TrainFailed, match="no weights"):
        export(open_folder(BUNDLED), tmp_path / "nothing", tmp_path / "model", lora=False)


def changed_parts(before: Path, after: Path) -> list[str]:
    """Names of the tensors that differ between two model folders."""
    import safetensors.torch

    old, new = (
        {
            name: tensor
            for file in path.glob("*.safetensors")
            for name, tensor in safetensors.torch.load_file(file).items()
        }
        for path in (before, after)
    )
    assert set(old) == set(new)
    return [name for name, tensor in old.items() if not torch.equal(tensor, new[name].to(tensor.dtype))]


def test_exercises_of_a_clip(clips: Path) -> None:
    album = Album.open(clips)
    exercises = ClipExercises(album, open_folder(BUNDLED), 1, 0.7)
    validation, evaluation = exercises.held_out(100, 100)
    assert not set(validation) & set(evaluation)
    assert {album.rows[index].split for index in (*validation, *evaluation)} == {"val"}
    assert {album.rows[index].split for index in exercises.drawn(50)} == {"train"}
    one, again, other = (exercises.practice(0, turn) for turn in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.pictures, again.pictures, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.pictures, other.pictures, strict=True))


def test_exercises_need_rows_that_the_model_knows(clips: Path) -> None:
    folder = open_folder(BUNDLED)
    assert folder.notes is not None
    notes = msgspec.structs.replace(folder.notes, categories=("parade",))
    with pytest.raises(BadClips, match="parade"):
        ClipExercises(Album.open(clips), msgspec.structs.replace(folder, notes=notes), 1, 0.7)


def stgr(folder: Path, model: str, validation: int) -> GspoConfig:
    """Temporal multiple choice in the authors' form for reinforcement."""
    row = {
        "task": "temporal QA (MCQ)", "video_path": "v.mp4", "question": "What happens?", "answer": "B\n[1.0, 2.0]",
        "key_frames": [], "key_items": {},
    }  # fmt: skip
    writer = cv2.VideoWriter(str(folder / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 8.0, (128, 96))
    for level in range(24):
        writer.write(np.full((96, 128, 3), 10 * level, np.uint8))
    writer.release()
    for name, count in (("rows.json", 3), ("val.json", validation)):
        (folder / name).write_text(json.dumps([row] * count), "utf-8")
    return msgspec.convert(
        {"model": model, "rows": str(folder / "rows.json"), "validation": str(folder / "val.json"),
         "videos": str(folder)}, GspoConfig,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bundled", "validation", "said"),
    [(True, 2, "takes motion pairs.*name clips instead"), (False, 1, "val.json has 1 rows")],
)
def test_rows_that_cannot_be_learnt_from_are_refused(
    bundled: bool, validation: int, said: str, tiny: Path, tmp_path: Path
) -> None:
    given = stgr(tmp_path, str(BUNDLED if bundled else tiny), validation)
    folder = open_folder(Path(given.model))
    with pytest.raises(TrainError, match=said) as caught:
        exercises_of(given, folder, Processor.load(folder))
    assert "\n" not in str(caught.value)


def test_the_letter_of_a_row_is_paid(tiny: Path, tmp_path: Path) -> None:
    """An RL row's answer is a letter and a span; it is graded as the sentence that it stands for."""
    given = stgr(tmp_path, str(tiny), 2)
    folder = open_folder(tiny)
    exercises = exercises_of(given, folder, Processor.load(folder))
    assert isinstance(exercises, StgrExercises)
    shown = Shown(pictures=(), times_s=(0.0, 1.0), view=WHOLE, duration_s=3.0)
    truth = stgr_truth_of(exercises.rows[0], shown)
    assert truth.span == (1.0, 2.0)
    texts = [
        f"<think>It is seen.</think><answer>From <t>1.0</t>s to <t>2.0</t>s.\nCorrect Option: {letter}</answer>"
        for letter in "BC"
    ]
    paid = [rewards.answer(read(text), truth) for text in texts]
    assert paid == [1.0, 0.0]


def test_the_truth_of_a_row(clips: Path) -> None:
    rows = Album.open(clips).rows
    true = truth_of(next(row for row in rows if row.answer))
    assert (true.yes, true.span) == (True, (1.0, 4.0))
    assert {known.time_s for known in true.objects} == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0} & {
        known.time_s for known in true.objects
    }
    assert min(known.time_s for known in true.objects) == 0.0
    assert truth_of(next(row for row in rows if not row.answer)).objects == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch": 3, "gradient_accumulation_steps": 4, "steps_per_generation": 4}, "ratio .* would always be 1"),
        ({"batch": 4, "steps_per_generation": 4}, "whole groups"),
        ({"gradient_accumulation_steps": 3, "steps_per_generation": 4}, "no multiple"),
        ({"generations": 1}, ">= 2"),
        ({"clips": "", "rows": ""}, "either clips or rows"),
        ({"clips": "", "rows": "rows.json"}, "videos"),
        ({"reward": {"box": 1.0}}, "unknown field"),
        ({"min_frame_pixels": 5000, "max_frame_pixels": 4000}, "exceeds"),
    ],
)
def test_configurations_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        config(Path("clips"), **changes)


@pytest.mark.parametrize(
    ("changes", "updates"),
    [
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 8}, 2),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 4, "num_iterations": 2}, 2),
        ({"gradient_accumulation_steps": 16, "steps_per_generation": 32}, 2),
    ],
)
def test_updates_of_a_block(changes: dict[str, Any], updates: int) -> None:
    assert config(Path("clips"), **changes).updates_per_block == updates


def test_the_figures_of_four_answers() -> None:
    box = Box(0.2, 0.2, 0.4, 0.6)
    thing = TrueObject(label="person", time_s=1.0, box=box)
    yes, no = Truth(yes=True, span=(1.0, 3.0), objects=(thing,)), Truth(yes=False)
    right = Claimed(yes=True, span=(1.5, 3.0), objects=(thing,), times_s=(1.0,))
    denied = Claimed(yes=False)
    table = RewardTable(spread=0.0, span=0.0, form=0.0)
    figures = judge([(right, yes), (denied, yes), (right, no), (denied, no)], table)
    assert (figures.precision, figures.recall, figures.accuracy) == (0.5, 0.5, 0.5)
    assert (figures.box_iou, figures.onset_within_1s) == (1.0, 1.0)
    assert figures.evidence_reward == pytest.approx(((1.5 + 1.0 + 1.0) + (-1.0 - 0.5 + 0.0)) / 2)
    better = msgspec.structs.replace(figures, recall=0.4)
    assert figures.holds(figures) and not better.holds(figures)
    with pytest.raises(ValueError, match="no rows"):
        judge([], table)


JUDGED = Judged(
    rows=9, reward=1.0, evidence_reward=0.5, box_iou=0.4, accuracy=0.8, precision=0.7, recall=0.6, onset_within_1s=0.5
)


@pytest.mark.parametrize(
    ("changes", "gains"),
    [
        ({}, False),
        ({"reward": 9.0}, False),
        ({"evidence_reward": 0.6}, False),
        ({"box_iou": 0.5}, False),
        ({"evidence_reward": 0.6, "box_iou": 0.5}, True),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "reward": 0.1}, True),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "precision": 0.71, "recall": 0.61}, True),
        ({"evidence_reward": 0.6, "box_iou": 0.39, "reward": 9.0}, False),
        ({"evidence_reward": 0.49, "box_iou": 0.5, "reward": 9.0}, False),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "precision": 0.69}, False),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "recall": 0.59}, False),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "accuracy": 0.79}, False),
        ({"evidence_reward": 0.6, "box_iou": 0.5, "precision": None}, False),
        ({"evidence_reward": 0.6, "box_iou": None}, False),
        ({"evidence_reward": None, "box_iou": 0.9}, False),
    ],
)
def test_what_counts_as_a_gain(changes: dict[str, Any], gains: bool) -> None:
    after = msgspec.structs.replace(JUDGED, **changes)
    assert after.gains(JUDGED) == gains
    kept = Best(before=JUDGED, step=0, kept=JUDGED).then(4, after)
    assert (kept.step, kept.before, kept.kept) == ((4, JUDGED, after) if gains else (0, JUDGED, JUDGED))


@pytest.mark.parametrize(("reward", "gains"), [(0.6, True), (0.5, False), (0.4, False)])
def test_rows_without_places_ask_for_no_overlap(reward: float, gains: bool) -> None:
    before = msgspec.structs.replace(JUDGED, box_iou=None)
    assert msgspec.structs.replace(before, evidence_reward=reward).gains(before) == gains


ANSWERS_ALONE: dict[str, Any] = {
    "time_points": 0, "coverage_points": 0, "spread": 0, "span": 0, "box_iou": 0,
}  # fmt: skip
BOXED = TrueObject(label="person", time_s=1.0, box=Box(0.2, 0.2, 0.4, 0.6))


@pytest.mark.parametrize(
    ("weights", "truth", "pays"),
    [
        ({}, Truth(yes=True, span=(0.0, 2.0), objects=(BOXED,)), True),
        ({}, Truth(yes=True, span=(0.0, 2.0)), True),
        ({}, Truth(yes=None, moments_s=(1.0,)), True),
        ({}, Truth(yes=False), False),
        ({}, Truth(answer="A", task="General video QA MCQ"), False),
        ({"span": 0}, Truth(yes=True, span=(0.0, 2.0)), False),
        ({"answer_box": 1}, Truth(answer_box=BOXED.box, task="visual QA"), True),
        ({}, Truth(answer_box=BOXED.box, task="visual QA"), False),
        (ANSWERS_ALONE, Truth(yes=True, span=(0.0, 2.0), objects=(BOXED,)), False),
        (ANSWERS_ALONE | {"inside": 1}, Truth(yes=True, span=(0.0, 2.0), objects=(BOXED,)), True),
        (ANSWERS_ALONE | {"closeness": 1}, Truth(yes=True, span=(0.0, 2.0)), False),
    ],
)
def test_what_a_table_pays_evidence_of(weights: dict[str, Any], truth: Truth, pays: bool) -> None:
    assert msgspec.convert(weights, RewardTable).pays_evidence(truth) == pays


@pytest.mark.parametrize(("weights", "warned"), [({}, 0), (ANSWERS_ALONE, 1)])
def test_rows_of_which_no_evidence_is_paid_are_told_once(
    weights: dict[str, Any], warned: int, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, given = open_folder(BUNDLED), config(clips, reward=weights, max_new_tokens=4)
    processor = Processor.load(folder)
    exercises = exercises_of(given, folder, processor)
    validation, _ = exercises.held_out(4, 1)
    trainer = new_trainer(given, folder, processor, exercises, validation, tmp_path)
    for _ in range(2):
        trainer.judged(validation)
    told = [record.getMessage() for record in caplog.records if record.name == "reasoner.train.policy"]
    assert len(told) == warned
    assert all("the validation rows (4 of them)" in line and "\n" not in line for line in told)


def test_the_gate_of_the_published_recipe_is_the_papers() -> None:
    file = Path(__file__).parents[2] / "deploy" / "examples" / "train-gspo-qwen3vl.toml"
    assert msgspec.toml.decode(file.read_bytes(), type=GspoConfig).reward.gate_s == 3.0


def test_weights_are_kept_only_for_better_ones() -> None:
    """Worse than those kept, or better than they but below the beginning elsewhere: they stay."""
    best = Best(before=JUDGED, step=0, kept=JUDGED)
    course = [
        (2, {"evidence_reward": 0.7, "box_iou": 0.5}), (4, {"evidence_reward": 0.6, "box_iou": 0.9, "reward": 9.0}),
        (6, {"evidence_reward": 0.9, "box_iou": 0.5, "recall": 0.5}), (7, {"evidence_reward": 0.9}),
        (8, {"evidence_reward": 0.8, "box_iou": 0.41}),
    ]  # fmt: skip
    steps = []
    for step, changes in course:
        best = best.then(step, msgspec.structs.replace(JUDGED, **changes))
        steps.append(best.step)
    assert steps == [2, 2, 2, 2, 8]


@pytest.mark.parametrize(
    ("step", "after", "says"),
    [
        (4, {"evidence_reward": 0.6, "box_iou": 0.5}, "the rows below confirm it."),
        (4, {"evidence_reward": 0.6}, "do not confirm it, and no gain is claimed."),
        (4, {"evidence_reward": 0.4, "box_iou": 0.5}, "do not confirm it, and no gain is claimed."),
        (4, {"evidence_reward": 0.6, "box_iou": 0.5, "recall": 0.5}, "do not confirm it, and no gain is claimed."),
        (0, {}, "these are the weights that it began with."),
    ],
)
def test_the_card_claims_what_was_confirmed(step: int, after: dict[str, Any], says: str) -> None:
    best = Best(before=JUDGED, step=step, kept=JUDGED)
    told = card(open_folder(BUNDLED), config(Path("clips")), best, JUDGED, msgspec.structs.replace(JUDGED, **after))
    chapter = told.split("## Reinforcement")[1]
    assert says in chapter
    assert sum(phrase in chapter for phrase in ("below confirm it", "no gain is claimed", "began with")) == 1


@pytest.mark.parametrize("kind", ["", "-quick"], ids=["full", "quick"])
def test_the_shipped_configurations_share_their_clips(kind: str) -> None:
    """Whichever command comes first renders them, so that both must ask for the same."""
    folder = Path(__file__).parents[2] / "deploy" / "examples"
    sft = msgspec.toml.decode((folder / f"train-sft{kind}.toml").read_bytes(), type=SftConfig)
    gspo = msgspec.toml.decode((folder / f"train-gspo{kind}.toml").read_bytes(), type=GspoConfig)
    assert (gspo.clips, gspo.render) == (sft.clips, sft.render)


def test_figures_of_ratios() -> None:
    assert ratio_figures([]) == {}
    assert ratio_figures([1.0, 1.0 + 1e-7, 1.01, 0.99]) == pytest.approx(
        {"ratio_mean": 1.0, "ratio_min": 0.99, "ratio_max": 1.01, "ratio_off": 0.5}, abs=1e-6
    )


def test_one_line_when_the_extra_is_missing(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    from deploy.cli import main

    found: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "trl" else found(name, *a))
    file = tmp_path / "gspo.toml"
    file.write_text(f'clips = "{clips}"\n')
    assert main(["train", "gspo", str(file), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "pip install 'witness[train]'" in told[0]
