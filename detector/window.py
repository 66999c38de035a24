"""A flagged span of one camera for one rule, and the window: the span with the frames cut for it."""

import hashlib

import msgspec

from ingest.frame import Cut


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate flags. Its id depends only on what was seen, so a replay flags the same window."""

    window_id: str
    camera_id: str
    rule_id: str
    epoch: int
    start_utc_ns: int
    """Padded start of the span to cut."""
    end_utc_ns: int
    """Padded end of the span to cut."""
    first_hot_utc_ns: int
    """First coarse frame over the threshold."""
    hot_since_utc_ns: int | None = None
    """First coarse frame of the heat without a pause that this span is a part of: earlier than `first_hot_utc_ns` where
    spans before it were flagged for their length; None: not told, as in windows that were stored before it was."""
    peak_utc_ns: int
    score: float
    """Highest score in the span, 0..1."""
    scores: tuple[tuple[int, float], ...]
    """(utc_ns, score) of each coarse frame looked at inside the span."""
    flagged_utc_ns: int
    """Wall clock when the gate closed the span."""
    sure_from: float | None = None
    """Score from which the scorer would be believed without a reasoner behind it (`detector.strict`); None: not told,
    as in windows that were stored before it was."""

    def __post_init__(self) -> None:
        if not self.start_utc_ns < self.end_utc_ns:
            raise ValueError(f"span {self.window_id} ends before it starts")
        if self.hot_since_utc_ns is not None and self.hot_since_utc_ns > self.first_hot_utc_ns:
            raise ValueError(f"span {self.window_id} is hot before its heat begins")

    @property
    def sure(self) -> bool:
        """Whether the scorer alone would have been believed."""
        return self.sure_from is not None and self.score >= self.sure_from


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A span with its evidence: enough to reason over it on any node, and again later."""

    span: Span
    cut: Cut
    background: bytes = b""
    """JPEG of what the camera usually shows (median of earlier coarse frames); empty when not yet known."""

    @property
    def window_id(self) -> str:
        return self.span.window_id

    def seconds(self, frame: int) -> float:
        """Seconds of a fine frame from the first one."""
        return (self.cut.frames[frame].stamp.utc_ns - self.cut.frames[0].stamp.utc_ns) / 1e9


def window_id(camera_id: str, rule_id: str, start_utc_ns: int, end_utc_ns: int) -> str:
    """32 hex digits of SHA-256 over camera, rule and span to the millisecond."""
    key = f"{camera_id}\0{rule_id}\0{start_utc_ns // 1_000_000}\0{end_utc_ns // 1_000_000}"
    return hashlib.sha256(key.encode()).hexdigest()[:32]
