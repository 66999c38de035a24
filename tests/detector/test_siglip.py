"""Checkpoints of transformers as scorers: the folder says what the classes say, and serves any rule."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy import export as command
from detector import adopt, contrast
from detector.config import DetectorConfig
from detector.contrast import Usual, log_odds, margins
from detector.engines import load_engine
from detector.errors import ExportError, ModelFolderError
from detector.export import TOLERANCE, parity
from detector.folder import ARCHITECTURE, RECORD, TOKENIZER, ScorerFolder, read_folder
from detector.scorer import Scorer, unserved
from detector.statement import Tokens
from tests.detector.checkpoint import KINDS, MEAN, STD, checkpoint
from tests.detector.material import coarse, rule

TEXTS = ("this is a photo of a person on the floor", "people", "this is a photo " * 20)


def test_the_engines_say_what_the_checkpoint_says(adopted: tuple[Path, ScorerFolder]) -> None:
    """transformers' own forward pass, from floats that numpy scaled, against the folder's uint8 graphs."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    source, folder = adopted
    shape = folder.record.shape
    model: Any = AutoModel.from_pretrained(source, dtype="float32").eval()
    width, height = shape.picture_size
    pictures = np.random.default_rng(1).integers(0, 256, (5, height, width, 3), dtype=np.uint8)
    scaled = torch.from_numpy(((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)).float()
    given: dict[str, Any] = {"pixel_values": scaled}
    if folder.record.architecture == "siglip2":
        from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

        columns, rows = shape.grid
        given = {
            "pixel_values": torch.stack([convert_image_to_patches(each, 16) for each in scaled]),
            "pixel_attention_mask": torch.ones(5, rows * columns, dtype=torch.int64),
            "spatial_shapes": torch.tensor([[rows, columns]] * 5),
        }
    tokenizer = AutoTokenizer.from_pretrained(source)
    ids = tokenizer(
        list(TEXTS), padding="max_length", max_length=shape.text_length, truncation=True, return_tensors="pt"
    )["input_ids"]
    np.testing.assert_array_equal(Tokens(folder.file(TOKENIZER), shape.text_length).encode(TEXTS), ids.numpy())
    with torch.inference_mode():
        out = model(input_ids=ids, **given)
    engine = load_engine("onnx", folder)
    for count in (1, 5):
        tokens = engine.image(pictures[:count])
        assert tokens.shape == (count, shape.length, shape.dim)
        np.testing.assert_allclose(tokens[:, 0], out.image_embeds[:count].numpy(), atol=5e-4)
    texts = engine.text(ids.numpy())
    np.testing.assert_allclose(texts, out.text_embeds.numpy(), atol=5e-4)
    logits = folder.record.scale * engine.image(pictures)[:, 0] @ texts.T + folder.record.bias
    np.testing.assert_allclose(logits, out.logits_per_image.numpy(), atol=0.05)
    assert parity(folder, seed=4) <= TOLERANCE


def test_of_one_cell_the_head_says_what_it_says_of_all(tmp_path: Path) -> None:
    """A picture of one patch is its cell: then both vectors are the released one."""
    import json

    source = checkpoint("siglip", tmp_path / "checkpoint")
    told = json.loads((source / "config.json").read_text("utf-8"))
    told["vision_config"]["image_size"] = 16
    (source / "config.json").write_text(json.dumps(told), "utf-8")
    from transformers import AutoConfig, AutoModel

    classes: Any = AutoModel
    classes.from_config(AutoConfig.from_pretrained(source)).save_pretrained(source)
    folder = adopt.adopt(str(source), tmp_path / "scorer")
    tokens = load_engine("torch", folder).image(np.full((1, 16, 16, 3), 77, np.uint8))
    assert tokens.shape == (1, 2, 32)
    np.testing.assert_allclose(tokens[0, 0], tokens[0, 1], atol=1e-6)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_it_serves_rules_of_any_category(adopted: tuple[Path, ScorerFolder], engine: Any) -> None:
    _, folder = adopted
    zones = {"cam": {"left": ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0), (0.0, 1.0))}}
    rules = [rule("fall"), rule("other", watch="a red lorry"), rule("fight", zones=("left",))]
    scorer = Scorer.load(DetectorConfig(model=str(folder.path), engine=engine), rules, zones)
    rng = np.random.default_rng(2)
    frames = [coarse(rng.integers(0, 256, (90, 160, 3), dtype=np.uint8), float(second)) for second in range(8)]
    scores = np.concatenate([scorer.score(frames[:3]), scorer.score(frames[3:])])
    assert scores.shape == (8, 3) and ((scores > 0) & (scores < 1)).all()
    assert np.abs(scores[:, 0] - scores[:, 2]).min() > 0
    assert "any category" in scorer.describe()
    assert all(unserved(each, folder) is None for each in rules)
    scorer.close()


def test_what_a_camera_usually_shows_opens_nothing(adopted: tuple[Path, ScorerFolder]) -> None:
    _, folder = adopted
    picture = np.random.default_rng(5).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    scorer = Scorer.load(DetectorConfig(model=str(folder.path), engine="onnx"), [rule("fall"), rule("crowd")])
    for second in range(60):
        scores = scorer.score([coarse(picture, float(second))])[0]
    assert (scores < 0.05).all()
    scorer.close()


def test_margins_are_log_odds_against_the_neutral_texts() -> None:
    logits = np.array([[2.0, -1.0]], np.float32)
    neutral = np.array([[0.5, -0.5, -3.0]], np.float32)
    whole = np.exp([2.0, 0.5, -0.5, -3.0])
    share = whole[0] / whole.sum()
    found = margins(logits, neutral)
    assert found[0, 0] == pytest.approx(np.log(share / (1 - share)), abs=1e-5)
    np.testing.assert_allclose(margins(logits - 16.0, neutral - 16.0), found, atol=1e-5)


@pytest.mark.parametrize("level", [-9.0, 0.0, 7.0])
def test_the_offset_is_what_a_camera_usually_shows(level: float) -> None:
    """Whatever the wording is worth on a camera: usual frames get the base rate, an event its odds above them."""
    rng = np.random.default_rng(8)
    usual = Usual(1)
    for _ in range(400):
        over = usual.excess(np.array([level + rng.normal(0, 0.3)], np.float32))
    assert abs(float(over[0])) < 1.2
    event = float(usual.excess(np.array([level + 6.0], np.float32))[0])
    assert 1 / (1 + np.exp(-(event + log_odds(contrast.BASE_RATE)))) > 0.6


def test_an_event_teaches_little_and_a_turned_camera_becomes_usual() -> None:
    usual = Usual(1)
    for _ in range(600):
        usual.excess(np.array([-4.0], np.float32))
    for _ in range(30):
        event = usual.excess(np.array([5.0], np.float32))
    assert event[0] > 8.5, "half a minute of an event is forgotten at once"
    for _ in range(12_000):
        turned = usual.excess(np.array([5.0], np.float32))
    assert turned[0] < 4.0


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("swin", "'swin'.*no text tower.*SigLIP 2"),
        ("blip", "'blip'.*another kind.*SigLIP 2"),
        (None, "cannot be loaded"),
    ],
)
def test_what_is_no_pair_is_refused_in_one_line(architecture: str | None, said: str, tmp_path: Path) -> None:
    if architecture:
        from transformers import AutoConfig

        AutoConfig.for_model(architecture).save_pretrained(tmp_path)
    with pytest.raises(ExportError, match=said) as caught:
        adopt.adopt(str(tmp_path), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_whose_architecture_was_changed_is_refused(adopted: tuple[Path, ScorerFolder], tmp_path: Path) -> None:
    import shutil

    _, folder = adopted
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy)
    (copy / ARCHITECTURE).write_text('{"model_type": "bert"}', "utf-8")
    with pytest.raises(ModelFolderError, match=r"config\.json is not the file that"):
        read_folder(str(copy))
    (copy / RECORD).write_text((copy / RECORD).read_text("utf-8").replace(ARCHITECTURE, "../" + ARCHITECTURE), "utf-8")
    with pytest.raises(ModelFolderError, match="no file of the folder"):
        read_folder(str(copy))


def test_the_command_exports_the_bundled_scorer_as_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    options = Namespace(model="bundled", out=tmp_path / "out", precision="fp32", frames=None)
    assert command.run(options, said.append, lambda line: None) == 0
    written, bundled = read_folder(str(tmp_path / "out")), read_folder("bundled")
    assert written.record.categories == bundled.record.categories
    assert written.record.sha256["scorer.safetensors"] == bundled.record.sha256["scorer.safetensors"]
    pictures = np.random.default_rng(0).integers(0, 256, (2, 144, 256, 7), dtype=np.uint8)
    np.testing.assert_allclose(
        load_engine("onnx", written).image(pictures), load_engine("onnx", bundled).image(pictures), atol=TOLERANCE
    )
    assert any("ONNX Runtime and torch differ by" in line for line in said)


def test_released_shapes() -> None:
    """SigLIP 2 B/16-256 as published: 256 cells and the picture's own vector; NaFlex looks at 16:9."""
    from transformers import Siglip2Config, SiglipConfig

    from detector.pair import shape_of

    fixed = SiglipConfig(vision_config={"image_size": 256}, text_config={"vocab_size": 256_000})
    shape = shape_of(fixed, adopt.picture_size(fixed, {}), 64)
    assert (shape.picture_size, shape.length, shape.dim, shape.depth) == ((256, 256), 257, 768, 12)
    assert adopt.picture_size(Siglip2Config(), {"max_num_patches": 256}) == (336, 192)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_without_some_weights_is_refused(kind: str, tmp_path: Path) -> None:
    """They would be random, and rules be scored by chance."""
    from safetensors.torch import load_file, save_file

    source = checkpoint(kind, tmp_path / "checkpoint")
    weights = load_file(source / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("text_model.encoder.")}
    assert 0 < len(kept) < len(weights)
    save_file(kept, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExportError, match=rf"lacks {len(weights) - len(kept)} weights of a '{kind}', as text_model"):
        adopt.adopt(str(source), tmp_path / "scorer")
    assert not (tmp_path / "scorer").exists()
