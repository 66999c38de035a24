"""Exercises: a prompt with its pictures as serving would put it, and what is true of them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from reasoner.boxes import Coordinates
from reasoner.folder import ModelFolder
from reasoner.grade import Truth
from reasoner.pixels import Pixels
from reasoner.prompt import Message


class Exercise(NamedTuple):
    """`pictures`: one for each image placeholder of `messages`, uint8 (H, W, 3) or motion pairs (2, H, W, 3)."""

    messages: list[Message]
    pictures: list[Pixels]
    truth: Truth
    """Its boxes are in 0..1 of the pictures."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first picture, px."""
        height, width = self.pictures[0].shape[-3:-1]
        return width, height


class Exercises(Protocol):
    """Rows of some kind as exercises for one model."""

    def drawn(self, count: int) -> list[int]:
        """`count` training rows; the same seed draws the same."""
        ...

    def practice(self, index: int, turn: int) -> Exercise:
        """A training row, drawn in this turn."""
        ...

    def held_out(self, validation: int, evaluation: int) -> tuple[list[int], list[int]]:
        """At most so many rows that training never sees: to choose weights by, and to report."""
        ...

    def plain(self, index: int) -> Exercise:
        """A held-out row as it is."""
        ...

    def identity(self) -> str:
        """What a checkpoint must agree with."""
        ...


def coordinates_of(folder: ModelFolder) -> Coordinates:
    """What the numbers in the model's boxes mean."""
    return folder.coordinates
