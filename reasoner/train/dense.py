"""Dense supervision of picture tokens: what lies in each cell of the picture. Used in training only.

One slot per cell and object label; an object belongs to the cell that holds its centre, actors before others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reasoner.train.row import Row
from reasoner.train.vocabulary import STORIES

VISIBLE_FROM = 0.3


@dataclass(frozen=True)
class DenseTruth:
    """Truth of P pictures with C cells and L labels: float32 (P, C, L), boxes (P, C, L, 4), kinds int64 (P, C, L)."""

    object: Tensor
    actor: Tensor
    active: Tensor
    box: Tensor
    kind: Tensor
    told: Tensor
    """Whether it is known who acts: not where another event happens than the one asked about."""


def dense_truth(
    groups: Sequence[tuple[Row, int]], labels: Mapping[str, int], kinds: Mapping[str, int], cells: tuple[int, int]
) -> DenseTruth:
    """Truth of (row, group) pictures; `cells`: rows and columns of merged tokens."""
    shape = (len(groups), cells[0] * cells[1], len(labels))
    there, actor, active, told = (np.zeros(shape, np.float32) for _ in range(4))
    box, kind = np.zeros((*shape, 4), np.float32), np.zeros(shape, np.int64)
    for picture, (row, group) in enumerate(groups):
        time_s = row.times[group]
        happening = row.start is not None and row.start - 0.5 <= time_s <= (row.end if row.end is not None else 1e9)
        things = [thing for thing in row.objects[group] if thing.visible >= VISIBLE_FROM]
        things.sort(key=lambda thing: (thing.actor, (thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1])))
        for thing in things:
            x1, y1, x2, y2 = thing.box
            cell_row = min(cells[0] - 1, max(0, int((y1 + y2) / 2 * cells[0])))
            cell_column = min(cells[1] - 1, max(0, int((x1 + x2) / 2 * cells[1])))
            place = (picture, cell_row * cells[1] + cell_column, labels[thing.label])
            there[place], actor[place], active[place] = 1, thing.actor, thing.actor and happening
            box[place], kind[place] = thing.box, kinds[row.kind]
            told[place] = row.start is not None or row.kind not in STORIES
    return DenseTruth(*(torch.from_numpy(part) for part in (there, actor, active, box, kind, told)))


class DenseHead(nn.Module):
    """Token features (P, C, width) → objectness, actor, active, kind and box of each cell and label."""

    def __init__(self, width: int, labels: int, kinds: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.labels, self.kinds, self.cells = labels, kinds, cells
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, labels * (7 + kinds))
        nn.init.zeros_(self.out.bias)
        columns = (torch.arange(cells[0] * cells[1]) % cells[1] + 0.5) / cells[1]
        rows = (torch.arange(cells[0] * cells[1]) // cells[1] + 0.5) / cells[0]
        self.register_buffer("centres", torch.stack([columns, rows], dim=1)[:, None], persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ logits (P, C, L, 3) of object, actor, active; boxes (P, C, L, 4) as x1 y1 x2 y2; kinds (P, C, L, K)."""
        out = self.out(self.norm(features)).float().unflatten(-1, (self.labels, -1))
        shift = out[..., 3:5] * torch.tensor([1 / self.cells[1], 1 / self.cells[0]])
        centre = self.centres + shift
        half = (out[..., 5:7] - 1.0).sigmoid() / 2
        return out[..., :3], torch.cat([centre - half, centre + half], dim=-1), out[..., 7:]

    def loss(self, features: Tensor, truth: DenseTruth) -> Tensor:
        """4 objectness (most cells are empty) + box + actor + active + 0.3 kind; the others only where objects are."""
        logits, boxes, kinds = self(features)
        loss = 4 * functional.binary_cross_entropy_with_logits(logits[..., 0], truth.object)
        there = truth.object > 0
        if not there.any():
            return loss
        told = truth.told > 0
        if told.any():
            loss = loss + functional.binary_cross_entropy_with_logits(logits[..., 1][told], truth.actor[told])
            loss = loss + functional.binary_cross_entropy_with_logits(logits[..., 2][told], truth.active[told])
        actors = truth.actor > 0
        if actors.any():
            loss = loss + 0.3 * functional.cross_entropy(kinds[actors], truth.kind[actors])
        return loss + box_loss(boxes[there], truth.box[there]).mean()


class NumberHead(nn.Module):
    """Token features at an object → its four coordinates as number tokens, through the shared embedding."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, labels * 4 * width)

    def loss(self, features: Tensor, truth: DenseTruth, numbers: Tensor) -> Tensor:
        """Cross entropy against the numbers' embeddings (K, width), evenly spread over 0..1."""
        there = truth.object > 0
        if not there.any():
            return features.sum() * 0
        picture, cell, label = there.nonzero(as_tuple=True)
        wanted = (truth.box[there].clamp(0, 1) * (len(numbers) - 1)).round().long()
        states = self.out(self.norm(features[picture, cell])).unflatten(-1, (self.labels, 4, -1))
        states = states[torch.arange(len(label)), label]
        return functional.cross_entropy((states @ numbers.T.to(states.dtype)).float().flatten(0, 1), wanted.flatten())


def box_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """(1 - GIoU) + 5 * smooth L1 of x1 y1 x2 y2 boxes (N, 4) → (N,)."""
    far = functional.smooth_l1_loss(boxes, wanted, beta=0.05, reduction="none").mean(1)
    return 1 - overlaps(boxes, wanted)[1] + 5 * far


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (arXiv 1902.09630) of x1 y1 x2 y2 boxes (N, 4), pair by pair; badly ordered corners are empty."""
    top, bottom = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    both = (bottom - top).clamp_min(0).prod(1)
    areas = [(part[:, 2:] - part[:, :2]).clamp_min(0).prod(1) for part in (boxes, others)]
    union = areas[0] + areas[1] - both
    hull = (
        (torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])).clamp_min(0).prod(1)
    )
    iou = both / union.clamp_min(1e-6)
    return iou, iou - (hull - union) / hull.clamp_min(1e-6)
