"""Forward passes over rows of slots: a prompt into a row, then the next tokens of all rows together.

Positions are always given, so that nothing is read from or left on the model object (`rope_deltas` would be the last
caller's). The arithmetic is that of `generate`: one row by itself gives the same bits, several rows the same up to the
order of sums.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasoner.backends.features import Features, encoder_outputs
from reasoner.backends.prompted import Prompted
from reasoner.backends.slots import Slots

if TYPE_CHECKING:
    import torch
    from transformers.cache_utils import Cache


def is_served(model: Any) -> bool:
    """Whether all layers keep plain keys and values, which rows of slots can hold; else `generate` must do."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"} and hasattr(model.model, "get_rope_index")


class Decoder:
    """One model's passes. Not for several threads at once."""

    def __init__(self, model: Any, slots: Slots, prefill_tokens: int = 0) -> None:
        """prefill_tokens: most tokens of a prompt in one pass, which caps the memory of a pass; 0: all of them."""
        self.slots = slots
        self._model = model
        self._text = model.model.language_model
        self._head = model.lm_head
        self._embed = model.get_input_embeddings()
        self._part = prefill_tokens
        # The keyword's name changed within transformers 5.
        known = inspect.signature(type(self._text).forward).parameters
        self._cache = "cache" if "cache" in known else "past_key_values"

    def prefill(self, prompt: Prompted, features: Sequence[Features], row: int, filled: int = 0) -> torch.Tensor:
        """Put a prompt into a row that holds `filled` positions of it. → (1, vocabulary) logits after it."""
        device = self._model.device
        cache = self.slots.row(row, filled)
        ids, positions = prompt.ids.to(device), prompt.positions.to(device)
        step = self._part or prompt.length
        for first in range(filled, prompt.length, step):
            last = min(first + step, prompt.length)
            seen = encoder_outputs(features, int(prompt.seen_before[first]), int(prompt.seen_before[last]))
            out = self._model.model(
                input_ids=ids[:, first:last],
                attention_mask=_continued(first, last - first, device),
                position_ids=positions[:, :, first:last],
                mm_encoder_outputs=seen,
                use_cache=True,
                **{self._cache: cache},
            )
        return self._logits(out.last_hidden_state[:, -1:])[:, 0]

    def extend(self, row: int, filled: int, ids: Sequence[int], position: int) -> torch.Tensor:
        """Text tokens into one row after `filled` positions. → (1, tokens, vocabulary) logits after each."""
        return self.following([ids], [filled], [position], self.slots.row(row, filled))

    def together(self, ids: Sequence[Sequence[int]], filled: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """The next tokens of the first rows, as many for each. → (rows, tokens, vocabulary) logits after each.

        filled: positions that each row holds. positions: rotary position of each row's first token.
        """
        cache = self.slots.row(0, filled[0]) if len(ids) == 1 else self.slots.together(filled)
        return self.following(ids, filled, positions, cache)

    def following(
        self, ids: Sequence[Sequence[int]], filled: Sequence[int], positions: Sequence[int], cache: Cache
    ) -> torch.Tensor:
        import torch

        device = self._model.device
        count = len(ids[0])
        at = torch.tensor(positions)[:, None] + torch.arange(count)
        mask = None
        if count > 1 or len(set(filled)) > 1:
            last = torch.tensor(filled)[:, None] + torch.arange(count)
            mask = torch.arange(max(filled) + count) <= last[:, None, :, None]
            mask = mask.to(device)
        return self.run(torch.tensor(ids, device=device), at.expand(3, -1, -1).to(device), mask, cache)

    def run(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, cache: Cache) -> torch.Tensor:
        """ids int64 (B, n), positions (3, B, n), mask bool (B, 1, n, all) or none → (B, n, vocabulary) logits."""
        out = self._text(
            inputs_embeds=self._embed(ids),
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache: cache},
        )
        return self._logits(out.last_hidden_state)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._head(hidden)
        return logits.float()


def _continued(first: int, count: int, device: Any) -> torch.Tensor | None:
    """Which keys each of `count` tokens after `first` others may see, bool (1, 1, count, all); None: the usual."""
    import torch

    if first == 0 or count == 1:
        return None
    return (torch.arange(first + count) <= torch.arange(first, first + count)[:, None])[None, None].to(device)
