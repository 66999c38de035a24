"""The training: labels of a scene, samples, the loss, and a whole training in miniature."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from detector import captions, film, samples
from detector.calibrate import choose_threshold, fit, paired
from detector.config import ScorerTrainConfig
from detector.errors import TrainingError
from detector.folder import TOKENIZER, WEIGHTS, Shape, read_folder
from detector.inherit import inherit
from detector.learner import _pools, augment, mistaken
from detector.loss import pair_loss
from detector.model import ScorerModel, load_weights
from detector.seen import Seen
from detector.statement import Tokens
from detector.train import train
from ingest.simulator.episode import EventTruth
from ingest.simulator.world import Scene

SHAPE = Shape(width=32, depth=1, text_width=32, text_depth=1, vocabulary=400, dim=16)
EVENT = EventTruth("fall", 10.0, 11.0, 30.0, (1,))


@pytest.mark.parametrize(
    ("t_s", "wanted"), [(9.9, 0), (10.5, -1), (11.0, 1), (22.9, 1), (23.5, -1), (30.5, -1), (30.8, 0)]
)
def test_phases(t_s: float, wanted: int) -> None:
    assert film.phase(EVENT, t_s) == wanted


def test_a_scene_without_events_has_what_looks_like_them() -> None:
    scenes = [film.eventless_scene(seed, 60.0) for seed in range(40)]
    assert not any(scene.events for scene in scenes)
    alike = {each.label for scene in scenes for each in scene.lookalikes} - {"walking"}
    assert len(alike) >= 12
    assert sum(bool({each.label for each in scene.lookalikes} - {"walking"}) for scene in scenes) > 30
    np.testing.assert_array_equal(scenes[3].frame(7.0), film.eventless_scene(3, 60.0).frame(7.0))


def test_cover_of_a_box() -> None:
    mask = film.cover((0.25, 0.5, 0.55, 1.0), (4, 2)).reshape(2, 4)
    assert mask.tolist() == [[0, 0, 0, 0], [0, 1, -1, 0]]
    assert film.cover((0.01, 0.01, 0.02, 0.02), (4, 2))[0] == 1, "however small, one token is its own"


def test_states_follow_the_truth() -> None:
    scene = Scene(7, 40.0, kinds=["abandoned_object"])
    (event,) = scene.events
    before = film.states(scene, event.start_s - 0.1, SHAPE.grid)
    during = film.states(scene, event.evident_s + 0.5, SHAPE.grid)
    assert "abandoned_object" not in before and before["person"][0] == 1
    held, mask = during["abandoned_object"]
    assert held == 1
    bag = next(each for each in scene.truth(event.evident_s + 0.5) if each.label == "bag")
    column, row = int((bag.box[0] + bag.box[2]) / 2 * 16), int((bag.box[1] + bag.box[3]) / 2 * 9)
    assert mask.reshape(9, 16)[row, column] == 1 and (mask == 1).sum() <= 6, "the bag, not the room"
    assert film.states(scene, 0.0, SHAPE.grid)["empty"][0] == 1


def test_rendering_depends_on_the_seed_only() -> None:
    config = ScorerTrainConfig(scene_s=12.0)
    (first, told), (again, _), (other, _) = (samples.render(seed, config, SHAPE) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(told) == len(first)
    assert first.shape != other.shape or (first != other).any()


def test_augmentation_mirrors_picture_and_place_together() -> None:
    pictures = np.zeros((40, 144, 256, 7), np.uint8)
    pictures[:, 32:48, :16, 3] = 200
    where = np.zeros((40, 1, 144), np.int8)
    where[:, 0, 2 * 16] = 1
    fixed = np.zeros(40, bool)
    turned, places = augment(pictures, where, np.random.default_rng(1), fixed)
    assert pictures[:, 32:48, :16, 3].min() == 200, "the originals stay"
    left = places[:, 0, 2 * 16] == 1
    assert 5 < left.sum() < 35
    assert (places[:, 0].sum(axis=1) == 1).all()
    assert (turned[left][:, 40, 8, 3] > 150).all() and (turned[~left][:, 40, 247, 3] > 150).all()
    _, kept = augment(pictures, where, np.random.default_rng(1), ~fixed)
    assert (kept[:, 0, 2 * 16] == 1).all(), "a road with right-hand traffic has no mirror image"


def test_loss_is_small_for_what_is_right_and_deaf_to_what_is_not_judged() -> None:
    truth = torch.tensor([[1, 0, -1]])
    where = torch.tensor([[[1, 0], [0, 0], [1, 0]]])
    right = pair_loss(
        torch.tensor([[9.0, -9.0, 0.0]]), torch.tensor([[[9.0, -9.0], [-9.0, -9.0], [0.0, 0.0]]]), truth, where
    )
    wrong = pair_loss(
        torch.tensor([[-9.0, -9.0, 0.0]]), torch.tensor([[[9.0, -9.0], [-9.0, -9.0], [0.0, 0.0]]]), truth, where
    )
    other = pair_loss(
        torch.tensor([[9.0, -9.0, 5.0]]), torch.tensor([[[9.0, -9.0], [-9.0, -9.0], [7.0, 7.0]]]), truth, where
    )
    assert right < 0.01 < 5 < wrong
    assert other == right


def test_fit_recovers_a_logistic() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20_000, 2))
    p = 1 / (1 + np.exp(-(1.5 * x[:, 0] - 0.5 * x[:, 1] - 1.0)))
    np.testing.assert_allclose(fit(x, rng.random(len(p)) < p), [1.5, -0.5, -1.0], atol=0.08)
    assert np.isfinite(fit(np.array([[-1.0], [1.0]]), np.array([False, True]))).all()


@pytest.mark.parametrize(("cost", "wanted"), [(0.0, 0.18), (0.2, 0.36), (1.0, 0.5)])
def test_threshold_weighs_events_against_false_flags(cost: float, wanted: float) -> None:
    peaks = np.array([0.6, 0.2, 0.9, 0.4])
    quiet = np.array([0.05, 0.5, 0.37, 0.3, 0.2, 0.1], np.float32)
    assert choose_threshold(peaks, quiet, 1.0, cost) == pytest.approx(wanted)
    assert choose_threshold(np.zeros(0), quiet, 1.0, cost) == 0.5


@pytest.mark.parametrize(
    ("interval_s", "wanted"),
    [(1.0, [0.2, 0.7, 0.7, 0, 0.1, 0.1, 0]), (2.0, [0.2, 0.9, 0.7, 0, 0.5, 0.1, 0])],
)
def test_a_frame_opens_a_span_with_the_next_one(interval_s: float, wanted: list[float]) -> None:
    scores = np.array([[0.2, 0.9, 0.7, 0.8, 0.5, 0.1, 0.6]], np.float32).T
    scene = np.array([0, 0, 0, 0, 1, 1, 1])
    times = interval_s * np.array([0, 1, 2, 3, 0, 1, 2])
    seen = Seen(scene, times, np.zeros((7, 1, 1), np.float32), np.zeros(7, np.float32), ())
    together = paired(scores, seen)[:, 0].tolist()
    assert together == pytest.approx(wanted)
    assert paired(scores, seen, 0.0).tolist() == scores.tolist()


def test_captions_are_drawn_for_every_state_and_language() -> None:
    rng = random.Random(1)
    known = ("fall", "running")
    drawn = [captions.draw("fall", known, rng) for _ in range(200)]
    assert all(line.startswith("fall: ") and len(line) > 6 for line in drawn)
    assert any("人" in line for line in drawn) and any("person" in line for line in drawn)
    assert captions.draw("sits_down", known, rng).startswith("other: ")
    assert captions.phrases("never_heard_of", known) == ("other: never heard of",)
    assert captions.watch("never_heard_of") == "never heard of"


TINY = ScorerTrainConfig(
    scenes=8, held_out_scenes=3, scene_s=24.0, width=32, depth=1, text_width=32, text_depth=1, dim=16, vocabulary=400,
    steps=24, batch=8, categories=("crowd", "intrusion"),
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScorerTrainConfig, Path]:
    base = tmp_path_factory.mktemp("training")
    config = msgspec.structs.replace(TINY, cache=str(base / "cache"))
    report = train(config, base / "out")
    assert report.loss_last < report.loss_first
    assert report.steps == 24
    return config, base / "out"


def test_a_training_leaves_a_model_that_loads(trained: tuple[ScorerTrainConfig, Path]) -> None:
    _, out = trained
    record = read_folder(str(out / "model")).record
    assert set(record.categories) == {"crowd", "intrusion"}
    assert all(0 < category.threshold <= 0.5 for category in record.categories.values())
    rows = [msgspec.json.decode(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 24]
    assert msgspec.json.decode((out / "report.json").read_bytes())["steps"] == 24


def test_an_earlier_run_is_not_written_over(trained: tuple[ScorerTrainConfig, Path]) -> None:
    config, out = trained
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match=r"holds checkpoint\.pt of an earlier run; go on with --resume"):
        train(config, out)
    assert before == {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_stopped_training_goes_on_to_the_same_weights(
    trained: tuple[ScorerTrainConfig, Path], tmp_path: Path
) -> None:
    config, whole = trained
    half = msgspec.structs.replace(config, budget_s=1e-9)
    train(half, tmp_path / "out")
    report = train(config, tmp_path / "out", resume=True)
    assert report.steps == 24
    assert (tmp_path / "out/model/scorer.safetensors").read_bytes() == (whole / "model/scorer.safetensors").read_bytes()


def _other_width(config: ScorerTrainConfig, _: Path) -> ScorerTrainConfig:
    return msgspec.structs.replace(config, width=64)


def _no_checkpoint(config: ScorerTrainConfig, out: Path) -> ScorerTrainConfig:
    (out / "checkpoint.pt").unlink()
    return config


def _broken(config: ScorerTrainConfig, out: Path) -> ScorerTrainConfig:
    (out / "checkpoint.pt").write_bytes(b"no checkpoint")
    return config


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_other_width, "another width"), (_no_checkpoint, "nothing to resume"), (_broken, "is no checkpoint")],
)
def test_what_cannot_be_resumed(
    spoil: Callable[[ScorerTrainConfig, Path], ScorerTrainConfig],
    words: str,
    trained: tuple[ScorerTrainConfig, Path],
    tmp_path: Path,
) -> None:
    config, whole = trained
    (tmp_path / "checkpoint.pt").write_bytes((whole / "checkpoint.pt").read_bytes())
    with pytest.raises(TrainingError, match=words) as caught:
        train(spoil(config, tmp_path), tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_a_category_that_no_scene_shows(trained: tuple[ScorerTrainConfig, Path], tmp_path: Path) -> None:
    config, _ = trained
    with pytest.raises(TrainingError, match="no rendered scene shows fall"):
        train(msgspec.structs.replace(config, categories=("crowd", "fall")), tmp_path)


def test_a_training_can_start_from_a_model(trained: tuple[ScorerTrainConfig, Path], tmp_path: Path) -> None:
    _, out = trained
    model = ScorerModel(read_folder(str(out / "model")).record.shape)
    inherit(model, out / "model" / TOKENIZER, str(out / "model"))
    stored = read_folder(str(out / "model")).record
    assert float(model.log_scale.detach().exp()) == pytest.approx(stored.scale, rel=1e-5)
    earlier = load_weights(stored.shape, out / "model" / WEIGHTS)
    for name, tensor in earlier.image.state_dict().items():
        torch.testing.assert_close(model.image.state_dict()[name], tensor)
    with pytest.raises(TrainingError, match="other sizes"):
        deeper = ScorerModel(msgspec.structs.replace(stored.shape, depth=stored.shape.depth + 1))
        inherit(deeper, out / "model" / TOKENIZER, str(out / "model"))
    foreign = tmp_path / "tokenizer.json"
    foreign.write_text("{}", encoding="utf-8")
    with pytest.raises(TrainingError, match="another tokenizer"):
        inherit(model, foreign, str(out / "model"))


def test_mistakes_of_the_model_that_is_gone_on_from_come_oftener(
    trained: tuple[ScorerTrainConfig, Path], tmp_path: Path
) -> None:
    config, out = trained
    further = msgspec.structs.replace(config, start_from=str(out / "model"), mistaken_share=0.05, steps=2)
    train(further, tmp_path / "out")
    made = samples.load_samples(further, read_folder(str(out / "model")).record.shape)
    shape = read_folder(str(out / "model")).record.shape
    model = ScorerModel(shape)
    inherit(model, out / "model" / TOKENIZER, str(out / "model"))
    tokens = Tokens(out / "model" / TOKENIZER, shape.text_length)
    rows = mistaken(model, made, tokens, further)
    columns = [made.names.index(category) for category in config.categories]
    still = np.flatnonzero((made.truth[:, columns] == 0).all(axis=1))
    assert set(rows) <= set(still.tolist()) and 0 < len(rows) < len(still)
    lines = [captions.phrases(category, config.categories)[0] for category in config.categories]
    with torch.inference_mode():
        texts = model.text(torch.from_numpy(tokens.encode(lines)))
        logits = model.match(model.image(torch.from_numpy(np.array(made.pictures[still]))), texts)[0].numpy()
    count = round(0.05 * len(still))
    for column in logits.T:
        assert set(still[np.argsort(-column)[:count]]) <= set(rows.tolist())
    pools = [pool.tolist() for pool in _pools(made, [*config.categories, "crowd"], rows)]
    assert rows.tolist() in pools


def test_emphasis_brings_a_category_more_often() -> None:
    truth = np.zeros((40, 2), np.int8)
    truth[:10, 0] = truth[10:20, 1] = 1
    made = samples.Samples(
        pictures=np.zeros((40, 1, 1, 7), np.uint8),
        names=("fall", "fight"),
        truth=truth,
        where=np.zeros((40, 2, 1), np.int8),
    )
    rounds = [pool.tolist() for pool in _pools(made, ["fall", "fight", "fight"])]
    assert rounds[0::2] == [list(range(10)), list(range(10, 20)), list(range(10, 20))]
    assert rounds[1::2] == [list(range(20, 40))] * 3
