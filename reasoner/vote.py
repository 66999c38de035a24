"""The vote of several answers to one question, each weighed by what its evidence is worth to the pixels. Pure.

After Open-o3 Video's test-time scaling, without its faults: there a question that no path answers is answered "A" (here
nobody's vote is no vote); crops are cut by pixels of the resized frame and rated by the model that wrote them (here
boxes are in the source frame, and judged by what changed in the pictures); as shipped its temperature is 0, so that all
paths are one (here a temperature of 0 is not accepted); and the vote chooses an answer but never lowers a confidence
(here a split vote does, and a majority against the answer puts it before a person).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reasoner.verdict import CheckStatus

LITTLE = 0.2
"""Weight of a vote whose evidence is worth nothing, against 1: Open-o3 Video's for a crop that shows nothing."""


class Path(NamedTuple):
    """One answer of several."""

    yes: bool | None
    """None: it says neither, and does not vote."""
    support: float
    """0..1: how far the pixels bear out what it cites."""


class Tally(NamedTuple):
    """Weights of the votes, and how many there were."""

    yes: float
    no: float
    votes: int

    @property
    def share(self) -> float:
        """Of yes; 0.5 without a vote."""
        return self.yes / (self.yes + self.no) if self.votes else 0.5

    @property
    def probability(self) -> float:
        """Of a yes, for as many votes as their weights come to: Jeffreys' estimate, half a vote added on either side.

        A few votes never make certain, and votes without evidence count as fewer.
        """
        return (self.yes + 0.5) / (self.yes + self.no + 1)

    @property
    def status(self) -> CheckStatus:
        """Of a yes: what the weighted majority says."""
        if not self.votes or self.yes == self.no:
            return "unchecked"
        return "supported" if self.yes > self.no else "contradicted"


def tally(paths: Iterable[Path]) -> Tally:
    """Whoever says yes or no votes once, with a weight from LITTLE (nothing bears it out) to 1."""
    voting = [path for path in paths if path.yes is not None]
    weights = {
        said: sum(LITTLE + (1 - LITTLE) * path.support for path in voting if path.yes is said) for said in (True, False)
    }
    return Tally(weights[True], weights[False], len(voting))
