"""Time of a frame: container PTS, the UTC it stands for, where that UTC came from and how far it may be off."""

from typing import Literal

import msgspec

ClockSource = Literal["rtcp_sr", "arrival", "file"]


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When a frame was captured. PTS are counted in `time_base` ticks since the start of the stream epoch."""

    pts: int
    time_base: tuple[int, int]
    """Numerator and denominator of one tick in seconds, as (1, 90000)."""
    utc_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    source: ClockSource
    """`rtcp_sr`: the camera's sender reports; `arrival`: when we read it; `file`: seconds from the file's start."""
    uncertainty_ms: float
    """Half-width of the interval in which the true instant lies."""

    def __post_init__(self) -> None:
        if self.time_base[0] <= 0 or self.time_base[1] <= 0:
            raise ValueError(f"time base {self.time_base} is not positive")
        if self.uncertainty_ms < 0:
            raise ValueError(f"uncertainty {self.uncertainty_ms} ms is negative")
