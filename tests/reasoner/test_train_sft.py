"""Training computes what serving computes, lowers its losses, resumes exactly, and exports what anybody can load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from detector.rule import Rule
from detector.window import Window
from reasoner.config import ReasonerConfig
from reasoner.folder import open_folder
from reasoner.pixels import PatchSpec, patchify
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.reason import Reasoner
from reasoner.train import checkpoint
from reasoner.train.album import Album
from reasoner.train.augment import asked, augmented, disordered, later, mirrored
from reasoner.train.batches import Batches
from reasoner.train.config import Calibrate, ModelSize, SftConfig, Stage
from reasoner.train.errors import BadCheckpoint, BadClips
from reasoner.train.learner import Learner
from reasoner.train.pace import Pace
from reasoner.train.questions import questions
from reasoner.train.row import Row, Thing
from reasoner.train.sft import identity, new_learner, new_processor, sft, train
from reasoner.train.stage import Course, Trainer
from reasoner.train.vision import encode, patches_of
from reasoner.train.vocabulary import target

SIZE = ModelSize(
    vision_width=48, vision_depth=2, vision_mlp_width=64, vision_heads=2, deepstack=(0,),
    width=64, layers=2, heads=1, mlp_width=96, merges=200,
)  # fmt: skip
CATEGORIES = ("abandoned_object", "fall", "fight", "running")


def clip(rng: np.random.Generator, category: str, answer: bool, split: str) -> tuple[np.ndarray[Any, Any], Row]:
    """Bright figures on noise, in the layout of the rendered clips."""
    groups = int(rng.integers(5, 8))
    pictures = rng.integers(60, 90, (7, 2, 96, 160, 3), dtype=np.uint8)
    pictures[groups:] = 0
    objects = []
    for group in range(groups):
        things = []
        for label in ("person", "bag" if category == "abandoned_object" else "person"):
            x, y = int(rng.integers(0, 120)), int(rng.integers(0, 60))
            pictures[group, 0, y : y + 30, x : x + 20] = (220, 200, 40) if answer else (30, 60, 220)
            pictures[group, 1, y : y + 30, x : x + 20, 1:] = 255
            box = (x / 160, y / 96, (x + 20) / 160, (y + 30) / 96)
            things.append(Thing(label=label, box=box, actor=answer, visible=1.0))
        objects.append(tuple(things))
    row = Row(
        groups=groups, times=tuple(float(k) for k in range(groups)), category=category,
        question=questions(category)[int(rng.integers(8))], answer=answer, kind=category if answer else "walking",
        start=1.0 if answer else None, end=4.0 if answer else None, objects=tuple(objects), split=split,  # type: ignore[arg-type]
    )  # fmt: skip
    return pictures, row


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    made = [clip(rng, CATEGORIES[i % 4], i % 8 < 4, "val" if i >= 24 else "train") for i in range(32)]
    np.save(folder / "pictures.npy", np.stack([pictures for pictures, _ in made]))
    (folder / "clips.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for _, row in made))
    return folder


def config(clips: Path, **more: Any) -> SftConfig:
    given: dict[str, Any] = {
        "clips": str(clips), "seed": 3, "threads": 1, "precision": "float32", "model": SIZE,
        "warmup": Stage(learning_rate=2e-3, batch=6, steps=3), "sft": Stage(learning_rate=2e-3, batch=4, steps=3),
        "validation_rows": 8, "evaluation_rows": 4, "calibrate": Calibrate(windows=0),
    }  # fmt: skip
    return SftConfig(**(given | more))


def fresh(config: SftConfig) -> tuple[Learner, Batches, Processor]:
    album = Album.open(Path(config.clips))
    processor = new_processor(config, album.size)
    learner, batches = new_learner(config, album, processor)
    return learner, batches, processor


@pytest.fixture(scope="module")
def parts(clips: Path) -> tuple[Learner, Batches, Processor]:
    return fresh(config(clips))


Parts = tuple[Learner, Batches, Processor]


def test_patches_are_those_of_the_serving_processor() -> None:
    pictures = np.random.default_rng(1).integers(0, 255, (3, 2, 96, 160, 3), dtype=np.uint8)
    ours = patches_of(torch.from_numpy(pictures)).flatten(0, 1)
    assert torch.allclose(ours, patchify(pictures, PatchSpec()), atol=1e-6)


def test_the_prompt_is_the_serving_prompt_token_by_token(parts: Parts) -> None:
    _, batches, processor = parts
    for index in (0, 5, 11):
        row = batches.album.rows[index]
        served = processor.encode(messages(row.question, row.times, style="brief"), list(batches.album.clip(index)))
        assert batches.prompt_ids(row) == served["input_ids"][0].tolist()


def test_batched_vision_equals_the_stock_tower(parts: Parts) -> None:
    learner, batches, _ = parts
    patches = patches_of(batches.pictures(0, 5).pictures)
    visual = learner.model.model.visual
    with torch.no_grad():
        merged, deep = encode(visual, patches, batches.grid)
        stock = visual(patches.flatten(0, 1), grid_thw=torch.tensor([batches.grid] * 5))
    assert torch.allclose(merged.flatten(0, 1), stock.pooler_output, atol=1e-4)
    assert len(deep) == len(stock.deepstack_features) == 1
    assert torch.allclose(deep[0].flatten(0, 1), stock.deepstack_features[0], atol=1e-4)


def test_training_logits_equal_the_stock_model(parts: Parts) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    learner, batches, _ = parts
    batch = batches.conversations(0, 3)
    stock: Any = Qwen3VLForConditionalGeneration(learner.model.config)
    stock.load_state_dict(learner.model.state_dict())
    stock.eval()
    with torch.no_grad():
        ours = learner.logits(learner.states(batch).final, batch)
        theirs = stock(
            input_ids=batch.input_ids,
            attention_mask=torch.ones_like(batch.input_ids),
            mm_token_type_ids=batch.visual.int(),
            pixel_values=patches_of(batch.pictures).flatten(0, 1),
            image_grid_thw=torch.tensor([batches.grid] * len(batch.pictures)),
        ).logits[batch.places]
    assert ours.std() > 0.1
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_what_a_batch_marks(parts: Parts) -> None:
    _, batches, processor = parts
    batch = batches.conversations(1, 6)
    assert int(batch.visual.sum()) == 15 * len(batch.pictures)
    words = processor.tokenizer.convert_ids_to_tokens(batch.wanted[batch.decides].tolist())
    assert len(words) == 6
    assert set(words) <= {"The", "Nothing"}
    assert int(batch.coordinates.sum()) % 4 == 0
    marked = processor.tokenizer.convert_ids_to_tokens(batch.wanted[batch.numbers].tolist())
    assert all(word.replace(".", "").isdigit() for word in marked)
    # The last token of each conversation is the end of the turn.
    assert int((batch.wanted == processor.tokenizer.eos_token_id).sum()) == 6


def test_the_same_step_draws_the_same_batch(clips: Path) -> None:
    one, two = (fresh(config(clips))[1].conversations(7, 3) for _ in range(2))
    assert torch.equal(one.input_ids, two.input_ids)
    assert torch.equal(one.pictures, two.pictures)


def test_augmentation_keeps_truth_and_picture_together(clips: Path) -> None:
    album = Album.open(clips)
    for seed in range(6):
        pictures, row = augmented(album.clip(0), album.rows[0], np.random.default_rng(seed))
        for group, things in enumerate(row.objects):
            x1, y1, x2, y2 = things[-1].box
            middle = round((y1 + y2) * 48), round((x1 + x2) * 80)
            assert pictures[group, 1, middle[0], middle[1], 1] == 255
    assert mirrored(mirrored(album.rows[0])).objects[0][0].box == pytest.approx(album.rows[0].objects[0][0].box)
    shifted = later(album.rows[0], 2.5)
    assert (shifted.times[1], shifted.start) == (3.5, 3.5)


def test_what_drives_on_the_right_is_not_mirrored(clips: Path) -> None:
    album = Album.open(clips)
    first = album.rows[0].objects[0][0]
    car = msgspec.structs.replace(
        album.rows[0],
        objects=((msgspec.structs.replace(first, label="car"),),) * 5,
        groups=5,
        times=(0.0, 1.0, 2.0, 3.0, 4.0),
    )
    for seed in range(12):
        _, row = augmented(album.clip(0)[:5], car, np.random.default_rng(seed))
        assert row.objects[0][0].box == first.box


def test_evidence_out_of_order_is_a_no_that_says_so(clips: Path) -> None:
    album = Album.open(clips)
    pictures, row = album.clip(0), msgspec.structs.replace(album.rows[0], start=2.0)
    for seed in range(6):
        made = disordered(pictures, row, np.random.default_rng(seed))
        assert made is not None
        moved, told = made
        assert not told.answer and not told.ordered and told.start is None and told.times == row.times
        assert "out of order" in target(told) and target(told).startswith("<think>Nothing")
        for group in range(row.groups):
            source = row.objects.index(told.objects[group])
            assert source != group
            assert np.array_equal(moved[group, 0], pictures[source, 0])
            assert not np.array_equal(moved[group, 1, ..., 2], pictures[source, 1, ..., 2]) or row.groups > 2
    assert disordered(pictures, msgspec.structs.replace(row, start=0.0), np.random.default_rng(1)) is None
    assert disordered(pictures, msgspec.structs.replace(row, answer=False), np.random.default_rng(1)) is None
    running = msgspec.structs.replace(row, category="running")
    assert disordered(pictures, running, np.random.default_rng(1)) is None


def test_a_training_may_go_on_from_a_model_folder_with_other_words(clips: Path, tmp_path: Path) -> None:
    plan = config(clips)
    train(plan, tmp_path / "first", resume=False)
    folder = tmp_path / "first" / "model"
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
    wide = msgspec.structs.replace(more, model=msgspec.structs.replace(SIZE, mlp_width=128))
    with pytest.raises(BadCheckpoint, match=r"start_from .* sizes differ"):
        fresh(wide)
    with pytest.raises(BadCheckpoint, match="start_from"):
        fresh(msgspec.structs.replace(more, start_from=str(tmp_path / "nowhere")))


def test_some_true_rows_are_asked_about_another_category(clips: Path) -> None:
    """An event that is not the one asked about is a no, and what happens is still known to the dense losses."""
    true, false = Album.open(clips).rows[1], Album.open(clips).rows[5]
    made = [asked(true, CATEGORIES, np.random.default_rng(seed)) for seed in range(200)]
    others = [row for row in made if row.category != true.category]
    assert 40 < len(others) < 100
    assert all(not row.answer and row.kind == "fall" and row.start is not None for row in others)
    assert all(row.answer for row in made if row.category == true.category)
    assert all(row.question in questions(row.category) for row in made)
    assert len({row.question for row in made}) > 30
    assert target(others[0]) == (
        "<think>Nothing of the kind: a person falls.</think>\n<answer>No. A person falls.</answer>"
    )
    assert {asked(false, CATEGORIES, np.random.default_rng(seed)).answer for seed in range(20)} == {False}


@pytest.mark.parametrize("name", ["warmup", "sft"])
def test_twenty_steps_lower_the_loss(clips: Path, name: str) -> None:
    learner, batches, _ = fresh(config(clips))
    pictures, talk = batches.pictures(0, 8), batches.plain([0, 1, 2, 5])
    optimizer = torch.optim.AdamW(learner.parameters(), 2e-3)
    losses = []
    for _ in range(20):
        values = learner.dense_loss(pictures) if name == "warmup" else learner.text_loss(talk)
        values["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append({key: float(value.detach()) for key, value in values.items()})
    keys = ("loss", "dense", "number") if name == "warmup" else ("loss", "text", "grounded", "dense")
    for key in keys:
        assert losses[-1][key] < 0.9 * losses[0][key], key


class Crash(Exception):
    pass


def test_a_resumed_stage_goes_on_identically(clips: Path, tmp_path: Path) -> None:
    settings = config(clips, sft=Stage(learning_rate=2e-3, batch=2, steps=5), checkpoint_minutes=1e-9)

    def run(out: Path, crash_at: int | None, resume: bool) -> dict[str, torch.Tensor]:
        out.mkdir(exist_ok=True)
        learner, batches, _ = fresh(settings)
        trainer = Trainer(learner, settings, out, identity(settings, batches.album))
        course = sft(learner, batches, settings)

        def losses(step: int) -> dict[str, torch.Tensor]:
            if step == crash_at:
                raise Crash
            return course.losses(step)

        trainer.run(Course("sft", course.stage, losses, course.validate), resume)
        return learner.state_dict()

    whole = run(tmp_path / "whole", None, False)
    with pytest.raises(Crash):
        run(tmp_path / "cut", 3, False)
    resumed = run(tmp_path / "cut", None, True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "sft.pt", {"identity": "one"})
    assert checkpoint.load(tmp_path / "sft.pt", "one") == {"identity": "one"}
    assert checkpoint.load(tmp_path / "none.pt", "one") is None
    with pytest.raises(BadCheckpoint, match="another configuration"):
        checkpoint.load(tmp_path / "sft.pt", "two")
    (tmp_path / "sft.pt").write_bytes(b"no checkpoint")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        checkpoint.load(tmp_path / "sft.pt", "one")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "clips.jsonl").unlink(), "cannot be read"),
        (lambda folder: (folder / "clips.jsonl").write_text('{"groups": 5}\n'), "line 1"),
        (lambda folder: np.save(folder / "pictures.npy", np.zeros((2, 3), np.float32)), "float32"),
        (lambda folder: np.save(folder / "pictures.npy", np.zeros((2, 7, 2, 96, 160, 3), np.uint8)), "32 rows"),
    ],
)
def test_unusable_clips_are_named_in_one_line(
    clips: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    for name in ("pictures.npy", "clips.jsonl"):
        (tmp_path / name).write_bytes((clips / name).read_bytes())
    damage(tmp_path)
    with pytest.raises(BadClips, match=message) as caught:
        Album.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_pace_follows_time_or_steps() -> None:
    now = [0.0]
    pace = Pace(Stage(learning_rate=1.0, batch=1, minutes=1.0, rise_share=0.1, final_share=0.2), clock=lambda: now[0])
    rates = []
    for second in (0, 3, 6, 33, 60, 90):
        now[0] = float(second)
        rates.append(pace.rate)
    assert rates == pytest.approx([0.02, 0.5, 1.0, 0.6, 0.2, 0.2])
    assert pace.share == 1
    resumed = Pace(Stage(learning_rate=1.0, batch=1, minutes=1.0), step=4, spent_s=30.0, clock=lambda: now[0])
    assert (resumed.step, resumed.share) == (4, 0.5)
    assert Pace(Stage(learning_rate=1.0, batch=1, steps=8), step=2).share == 0.25


def test_the_whole_training_exports_a_folder_that_serves(
    clips: Path, tmp_path: Path, crossing: Callable[..., Window]
) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    train(config(clips), tmp_path, resume=False)
    folder = tmp_path / "model"
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
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert figures["rows"] == 4
    assert set(figures["categories"]) <= set(CATEGORIES)
    assert "3 steps of 6 pictures" in (folder / "README.md").read_text()
    # Run again with --resume, nothing is left to train.
    before = (tmp_path / "sft.pt").read_bytes()
    train(config(clips), tmp_path, resume=True)
    assert (tmp_path / "sft.pt").read_bytes() == before
