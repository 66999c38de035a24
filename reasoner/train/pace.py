"""How far a stage has come, and the learning rate that belongs there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from reasoner.train.config import Stage


class Pace:
    """Counts steps and the stage's own seconds; a resumed stage goes on where its checkpoint stood.

    With `steps` in the stage the share done follows the steps, so that a run repeats exactly; otherwise it follows
    the time, so that a budget of minutes is used in full whatever else the machine does.
    """

    def __init__(
        self, stage: Stage, step: int = 0, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stage, self.step = stage, step
        self._clock, self._since, self._before_s = clock, clock(), spent_s

    @property
    def spent_s(self) -> float:
        """Seconds spent in this stage, earlier runs included."""
        return self._before_s + self._clock() - self._since

    @property
    def share(self) -> float:
        """0 at the start, 1 when the stage is over."""
        if self.stage.steps is not None:
            return min(1.0, self.step / self.stage.steps)
        return min(1.0, self.spent_s / (self.stage.minutes * 60))

    @property
    def rate(self) -> float:
        """Factor of the stage's learning rate: a short rise, then a cosine down to `final_share`."""
        share, rise = self.share, self.stage.rise_share
        if share < rise:
            return max(share / rise, 0.02)
        along = (share - rise) / (1 - rise)
        floor = self.stage.final_share
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * along))
