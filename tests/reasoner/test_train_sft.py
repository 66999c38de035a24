"""Training computes what serving computes, draws what it should, and lowers its losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from reasoner.boxes import Box
from reasoner.pixels import PatchSpec, patchify
from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.train.album import Album
from reasoner.train.augment import asked, augmented, disordered, later, mirrored
from reasoner.train.batches import Batches
from reasoner.train.config import Stage
from reasoner.train.errors import BadClips
from reasoner.train.learner import Learner
from reasoner.train.pace import Pace
from reasoner.train.questions import questions
from reasoner.train.sft import sft
from reasoner.train.tokens import COORDINATES, TIMES
from reasoner.train.vision import encode, patches_of
from reasoner.train.vocabulary import target
from tests.reasoner.drawn import CATEGORIES, config, draw, fresh


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw(tmp_path_factory.mktemp("clips"))


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


def test_the_loss_is_six_parts_text_and_four_parts_times_and_boxes(parts: Parts) -> None:
    """Counted anew over the whole sequence with the prompt masked; the dense guides are added as they are."""
    learner, batches, processor = parts
    batch = batches.plain([0, 1, 2, 5])
    tokenizer = processor.tokenizer
    places = set(tokenizer.convert_tokens_to_ids([*COORDINATES, *TIMES]))
    labels, weight = torch.full_like(batch.input_ids, -100), torch.ones(batch.input_ids.shape)
    for line, index in enumerate([0, 1, 2, 5]):
        row = batches.album.rows[index]
        start, wanted = len(batches.prompt_ids(row)), batches.target_ids(row)
        labels[line, start : start + len(wanted)] = torch.tensor(wanted)
        weight[line, start + 1] = 4.0  # the word that decides
    with torch.no_grad():
        passed, values = learner.states(batch), learner.text_loss(batch)
        logits = learner.model.lm_head(passed.final)[:, :-1].float()
        each = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none")
        understood = learner.understood.loss(passed.tokens, batch.truth)
    told = labels[:, 1:].flatten()
    learnt = weight[:, 1:].flatten() * (told != -100)
    grounded = torch.tensor([int(token) in places for token in told])
    text, placed = (each * learnt).sum() / learnt.sum(), each[grounded].mean()
    assert abs(text - placed) > 0.01, "alike, they would hide another weighting"
    guides = 0.5 * (values["dense"] + values["number"] + values["gist"]) + understood + values["box"]
    assert float(values["loss"] - guides) / 2 == pytest.approx(float(0.6 * text + 0.4 * placed), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_chosen_by_sure_decisions_and_half_the_overlap(
    clips: Path, parts: Parts, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odds around what is right: one minus the squared doubt, half the IoU of boxes at the median of their numbers."""
    learner, batches, _ = parts
    batch = batches.plain(batches.album.validation(8))
    ids: list[int] = cast(torch.Tensor, learner.number_ids).tolist()
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(batch.wanted), learner.model.config.text_config.vocab_size, generator=made)
    for place, token in enumerate(batch.wanted.tolist()):
        near = ids.index(token) if batch.coordinates[place] else 0
        peaks = ids[max(0, near - 12) : near + 12] if batch.coordinates[place] else [token]
        logits[place, peaks] += 6.0
    monkeypatch.setattr(learner, "logits", lambda final, batch: logits)
    figures = sft(learner, batches, config(clips)).validate()

    odds = logits[batch.decides].softmax(-1)
    sure = np.mean([1 - (1 - float(p[token])) ** 2 for p, token in zip(odds, batch.wanted[batch.decides], strict=True)])
    said, best = [], []
    for line in logits[batch.coordinates][:, ids].softmax(-1):
        said.append(next(i for i, below in enumerate(np.cumsum(line.numpy())) if below >= 0.5) / 200)
        best.append(int(line.argmax()) / 200)
    wanted = [ids.index(token) / 200 for token in batch.wanted[batch.coordinates].tolist()]
    iou, other = overlap(said, wanted), overlap(best, wanted)
    assert 0.2 < iou < 0.95 and abs(iou - other) > 0.01, "the median must be told from the likeliest number"
    assert figures["score"] == pytest.approx(sure + 0.5 * iou, abs=1e-4)


def overlap(numbers: Sequence[float], others: Sequence[float]) -> float:
    """Mean IoU of boxes whose numbers come by fours."""
    boxes = [[Box(*each[at : at + 4]) for at in range(0, len(each), 4)] for each in (numbers, others)]
    return float(np.mean([one.iou(other) for one, other in zip(*boxes, strict=True)]))


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
