"""Batches: pictures with their dense truth for the first stage, whole conversations for the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasoner.processor import Processor
from reasoner.prompt import messages
from reasoner.train.album import Album
from reasoner.train.augment import DISORDER_SHARE, asked, augmented, disordered
from reasoner.train.dense import DenseTruth, dense_truth
from reasoner.train.questions import language
from reasoner.train.row import Row
from reasoner.train.signs import with_signs
from reasoner.train.tokens import COORDINATES, TIMES
from reasoner.train.vision import MERGE, PATCH
from reasoner.train.vocabulary import target

YES_SHARE = 0.6
"""Of the rows drawn; a good part of them is then asked another category's question, see `asked`."""


@dataclass(frozen=True)
class PictureBatch:
    """Pictures uint8 (P, 2, H, W, 3) and what is in them."""

    pictures: Tensor
    truth: DenseTruth


@dataclass(frozen=True)
class TextBatch:
    """B conversations of at most L tokens, padded at the right; their P pictures one after the other."""

    pictures: Tensor
    truth: DenseTruth
    input_ids: Tensor
    """int64 (B, L)."""
    positions: Tensor
    """int64 (3, B, L): time, row, column."""
    visual: Tensor
    """bool (B, L): tokens that stand for pictures."""
    places: tuple[Tensor, Tensor]
    """Row and column (M,) of each state that predicts a token of a target."""
    wanted: Tensor
    """int64 (M,): those tokens."""
    decides: Tensor
    """bool (M,): the first word of the thinking."""
    numbers: Tensor
    """bool (M,): coordinates and times."""
    coordinates: Tensor
    """bool (M,): coordinates of claimed boxes; they come by fours."""
    categories: Tensor
    """int64 (B,): what is asked about."""
    kinds: Tensor
    """int64 (B,): what happens."""


class Draw:
    """Draws rows over categories, `YES_SHARE` of them true; `emphasis`: how much oftener than others some are drawn."""

    def __init__(self, album: Album, indices: Sequence[int], emphasis: Mapping[str, float]) -> None:
        pools: dict[tuple[str, bool], list[int]] = {}
        for index in indices:
            row = album.rows[index]
            pools.setdefault((row.category, row.answer), []).append(int(index))
        self.pools = {key: np.array(pools[key]) for key in sorted(pools)}
        self.categories = sorted({category for category, _ in pools})
        weights = np.array([emphasis.get(category, 1.0) for category in self.categories])
        self.share = weights / weights.sum()

    def __call__(self, count: int, random: np.random.Generator) -> list[int]:
        drawn = []
        for category in random.choice(self.categories, size=count, p=self.share):
            true = bool(random.random() < YES_SHARE)
            wanted = (str(category), true)
            pool = self.pools[wanted if wanted in self.pools else (str(category), not true)]
            drawn.append(int(random.choice(pool)))
        return drawn


class Batches:
    """Makes batches of an album for a model; the same step draws the same batch."""

    def __init__(
        self, album: Album, processor: Processor, model: Any, seed: int, emphasis: Mapping[str, float] | None = None
    ) -> None:
        self.album, self.processor, self.model, self.seed = album, processor, model, seed
        self.draw = Draw(album, album.train.tolist(), emphasis or {})
        self.labels = {label: index for index, label in enumerate(album.labels)}
        self.kinds = {kind: index for index, kind in enumerate(album.kinds)}
        self.categories = {category: index for index, category in enumerate(album.categories)}
        self._nothing = "nothing" if "nothing" in self.kinds else album.kinds[0]
        width, height = album.size
        self.grid = (1, height // PATCH, width // PATCH)
        self.cells = (height // (PATCH * MERGE), width // (PATCH * MERGE))
        self._coordinates = set(processor.tokenizer.convert_tokens_to_ids(list(COORDINATES)))
        self._times = set(processor.tokenizer.convert_tokens_to_ids(list(TIMES)))
        self._prompt = lru_cache(maxsize=4096)(self._prompt_ids)

    def random(self, stage: int, step: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stage, step))

    def pictures(self, step: int, count: int) -> PictureBatch:
        """One random group of each of `count` clips."""
        random = self.random(1, step)
        pictures, groups = [], []
        for index in self.draw(count, random):
            group = int(random.integers(self.album.rows[index].groups))
            picture, row = augmented(
                np.asarray(self.album.pictures[index, group : group + 1]), self.album.rows[index], random
            )
            pictures.append(picture)
            groups.append((row, group))
        return PictureBatch(_stacked(pictures), dense_truth(groups, self.labels, self.kinds, self.cells))

    def middle_pictures(self, indices: Sequence[int]) -> PictureBatch:
        """The middle group of each row, as it is."""
        groups = [(self.album.rows[i], self.album.rows[i].groups // 2) for i in indices]
        pictures = [np.asarray(self.album.pictures[i, g : g + 1]) for i, (_, g) in zip(indices, groups, strict=True)]
        return PictureBatch(_stacked(pictures), dense_truth(groups, self.labels, self.kinds, self.cells))

    def conversations(self, step: int, count: int) -> TextBatch:
        """`count` augmented training rows."""
        random = self.random(2, step)
        chosen = self.draw(count, random)
        clips = []
        for index in chosen:
            clip, row = self.album.clip(index), asked(self.album.rows[index], self.album.categories, random)
            if random.random() < DISORDER_SHARE:
                clip, row = disordered(clip, row, random) or (clip, row)
            clips.append(augmented(with_signs(clip, row.objects, random), row, random))
        return self.collate(clips)

    def plain(self, indices: Sequence[int]) -> TextBatch:
        """Rows as they are."""
        return self.collate([(self.album.clip(i), self.album.rows[i]) for i in indices])

    def prompt_ids(self, row: Row) -> list[int]:
        """Token ids of a row's prompt: those the serving processor makes of the same question and times."""
        return list(self._prompt(row.question, row.times))

    def _prompt_ids(self, question: str, times: tuple[float, ...]) -> tuple[int, ...]:
        prompt = messages(question, times, language(question), style="brief")
        text = self.processor.render(prompt)
        tokens = self.cells[0] * self.cells[1]
        ids: list[int] = []
        for token in self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]:
            ids += [token] * (tokens if token == self.processor.image_id else 1)
        return tuple(ids)

    def target_ids(self, row: Row) -> list[int]:
        """Token ids of a row's target and the end of the turn."""
        tokenizer = self.processor.tokenizer
        ids: list[int] = tokenizer(target(row), add_special_tokens=False)["input_ids"]
        return [*ids, tokenizer.eos_token_id]

    def collate(self, clips: Sequence[tuple[np.ndarray[Any, np.dtype[np.uint8]], Row]]) -> TextBatch:
        prompts = [self.prompt_ids(row) for _, row in clips]
        targets = [self.target_ids(row) for _, row in clips]
        length = max(len(prompt) + len(wanted) for prompt, wanted in zip(prompts, targets, strict=True))
        ids = np.full((len(clips), length), self.processor.tokenizer.pad_token_id, np.int64)
        places, wanted_ids, decides = [], [], []
        for line, (prompt, wanted) in enumerate(zip(prompts, targets, strict=True)):
            ids[line, : len(prompt)] = prompt
            ids[line, len(prompt) : len(prompt) + len(wanted)] = wanted
            places += [(line, column) for column in range(len(prompt) - 1, len(prompt) + len(wanted) - 1)]
            wanted_ids += wanted
            decides += [position == 1 for position in range(len(wanted))]
        input_ids = torch.from_numpy(ids)
        visual = input_ids == self.processor.image_id
        groups = [(row, group) for _, row in clips for group in range(row.groups)]
        grids = torch.tensor([self.grid] * len(groups))
        positions, _ = self.model.model.get_rope_index(input_ids, visual.int(), image_grid_thw=grids)
        lines, columns = torch.tensor(places).unbind(1)
        coordinates = torch.tensor([token in self._coordinates for token in wanted_ids])
        return TextBatch(
            pictures=_stacked([pictures for pictures, _ in clips]),
            truth=dense_truth(groups, self.labels, self.kinds, self.cells),
            input_ids=input_ids,
            positions=positions,
            visual=visual,
            places=(lines, columns),
            wanted=torch.tensor(wanted_ids),
            decides=torch.tensor(decides),
            numbers=coordinates | torch.tensor([token in self._times for token in wanted_ids]),
            coordinates=coordinates,
            categories=torch.tensor([self.categories[row.category] for _, row in clips]),
            kinds=torch.tensor([self.kinds[row.kind if row.ordered else self._nothing] for _, row in clips]),
        )


def _stacked(pictures: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
    return torch.from_numpy(np.concatenate(pictures))
