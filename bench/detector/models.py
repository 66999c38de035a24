"""The two models: the bundled scorer, and the released SigLIP 2 B/16-256 in shape alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.detector.targets import RELEASED

if TYPE_CHECKING:
    from detector.folder import ScorerFolder

PICTURES = 48
"""That the bundled scorer is quantised on."""


def released_config() -> Any:
    """SigLIP 2 B/16-256 as published, but for its text tower, which no figure here depends on."""
    from transformers import SiglipConfig

    text = {"vocab_size": 1000, "num_hidden_layers": 1, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    return SiglipConfig(vision_config={"image_size": 256, "patch_size": 16}, text_config=text)


def released_shape() -> Any:
    from detector.pair import shape_of

    return shape_of(released_config(), (256, 256), 64)


def bundled_folder(path: Path) -> ScorerFolder:
    from detector.export import rewrite
    from detector.folder import read_folder
    from detector.pictures import of_scenes
    from detector.quantise import add_int8

    folder = rewrite(read_folder("bundled"), path)
    return add_int8(folder, list(of_scenes(folder.record.shape, PICTURES)))[0]


def released_folder(path: Path) -> ScorerFolder:
    """Random weights in the released shape, quantised on synthetic scenes."""
    import torch

    from detector import adopt, export, pair, source
    from detector.folder import ARCHITECTURE, BUNDLED, TOKENIZER
    from detector.pictures import of_scenes
    from detector.quantise import add_int8

    torch.manual_seed(0)
    model = pair.build(released_config())
    with torch.no_grad():
        model.logit_scale.fill_(4.7)
        model.logit_bias.fill_(-16.5)
    towers = pair.PairModel(model, released_shape(), source.HALF.mean, source.HALF.std).eval().requires_grad_(False)
    export.write_weights(towers, path)
    model.config.to_json_file(path / ARCHITECTURE, use_diff=False)
    (path / TOKENIZER).write_bytes((BUNDLED / TOKENIZER).read_bytes())
    folder = export.write_record(path, adopt.record(RELEASED, model, towers, source.HALF))
    return add_int8(folder, list(of_scenes(folder.record.shape, 12)))[0]
