"""The loss of supervised training: all of a target's tokens, and once more those that say when and where."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Trainer

from reasoner.processor import Processor
from reasoner.train.lesson import IGNORED


class Sums(NamedTuple):
    """Negative log-likelihoods, nats, and how many tokens they are of; each float32 (2,): all tokens, grounded ones."""

    nll: Tensor
    tokens: Tensor


def weighted(sums: Sums, tokens: Tensor, text_share: float) -> Tensor:
    """`text_share` x mean over all tokens + the rest x mean over the grounded ones.

    tokens (2,): what is divided by; those of the whole batch, where `sums` is of a part of it.
    """
    shares = torch.tensor([text_share, 1 - text_share], device=sums.nll.device)
    return (shares * sums.nll / tokens.to(sums.nll.device).clamp(min=1)).sum()


def losses(model: Any, inputs: dict[str, Tensor]) -> Sums:
    """One forward pass; the vocabulary is read only where a target's token is predicted.

    inputs: a batch of `Collate`, pixels normalised.
    """
    given = dict(inputs)
    labels, grounded = given.pop("labels"), given.pop("grounded")
    first = int((labels != IGNORED).any(0).nonzero()[0])
    kept = labels.shape[1] - first + 1
    logits = model(**given, logits_to_keep=kept, use_cache=False).logits[:, :-1].float()
    wanted = labels[:, first:]
    learnt = wanted != IGNORED
    each = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none", ignore_index=IGNORED)
    masks = torch.stack([learnt, learnt & grounded[:, first:]])
    return Sums((each * masks).sum((1, 2)), masks.sum((1, 2)).float())


class WeightedTrainer(Trainer):
    """A transformers Trainer whose loss is `weighted` over the whole batch, all devices and accumulated parts."""

    def __init__(self, processor: Processor, text_share: float, **given: Any) -> None:
        super().__init__(**given)
        self._processor, self._text_share = processor, text_share
        self.loss_is_scaled_for_ga = True
        self._seen = Sums(torch.zeros(2), torch.zeros(2))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """`num_items_in_batch` (2,): tokens of the whole batch, as `_get_num_items_in_batch` counts them."""
        sums = losses(model, self._processor.normalise(inputs))
        total = sums.tokens if num_items_in_batch is None else num_items_in_batch
        loss = weighted(sums, total, self._text_share)
        if torch.is_grad_enabled():
            self._seen = Sums(*(a.to(b.device) + b.detach() for a, b in zip(self._seen, sums, strict=True)))
            # Gradients are averaged over the devices, and each has only its own part of the sum.
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """float32 (2,): tokens to be learnt and grounded ones, over the accumulated batches of all devices."""
        counts = torch.zeros(2)
        for batch in batch_samples:
            learnt = batch["labels"] != IGNORED
            counts += torch.stack([learnt.sum(), (learnt & batch["grounded"]).sum()]).float().cpu()
        # Told by the gradient: a model is still in evaluation mode when the first batch is counted.
        if not torch.is_grad_enabled():
            return counts.to(device)
        return self.accelerator.reduce(counts.to(device), "sum")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds `text` and `grounded`, the two means since the last line, over all devices."""
        if "loss" in logs:
            sums = Sums(*(self.accelerator.reduce(part.to(self.args.device), "sum") for part in self._seen))
            means = sums.nll / sums.tokens.clamp(min=1)
            logs |= {"text": float(means[0]), "grounded": float(means[1])}
            logs["loss"] = float(weighted(sums, sums.tokens, self._text_share))
            self._seen = Sums(torch.zeros(2), torch.zeros(2))
        super().log(logs, start_time)
