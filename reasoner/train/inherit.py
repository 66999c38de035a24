"""A model that goes on from another one's weights: the same sizes, perhaps other words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reasoner.train.errors import BadCheckpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def inherit(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Take over the weights of a model folder; a word that both know keeps its embedding. Gives the known words.

    Raises BadCheckpoint where the folder cannot be read or its sizes are others.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import PreTrainedTokenizerFast

    try:
        stored = load_file(folder / "model.safetensors")
        words: dict[str, int] = PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"start_from {folder}: {error}; give a folder that `witness train sft` exported") from None
    own = model.state_dict()
    table = "model.language_model.embed_tokens.weight"
    with torch.no_grad():
        for name, value in stored.items():
            if name in (table, "lm_head.weight"):
                continue
            if name not in own or own[name].shape != value.shape:
                raise BadCheckpoint(
                    f"start_from {folder}: {name} is {tuple(value.shape)} there; its [model] sizes differ"
                )
            own[name].copy_(value.float())
        known = [(new, words[word]) for word, new in tokenizer.get_vocab().items() if word in words]
        here, there = torch.tensor(known).unbind(1)
        own[table][here] = stored[table][there].float()
    model.tie_weights()
    return len(known)
