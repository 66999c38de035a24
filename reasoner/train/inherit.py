"""A model that goes on from another one's weights: the same sizes, perhaps other words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reasoner.errors import ReasonerError
from reasoner.folder import BUNDLED, ModelFolder, open_folder
from reasoner.train.errors import BadCheckpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TABLE = "model.language_model.embed_tokens.weight"
TIED = "lm_head.weight"
"""The embedding again: a folder may hold it or not."""


def source(start_from: str) -> ModelFolder:
    """The folder that `start_from` names: `bundled` or a path. Raises BadCheckpoint where it cannot be used."""
    try:
        return open_folder(BUNDLED if start_from == "bundled" else Path(start_from).expanduser())
    except (ReasonerError, OSError) as error:
        raise BadCheckpoint(f"start_from {start_from!r}: {error}") from None


def inherit(model: Any, tokenizer: PreTrainedTokenizerFast, start_from: str) -> int:
    """Take over the weights of a model folder; a word that both know keeps its embedding. Gives the known words.

    Raises BadCheckpoint where the folder cannot be read, or its layers or their sizes are others.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import PreTrainedTokenizerFast

    folder = source(start_from)
    stored: dict[str, torch.Tensor] = {}
    try:
        for file in folder.weights:
            stored |= load_file(file)
        words: dict[str, int] = PreTrainedTokenizerFast.from_pretrained(folder.path).get_vocab()
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(
            f"start_from {start_from!r}: {reason}; give a folder that `witness train sft` exported"
        ) from None
    own = model.state_dict()
    _require_same(start_from, folder.config, model.config, stored, own)
    with torch.no_grad():
        for name, value in stored.items():
            if name not in (TABLE, TIED):
                own[name].copy_(value.float())
        known = [(new, words[word]) for word, new in tokenizer.get_vocab().items() if word in words]
        here, there = torch.tensor(known).unbind(1)
        own[TABLE][here] = stored[TABLE][there].float()
    model.tie_weights()
    return len(known)


def _require_same(
    start_from: str, there: dict[str, Any], here: Any, stored: dict[str, torch.Tensor], own: dict[str, torch.Tensor]
) -> None:
    """Nothing may be left as it was drawn, nothing be cut: the same tensors, of the same shapes, used alike."""
    missing = sorted(own.keys() - stored.keys() - {TIED})
    unknown = sorted(stored.keys() - own.keys() - {TIED})
    if missing or unknown:
        told = [
            f"{verb} {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
            for verb, names in (("lacks", missing), ("has besides", unknown))
            if names
        ]
        raise BadCheckpoint(f"start_from {start_from!r} {', '.join(told)}; its [model] sizes differ")
    for name, value in stored.items():
        # Rows of the embedding are words, of which each tokenizer has its own.
        if name != TIED and value.shape[name == TABLE :] != own[name].shape[name == TABLE :]:
            raise BadCheckpoint(
                f"start_from {start_from!r}: {name} is {tuple(value.shape)} there and {tuple(own[name].shape)} here; "
                "its [model] sizes differ"
            )
    vision = there.get("vision_config", {})
    for setting in ("num_heads", "deepstack_visual_indexes"):
        mine = getattr(here.vision_config, setting)
        if vision.get(setting) != mine:
            raise BadCheckpoint(
                f"start_from {start_from!r}: its vision tower has {setting} {vision.get(setting)}, not {mine}; "
                "its [model] sizes differ"
            )
