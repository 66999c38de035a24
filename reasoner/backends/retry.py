"""When a request is sent again, and after how long: pure."""

from __future__ import annotations

from collections.abc import Callable

BUSY = frozenset({429, 502, 503, 504})
"""The server, or what stands in front of it, says: not now."""
CRASHED = 500
"""Sent again once: what fails a server's engine twice would fail it for ever."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
LEAST_LEFT_S = 0.15
"""An attempt with less time than this is not made."""


def again(status: int, crashes: int) -> bool:
    """Whether a reply with this status is worth another attempt. crashes: how many replies before it were `CRASHED`."""
    return status in BUSY or (status == CRASHED and crashes == 0)


def pause_s(attempt: int, retry_after_s: float | None, chance: Callable[[], float]) -> float:
    """Seconds until the next attempt: doubling, with its upper half left to chance so that callers do not come back
    together; never sooner than the server asks for. chance: 0..1."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
    return max(retry_after_s or 0.0, longest * (0.5 + 0.5 * chance()))
