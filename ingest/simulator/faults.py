"""Ways in which a simulated camera misbehaves, as `rtsp://HOST/NAME/FAULT` or for a whole server."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

FaultKind = Literal[
    "silent",  # accepts the connection and answers nothing
    "wrong_password",  # refuses every user
    "stall",  # stops sending, and the connection stays open
    "close",  # closes the connection
    "rtcp_only",  # goes on with sender reports, without pictures
    "trickle",  # goes on with one byte each 0.2 s
    "garbage",  # keeps the headers of each packet and fills the rest with noise
    "no_rtcp",  # never sends a sender report
    "wrong_clock",  # sender reports are one hour ahead
    "time_jump",  # RTP time leaps one hour ahead
]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)


class Fault(msgspec.Struct, frozen=True):
    kind: FaultKind
    after_s: float = 2.0
    """Seconds of good service after PLAY, for the kinds that start late."""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(FAULTS)}")


def split_path(path: tuple[str, ...]) -> tuple[str, Fault | None]:
    """Camera and fault of the segments of a URL's path."""
    if len(path) > 1 and path[1] in FAULTS:
        return path[0], Fault(path[1])
    return (path[0] if path else ""), None
