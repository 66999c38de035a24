"""The model in training: its forward passes, its auxiliary heads and its losses."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reasoner.train.attention import use_in
from reasoner.train.batches import PictureBatch, TextBatch
from reasoner.train.dense import DenseHead, NumberHead, box_loss
from reasoner.train.gist import GistHead
from reasoner.train.vision import encode, patches_of

MIDDLE_LAYER = 2
"""The language layer (from 0) after which picture tokens are supervised."""


class Passed(NamedTuple):
    """States of one forward pass."""

    final: Tensor
    """(B, L, width), normalised: what the vocabulary is read from."""
    late: Tensor
    """(B, L, width) before the last layer."""
    tokens: Tensor
    """Picture tokens (P, C, width) after the middle layer."""
    features: Tensor
    """Picture tokens as the tower gave them."""


class Learner(nn.Module):
    """A `Qwen3VLForConditionalGeneration` with heads that exist only while it learns."""

    def __init__(
        self, model: Any, number_ids: Tensor, labels: int, kinds: int, categories: int, grid: tuple[int, int, int],
        text_share: float = 0.6, decision_weight: float = 4.0,
    ) -> None:  # fmt: skip
        super().__init__()
        use_in(model.model.language_model)
        self.model = model
        self.grid = grid
        self.text_share, self.decision_weight = text_share, decision_weight
        width = model.config.text_config.hidden_size
        cells = (grid[1] // 2, grid[2] // 2)
        self.seen = DenseHead(width, labels, kinds, cells)
        self.understood = DenseHead(width, labels, kinds, cells)
        self.number = NumberHead(width, labels)
        self.gist = GistHead(width, categories, kinds)
        self.register_buffer("number_ids", number_ids, persistent=False)

    @property
    def numbers(self) -> Tensor:
        """Embeddings of 0, 5 ... 1000, (201, width)."""
        table: Tensor = self.model.model.language_model.embed_tokens.weight
        return table[cast(Tensor, self.number_ids)]

    def look(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """uint8 (P, 2, H, W, 3) → picture tokens (P, C, width) and the deepstack features."""
        return encode(self.model.model.visual, patches_of(pictures), self.grid)

    def dense_loss(self, batch: PictureBatch) -> dict[str, Tensor]:
        """Losses of the first stage."""
        merged, deep = self.look(batch.pictures)
        features = merged + sum(deep)
        dense = self.seen.loss(features, batch.truth)
        number = self.number.loss(features, batch.truth, self.numbers)
        return {"loss": dense + 0.5 * number, "dense": dense, "number": number}

    def states(self, batch: TextBatch) -> Passed:
        """What the stock forward computes: padding is at the right, so the causal mask alone keeps it apart."""
        merged, deep = self.look(batch.pictures)
        language = self.model.model.language_model
        x = language.embed_tokens(batch.input_ids).to(merged.dtype)
        x = x.masked_scatter(batch.visual.unsqueeze(-1), merged)
        rotation = language.rotary_emb(x, batch.positions)
        middle, supervised = x, min(MIDDLE_LAYER, len(language.layers) - 1)
        late = x
        for index, layer in enumerate(language.layers):
            late = x
            x = layer(x, position_embeddings=rotation, attention_mask=None, use_cache=False)
            if index < len(deep):
                x = x + torch.zeros_like(x).masked_scatter(batch.visual.unsqueeze(-1), deep[index])
            if index == supervised:
                middle = x
        return Passed(language.norm(x), late, middle[batch.visual].view(merged.shape), merged + sum(deep))

    def logits(self, states: Tensor, batch: TextBatch) -> Tensor:
        """float32 (M, vocabulary) at the places that predict a target's tokens."""
        return self.model.lm_head(states[batch.places]).float()  # type: ignore[no-any-return]

    def text_loss(self, batch: TextBatch) -> dict[str, Tensor]:
        """Losses of the second stage."""
        passed = self.states(batch)
        logits = self.logits(passed.final, batch)
        each = functional.cross_entropy(logits, batch.wanted, reduction="none")
        weight = torch.where(batch.decides, self.decision_weight, 1.0)
        text = (each * weight).sum() / weight.sum()
        grounded = each[batch.numbers].mean() if batch.numbers.any() else each.sum() * 0
        box = self._box_loss(logits, batch)
        dense = self.seen.loss(passed.features, batch.truth)
        understood = self.understood.loss(passed.tokens, batch.truth)
        number = self.number.loss(passed.features, batch.truth, self.numbers)
        gist = self.gist.loss(passed.late[batch.places][batch.decides], batch.categories, batch.kinds)
        shared = self.text_share * text + (1 - self.text_share) * grounded
        loss = 2 * shared + 0.5 * dense + understood + 0.5 * number + box + 0.5 * gist
        return {
            "loss": loss,
            "text": text,
            "grounded": grounded,
            "decision": each[batch.decides].mean(),
            "box": box,
            "dense": dense,
            "number": number,
            "gist": gist,
        }

    def _box_loss(self, logits: Tensor, batch: TextBatch) -> Tensor:
        """Distance between the expected and the true box of each claim."""
        if not batch.coordinates.any():
            return logits.sum() * 0
        ids = cast(Tensor, self.number_ids)
        scale = torch.linspace(0, 1, len(ids))
        chosen = logits[batch.coordinates][:, ids]
        expected = (chosen.softmax(-1) @ scale).view(-1, 4)
        index = torch.searchsorted(ids, batch.wanted[batch.coordinates])
        return box_loss(expected, scale[index].view(-1, 4)).mean()
