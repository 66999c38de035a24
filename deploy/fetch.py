"""The stage that cuts the evidence of flagged spans out of a camera's ring and spools it durably."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import msgspec

from alerts.errors import StoreError
from deploy.admission import Ticket
from detector.rule import Rule
from detector.window import Span, Window
from ingest.errors import CutUnavailable, IngestError
from ingest.frame import Cut

if TYPE_CHECKING:
    from alerts.store import Store

CUT_GRACE_S = 4.0
"""A cut may wait this long after the end of its span for the packets to arrive."""
TOGETHER_S = 1.0
"""Spans of one camera that begin and end this close together share a cut."""


Group = tuple[Span, ...]
"""Spans of one camera that share a cut."""


class Cutter(Protocol):
    """What a camera gives to the line."""

    def cut(self, start_utc_ns: int, end_utc_ns: int, timeout_s: float) -> Cut: ...


class Fetch:
    """Cuts the evidence of spans out of their camera's ring and spools it durably."""

    def __init__(
        self,
        cameras: Mapping[str, Cutter],
        rules: Mapping[str, Rule],
        store: Store,
        background: Callable[[str, int], bytes],
        on_failed: Callable[[Span, Exception], None],
    ) -> None:
        """background: what a camera usually showed before an instant, as JPEG. on_failed: ends one span of a group
        whose others can go on."""
        self._cameras = cameras
        self._rules = rules
        self._store = store
        self._background = background
        self._on_failed = on_failed

    def __call__(self, groups: Sequence[Group]) -> list[Ticket]:
        return [ticket for group in groups for ticket in self._fetch(group)]

    def _fetch(self, group: Group) -> list[Ticket]:
        """One cut for spans of several rules at the same time: its pictures are decoded and encoded once."""
        first = group[0]
        start, end = min(span.start_utc_ns for span in group), max(span.end_utc_ns for span in group)
        wait_s = max(0.0, (end - time.time_ns()) / 1e9) + CUT_GRACE_S
        cut = self._cameras[first.camera_id].cut(start, end, wait_s)
        background = self._background(first.camera_id, start)
        tickets = []
        for span in group:
            try:
                self._store.put_window(Window(span=span, cut=part_of(cut, span), background=background))
            except (IngestError, StoreError) as error:
                self._on_failed(span, error)
            else:
                tickets.append(Ticket(span, self._rules[span.rule_id].severity, time.monotonic()))
        return tickets


def together(spans: Iterable[Span]) -> list[Group]:
    """Spans of one camera that begin and end within TOGETHER_S of the first of them; no other waits for them."""
    groups: list[list[Span]] = []
    for span in spans:
        for group in groups:
            if _same_time(group[0], span):
                group.append(span)
                break
        else:
            groups.append([span])
    return [tuple(group) for group in groups]


def _same_time(one: Span, other: Span) -> bool:
    apart_ns = max(abs(one.start_utc_ns - other.start_utc_ns), abs(one.end_utc_ns - other.end_utc_ns))
    return (one.camera_id, one.epoch) == (other.camera_id, other.epoch) and apart_ns <= TOGETHER_S * 1e9


def part_of(cut: Cut, span: Span) -> Cut:
    """A cut narrowed to a span: its fine frames, and the clip as it is. Raises CutUnavailable when no frame is left."""
    step_ns = _step_ns(cut)
    low, high = span.start_utc_ns - step_ns // 2, span.end_utc_ns + step_ns // 2
    frames = tuple(frame for frame in cut.frames if low <= frame.stamp.utc_ns <= high)
    if not frames:
        raise CutUnavailable("no picture in the span could be decoded")
    missing = cut.expected - len(cut.frames)
    return msgspec.structs.replace(cut, frames=frames, expected=len(frames) + missing)


def _step_ns(cut: Cut) -> int:
    """The usual distance of two fine frames."""
    steps = sorted(b.stamp.utc_ns - a.stamp.utc_ns for a, b in pairwise(cut.frames))
    return steps[len(steps) // 2] if steps else 0
