"""When to try a camera again. Pure."""

import random

from ingest.errors import Fault

FIRST_S = 0.5
SLOW_S = 30.0
"""For what a person has to mend; cameras lock out those who try wrong passwords often."""
HEALTHY_S = 2.0
"""A connection that gave pictures this long was a good one: the count starts anew."""
JITTER = 0.2


class Backoff:
    """0.5 s, doubling up to `max_s`, each ± 20 %, so that cameras behind one switch do not return as one."""

    def __init__(self, max_s: float, chance: random.Random) -> None:
        self._max_s = max_s
        self._chance = chance
        self._failures = 0

    def delay_s(self, fault: Fault, online_s: float) -> float:
        """How long to wait after a connection that ended with `fault` after giving pictures for `online_s`.

        A good connection that was ended cleanly is tried again at once: some cameras end their streams and come back.
        """
        if online_s >= HEALTHY_S:
            self._failures = 0
            if fault == "ended":
                return 0.0
        wait_s = min(self._max_s, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if fault in ("credentials", "refused"):
            wait_s = max(SLOW_S, wait_s)
        return wait_s * self._chance.uniform(1.0 if fault == "credentials" else 1.0 - JITTER, 1.0 + JITTER)
