"""Supervised training of a checkpoint in the released layout: real video, real model class, real trainer."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reasoner.config import ReasonerConfig
from reasoner.folder import open_folder
from reasoner.parse import parse
from reasoner.prompt import messages
from reasoner.reason import Reasoner
from reasoner.recording import Recording
from reasoner.train.errors import BadCheckpoint, BadRows, PartMissing, TrainError
from reasoner.train.finetune import finetune, load_rows, new_course, new_trainer
from reasoner.train.finetune_config import FinetuneConfig, Lora
from reasoner.train.gspo_config import GspoConfig
from reasoner.train.lesson import IGNORED, Collate, Lessons, grounded_spans, tokens_of
from reasoner.train.shown import Pick, moments, show
from reasoner.train.stgr_exercises import StgrExercises
from reasoner.train.stgr_file import read
from reasoner.train.weighted import losses, weighted
from tests.reasoner.conftest import tokenizer

FPS = 10
SECONDS = 2


def frame(index: int) -> NDArray[np.uint8]:
    """A bright block that moves right by 5 px a frame."""
    picture = np.full((96, 160, 3), 60, np.uint8)
    picture[30:70, 10 + 5 * index : 34 + 5 * index] = (240, 220, 40)
    return picture


def film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"g": "5"}
        for index in range(FPS * SECONDS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(index), format="rgb24")))
        container.mux(stream.encode())


def box(time_s: float) -> list[float]:
    left = 10 + 50 * time_s
    return [round(left / 160, 3), 0.312, round((left + 24) / 160, 3), 0.729]


def raw_rows() -> list[dict[str, Any]]:
    """Six yes rows in the authors' form, two of them without a reasoning, and two flat no rows."""
    rows: list[dict[str, Any]] = []
    for k in range(6):
        time_s = round(0.2 + 0.25 * k, 2)
        listed = ",".join(str(value) for value in box(time_s))
        row = {
            "id": k, "source": "STR_test", "video_path": "block.mp4", "task": "temporal-spatial free-form QA",
            "question": f"Does block {k} move?", "answer": f"Yes. It moves from {time_s}s to 1.9s.",
            "key_frames": [{"idx": 3, "time": time_s, "path": "k.jpg"}], "key_items": {"3": {"block": [box(time_s)]}},
        }  # fmt: skip
        if k < 4:
            row["reasoning_process"] = f"The <obj>block</obj><box>[{listed}]</box>at<t>{time_s}</t>s moves."
        rows.append(row)
    return rows + [
        {"video_path": "block.mp4", "question": f"Is dog {k} there?", "answer": "No. There is none.",
         "timestamps": [], "bboxes": []} for k in range(2)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("site")
    film(folder / "block.mp4")
    (folder / "rows.json").write_text(json.dumps(raw_rows()))
    return folder


def config(site: Path, model: Path, **more: Any) -> FinetuneConfig:
    given: dict[str, Any] = {
        "model": str(model), "rows": str(site / "rows.json"), "videos": str(site), "batch": 4, "device_batch": 2,
        "min_frame_pixels": 1024, "max_frame_pixels": 4096, "max_frames": 5, "workers": 0, "learning_rate": 2e-3,
        "steps": 8, "save_steps": 4, "warmup_share": 0.0, "seed": 3,
    }  # fmt: skip
    return FinetuneConfig(**(given | more))


def batch_of(config: FinetuneConfig, model: Path, indices: list[int]) -> tuple[Any, dict[str, torch.Tensor]]:
    course = new_course(config, open_folder(model))
    lessons = Lessons(read(Path(config.rows)), course)
    return course, Collate(course.processor.tokenizer.pad_token_id)([lessons[i] for i in indices])


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def load(model: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    made: Any = Qwen3VLForConditionalGeneration
    return made.from_pretrained(str(model), dtype=torch.float32).eval()


def test_the_prompt_is_the_serving_prompt_and_is_not_learnt(site: Path, tiny: Path) -> None:
    settings = config(site, tiny)
    course, batch = batch_of(settings, tiny, [0])
    row = read(Path(settings.rows))[0]
    shown = show(row, site, course.pick, course.seed)
    served = course.processor.encode(
        messages(row.question, shown.times_s, "en", coordinates="rel1000", duration_s=shown.duration_s), shown.pictures
    )
    length = served["input_ids"].shape[1]
    assert batch["input_ids"][0, :length].tolist() == served["input_ids"][0].tolist()
    assert torch.equal(course.processor.normalise(batch)["pixel_values"], served["pixel_values"])
    assert bool((batch["labels"][0, :length] == IGNORED).all())
    learnt = batch["labels"][0, length:]
    assert int(learnt[-1]) == course.processor.tokenizer.eos_token_id
    said = course.processor.decode(learnt.tolist())
    assert said.startswith("<think>The <obj>block</obj><box>[125,312,275,729]</box>at<t>0.2</t>s moves.</think>")
    assert parse(said).yes is True


def test_grounded_tokens_are_those_inside_boxes_and_times() -> None:
    text = "<think>The <obj>red <b></obj><box>[12,30,45,60]</box>at<t>1.5</t>s.</think>\n<answer>No 7</answer>"
    spans = grounded_spans(text)
    assert [text[start:end] for start, end in spans] == ["[12,30,45,60]", "1.5"]
    words = tokenizer()
    ids, inside = tokens_of(words, text)
    assert ids == words(text, add_special_tokens=False)["input_ids"]
    # The alphabet of the test's tokenizer keeps digits and punctuation apart.
    said = "".join(words.decode([token]) for token, yes in zip(ids, inside, strict=True) if yes)
    assert said == "[12,30,45,60]1.5"


def test_the_loss_equals_one_computed_by_hand(site: Path, tiny: Path) -> None:
    """Full logits of each row on its own, numpy, loops: against the padded batch with few logits."""
    settings = config(site, tiny)
    model = load(tiny)
    everything: list[float] = []
    grounded: list[float] = []
    for index in (0, 5, 7):
        course, one = batch_of(settings, tiny, [index])
        given = {k: v for k, v in course.processor.normalise(one).items() if k not in ("labels", "grounded")}
        with torch.no_grad():
            logits = model(**given).logits[0].double().numpy()
        for place, label in enumerate(one["labels"][0].tolist()):
            if label == IGNORED:
                continue
            scores = logits[place - 1]
            nll = float(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label])
            everything.append(nll)
            if bool(one["grounded"][0, place]):
                grounded.append(nll)
    by_hand = 0.6 * float(np.mean(everything)) + 0.4 * float(np.mean(grounded))
    course, batch = batch_of(settings, tiny, [0, 5, 7])
    with torch.no_grad():
        sums = losses(model, course.processor.normalise(batch))
    assert sums.tokens.tolist() == [len(everything), len(grounded)]
    assert float(weighted(sums, sums.tokens, 0.6)) == pytest.approx(by_hand, abs=2e-5)
    assert len(grounded) > 20


def test_a_step_is_the_same_however_the_batch_is_split(site: Path, tiny: Path, tmp_path: Path) -> None:
    """Rows with and without claims weigh the same in one part or four: loss and gradient of the whole batch."""
    found = []
    for device_batch in (4, 2, 1):
        settings = config(site, tiny, device_batch=device_batch, steps=1)
        out = tmp_path / str(device_batch)
        trainer = new_trainer(settings, open_folder(tiny), read(Path(settings.rows)), [], out)
        trainer.train()
        found += [(line["loss"], line["grad_norm"]) for line in metrics(out)]
    assert len(found) == 3
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[2] == pytest.approx(found[0], rel=1e-4)


def test_tokens_are_counted_over_all_devices_from_the_first_step(
    site: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two devices with the same tokens each: in training the sum of both, in evaluation each its own."""
    settings = config(site, tiny)
    trainer = new_trainer(settings, open_folder(tiny), read(Path(settings.rows)), [], tmp_path)
    _, batch = batch_of(settings, tiny, [0, 7])
    own = [int((batch["labels"] != IGNORED).sum()), int(batch["grounded"].sum())]
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda tensor, how: 2 * tensor)
    for training in (False, True):
        trainer.model.train(training)
        assert trainer._get_num_items_in_batch([batch], torch.device("cpu")).tolist() == [2 * n for n in own]
        with torch.no_grad():
            assert trainer._get_num_items_in_batch([batch], torch.device("cpu")).tolist() == own


def test_training_lowers_the_loss_and_gives_a_folder_that_serves(site: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "validation.json").write_text(json.dumps(raw_rows()[-1:]))
    settings = config(site, tiny, steps=20, learning_rate=5e-3, validation=str(tmp_path / "validation.json"))
    finetune(settings, tmp_path, resume=False)
    lines = metrics(tmp_path)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 21))
    for name in ("loss", "text", "grounded"):
        assert steps[-1][name] < 0.8 * steps[0][name]
    assert steps[0]["loss"] == pytest.approx(0.6 * steps[0]["text"] + 0.4 * steps[0]["grounded"], abs=1e-4)
    assert [line["step"] for line in lines if "val_loss" in line]
    model = tmp_path / "model"
    assert open_folder(model).weights[0].exists()
    reasoner = Reasoner.load(ReasonerConfig(model=str(model), device="cpu", max_new_tokens=8))
    assert reasoner.backend.coordinates == "rel1000"
    assert json.loads((model / "training.json").read_text())["rows"] == 8


def test_a_resumed_run_ends_where_an_unbroken_one_does(site: Path, tiny: Path, tmp_path: Path) -> None:
    settings = config(site, tiny, steps=3, save_steps=1)
    finetune(settings, tmp_path / "whole", resume=False)
    broken = tmp_path / "broken"
    finetune(settings, broken, resume=False)
    for last in (broken / "checkpoints" / "checkpoint-3", broken / "model"):
        for file in last.iterdir():
            file.unlink()
        last.rmdir()
    finetune(settings, broken, resume=True)
    whole, resumed = load(tmp_path / "whole" / "model"), load(broken / "model")
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    with pytest.raises(BadCheckpoint, match="go on with --resume"):
        finetune(settings, broken, resume=False)
    with pytest.raises(BadCheckpoint, match="another configuration"):
        finetune(config(site, tiny, steps=3, save_steps=1, learning_rate=1.0), broken, resume=True)
    record = json.loads((broken / "config.json").read_text("utf-8"))
    (broken / "config.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}), "utf-8")
    with pytest.raises(BadCheckpoint, match="other first weights"):
        finetune(settings, broken, resume=True)


def test_adapters_change_the_language_model_alone(site: Path, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    settings = config(site, tiny, steps=3, lora=Lora(rank=4, alpha=8, dropout=0.0))
    finetune(settings, tmp_path, resume=False)
    before, after = load(tiny).state_dict(), load(tmp_path / "model").state_dict()
    changed = {name for name in before if not torch.equal(before[name].bfloat16().float(), after[name])}
    assert len(changed) == 3 * 7
    assert all("language_model.layers" in name and "_proj" in name for name in changed)
    assert (tmp_path / "adapter" / "adapter_config.json").exists()


def test_the_other_family_writes_pixels(site: Path, tiny_pixels: Path) -> None:
    settings = config(site, tiny_pixels, min_frame_pixels=784, max_frame_pixels=20_000)
    course, batch = batch_of(settings, tiny_pixels, [0])
    width, height = course.processor.fitted(160, 96)
    said = course.processor.decode([token for token in batch["labels"][0].tolist() if token != IGNORED])
    (claim,) = parse(said).claims
    x1, y1, x2, y2 = box(0.2)
    expected = [x1 * width, y1 * height, x2 * width, y2 * height]
    assert claim.boxes[0].numbers == pytest.approx(expected, abs=0.51)


def test_mistakes_are_all_told_and_may_be_skipped(
    site: Path, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = raw_rows()
    rows[1]["key_frames"][0]["time"] = -1
    rows[2]["video_path"] = "gone.mp4"
    rows[3]["video_path"] = "../block.mp4"
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    settings = config(site, tiny, rows=str(tmp_path / "rows.json"))
    with caplog.at_level(logging.INFO), pytest.raises(BadRows, match="3 mistakes in 3 of 8 rows, the first: row 2"):
        load_rows(settings, Path(settings.rows))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 3
    assert any("row 3: there is no gone.mp4 in" in line for line in told)
    kept = load_rows(config(site, tiny, rows=settings.rows, skip_bad_rows=True), Path(settings.rows))
    assert [row.place for row in kept] == [1, 5, 6, 7, 8]


def spoilt_rows(site: Path, folder: Path) -> list[dict[str, Any]]:
    """Eight rows: the second cites what is behind the end, the third's file is no video, the fourth's holds no picture
    that can be decoded, the seventh, without times, is of the third's file again."""
    (folder / "block.mp4").write_bytes((site / "block.mp4").read_bytes())
    (folder / "text.mp4").write_bytes(b"not a video")
    with av.open(str(folder / "noise.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(frame(0), format="rgb24")), *stream.encode()):
            noise = av.Packet(b"\x00\x00\x00\x04abcd")
            noise.pts, noise.dts, noise.time_base, noise.stream = packet.pts, packet.dts, packet.time_base, stream
            container.mux(noise)
    rows = raw_rows()
    rows[1]["key_frames"][0]["time"] = 9.0
    rows[2]["video_path"], rows[3]["video_path"], rows[6]["video_path"] = "text.mp4", "noise.mkv", "text.mp4"
    (folder / "rows.json").write_text(json.dumps(rows))
    return rows


def test_what_cannot_be_shown_is_found_before_training(
    site: Path, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasoner.train import shown

    opened: list[str] = []

    class Counted(Recording):
        def __init__(self, path: Path) -> None:
            opened.append(path.name)
            super().__init__(path)

    spoilt_rows(site, tmp_path)
    monkeypatch.setattr(shown, "Recording", Counted)
    settings = config(tmp_path, tiny, skip_bad_rows=True)
    rows = load_rows(settings, Path(settings.rows))
    assert [row.place for row in rows] == [1, 5, 6, 8]
    assert sorted(opened) == ["block.mp4", "noise.mkv", "text.mp4"], "each file once"
    for line in ("row 2: cites 9 s, but block.mp4 ends at 2.0 s", "row 3: ", "row 4: ", "row 7: "):
        assert line in caplog.text
    lessons = Lessons(rows, new_course(settings, open_folder(tiny)))
    assert all(lessons[index]["input_ids"].numel() for index in range(len(rows)))
    with pytest.raises(BadRows, match="4 mistakes in 4 of 8 rows, the first: row 2: cites 9 s"):
        load_rows(config(tmp_path, tiny), Path(settings.rows))


def test_more_than_half_is_not_left_out(site: Path, tiny: Path, tmp_path: Path) -> None:
    rows = spoilt_rows(site, tmp_path)
    rows[7]["video_path"] = "gone.mp4"
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    settings = config(tmp_path, tiny, skip_bad_rows=True)
    with pytest.raises(BadRows, match=r"5 of 8 rows have mistakes, and at most 50% may be left out; is .* the right"):
        load_rows(settings, Path(settings.rows))


def test_a_time_behind_the_end_is_told(site: Path, tmp_path: Path) -> None:
    rows = raw_rows()[:1]
    rows[0]["key_frames"][0]["time"] = 9.0
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with pytest.raises(BadRows, match=r"row 1: cites 9 s, but block.mp4 ends at 2.0 s"):
        show(read(tmp_path / "rows.json")[0], site, Pick(), 0)


def test_the_frames_shown_are_those_of_their_times(site: Path) -> None:
    """The block's place in the picture tells its time."""
    row = read(site / "rows.json")[2]
    shown = show(row, site, Pick(step_s=0.25, most=8), 5)
    assert 0.7 in [round(t, 1) for t in shown.times_s]
    for picture, time_s in zip(shown.pictures, shown.times_s, strict=True):
        bright = np.nonzero(picture[50, :, 0] > 150)[0]
        assert (bright[0] - 10) / 50 == pytest.approx(time_s, abs=0.03)


def test_held_out_rows_are_shown_without_a_hint_of_what_they_cite(site: Path, tiny: Path) -> None:
    """Serving does not know it: only practice shows the cited frame in place of its neighbour."""
    rows, folder = read(site / "rows.json"), open_folder(tiny)
    exercises = StgrExercises(rows, rows, folder, lambda *size: size, site, Pick(), 3)
    held, practised = exercises.plain(2), exercises.practice(2, 0)
    assert [one.time_s for one in held.truth.objects] == [0.7]
    served = show(rows[2], site, Pick(cited=False, jitter=0.0), 9)
    assert served.times_s == pytest.approx((0.0, 0.5, 1.0, 1.5, 1.9), abs=0.01)  # the last frame there is
    assert all(np.array_equal(a, b) for a, b in zip(held.pictures, served.pictures, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(practised.pictures, served.pictures, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_cited_frames_replace_their_neighbours(seed: int) -> None:
    random = np.random.default_rng(seed)
    duration_s = float(random.uniform(0, 90))
    cited = sorted(float(t) for t in random.uniform(0, duration_s, int(random.integers(0, 6))))
    pick = Pick(step_s=0.5, most=16)
    times = moments(duration_s, cited, pick, random)
    assert len(times) == max(len(cited), min(16, int(duration_s / 0.5 + 1e-6) + 1))
    assert times == sorted(times)
    assert set(cited) <= set(times)
    assert 0 <= times[0] <= times[-1] <= duration_s


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch": 3, "device_batch": 2}, "batch 3 is no multiple of device_batch 2"),
        ({"min_frame_pixels": 9999}, "min_frame_pixels 9999 exceeds max_frame_pixels 4096"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, Any], told: str, site: Path, tiny: Path) -> None:
    with pytest.raises(ValueError, match=told):
        config(site, tiny, **change)


def test_the_bundled_model_is_sent_to_its_own_training(site: Path) -> None:
    from reasoner.folder import BUNDLED

    with pytest.raises(TrainError, match="motion pairs"):
        new_course(config(site, BUNDLED), open_folder(BUNDLED))


def test_a_missing_library_is_one_line(site: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "peft" else object())
    with pytest.raises(PartMissing, match=r"needs peft: pip install 'witness\[train\]'"):
        finetune(config(site, tiny, lora=Lora()), tmp_path, resume=False)


def test_the_examples_fit_the_code() -> None:
    import tomllib

    import msgspec
    import transformers

    examples = Path(__file__).parents[2] / "deploy" / "examples"
    text = (examples / "train-sft-qwen3vl.toml").read_text()
    plain = msgspec.convert(tomllib.loads(text), FinetuneConfig)
    assert (plain.learning_rate, plain.batch, plain.epochs, plain.text_share) == (2e-5, 32, 10, 0.6)
    adapted = msgspec.convert(
        tomllib.loads(text.replace("\n# [lora]\n# rank = 16\n# alpha = 32", "\n[lora]\nrank = 16")), FinetuneConfig
    )
    assert adapted.lora == Lora(rank=16)
    rewarded = msgspec.convert(tomllib.loads((examples / "train-gspo-qwen3vl.toml").read_text()), GspoConfig)
    assert rewarded.updates_per_block > 1 and len(rewarded.reward.weights()) == 10
    launch = (examples / "accelerate-fsdp.yaml").read_text()
    (wrapped,) = [line.split(":")[1].strip() for line in launch.splitlines() if "layer_cls_to_wrap" in line]
    module: Any = transformers.models.qwen3_vl.modeling_qwen3_vl
    assert all(hasattr(module, name) for name in wrapped.split(","))
