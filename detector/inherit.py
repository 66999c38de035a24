"""A training that begins where an earlier one ended: the towers and numbers of a model folder taken over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from detector.errors import TrainingError
from detector.folder import TOKENIZER, WEIGHTS, read_folder
from detector.model import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from detector.model import ScorerModel


def inherit(model: ScorerModel, tokenizer: Path, start_from: str) -> None:
    """Copies the weights of `start_from` into `model`.

    Raises TrainingError, one line, for other sizes or another tokenizer (whose words would mean something else), and
    ModelFolderError for a folder that cannot be read.
    """
    folder = read_folder(start_from)
    if folder.record.shape != model.shape:
        raise TrainingError(f"start_from {start_from!r} has other sizes: {folder.record.shape}, not {model.shape}")
    if folder.file(TOKENIZER).read_bytes() != tokenizer.read_bytes():
        raise TrainingError(f"start_from {start_from!r} has another tokenizer: its captions or categories differ")
    earlier = load_weights(folder.record.shape, folder.file(WEIGHTS))
    with torch.no_grad():
        earlier.log_scale.fill_(math.log(folder.record.scale))
        earlier.bias.fill_(folder.record.bias)
        earlier.log_sharpness.fill_(math.log(folder.record.sharpness))
        # The tokens' bias is no part of a folder, for serving has no use for it: it begins as that of the whole.
        earlier.token_bias.fill_(folder.record.bias)
    model.load_state_dict(earlier.state_dict())
