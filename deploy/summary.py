"""The summary a run ends with: what was raised, compared with what truly happened. Only this file sees the truth.

An alert counts as it was raised, also when a later look took it back: somebody was told, so it is matched or false like
any other. The window that took it back counts as rejected.

All times are seconds since the start of the run, on one clock; boxes are 0..1 of the displayed frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

TOLERANCE_S = 2.0
"""An alert belongs to an event when its onset lies within the event, widened by this at both ends."""
SCHEMA_FILE = Path(__file__).parent / "schema" / "summary.json"
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class SummaryEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What truly happened."""

    camera: str
    label: str
    """Category."""
    start: float
    end: float


class SummaryClaim(msgspec.Struct, frozen=True, kw_only=True):
    """One grounded statement of an alert."""

    object: str
    time: float
    box: tuple[Unit, Unit, Unit, Unit]
    """x1, y1, x2, y2."""


class SummaryAlert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as it was first raised."""

    alert_id: str
    camera: str
    rule: str
    onset: float
    confidence: Unit
    decision: Literal["confirmed", "needs_review", "rejected"]
    claims: tuple[SummaryClaim, ...]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From the start of a matched event to the publication of its alert; null when nothing matched."""

    p50: float | None
    p95: float | None


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """How the flagged windows ended: flagged = alert + rejected + merged + shed."""

    flagged: Count = 0
    alert: Count = 0
    rejected: Count = 0
    merged: Count = 0
    shed: Count = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The object that `--json` prints on the last line."""

    seconds: float
    cameras: Count
    events: tuple[SummaryEvent, ...]
    alerts: tuple[SummaryAlert, ...]
    matched: Count
    """Events that have an alert."""
    missed: Count
    """Events that have none."""
    false: Count
    """Alerts that fit no event."""
    latency_s: Latency
    windows: Windows


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """An alert with what the comparison needs beside it."""

    alert: SummaryAlert
    category: str
    published: float
    """When its row was committed."""


def summarise(
    seconds: float, cameras: int, truth: Sequence[SummaryEvent] | None, raised: Sequence[Raised], windows: Windows
) -> Summary:
    """Compare. Without truth (None: a run on real cameras) nothing is matched, missed or false."""
    events = truth or ()
    owner = match(events, raised)
    latencies = [raised[alert].published - events[event].start for alert, event in owner.items()]
    return Summary(
        seconds=round(seconds, 3),
        cameras=cameras,
        events=tuple(sorted(events, key=lambda event: (event.start, event.camera))),
        alerts=tuple(one.alert for one in raised),
        matched=len(owner),
        missed=len(events) - len(owner),
        false=0 if truth is None else sum(not any(fits(one, event) for event in events) for one in raised),
        latency_s=Latency(p50=percentile(latencies, 50), p95=percentile(latencies, 95)),
        windows=windows,
    )


def fits(one: Raised, event: SummaryEvent) -> bool:
    """Same camera and category, onset within the event give or take TOLERANCE_S."""
    same = one.alert.camera == event.camera and one.category == event.label
    return same and event.start - TOLERANCE_S <= one.alert.onset <= event.end + TOLERANCE_S


def match(events: Sequence[SummaryEvent], raised: Sequence[Raised]) -> dict[int, int]:
    """Index of alert to index of event, one to one, as many as possible.

    Alerts in order of onset each take the fitting free event that ends first; for points and intervals that gives the
    largest matching (F. Glover, Maximum matching in a convex bipartite graph, 1967).
    """
    owner: dict[int, int] = {}
    by_onset = sorted(range(len(raised)), key=lambda index: (raised[index].alert.onset, raised[index].published))
    for alert in by_onset:
        taken = set(owner.values())
        free = [event for event in range(len(events)) if event not in taken and fits(raised[alert], events[event])]
        if free:
            owner[alert] = min(free, key=lambda event: (events[event].end, event))
    return owner


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Linear between the two nearest ranks, to the millisecond; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `Summary`."""
    (reference,), components = msgspec.json.schema_components([Summary], ref_template="#/$defs/{name}")
    return {"$schema": SCHEMA_DIALECT, "title": "Summary of a run", **reference, "$defs": dict(_closed(components))}


def _closed(components: Mapping[str, Any]) -> Mapping[str, Any]:
    """Objects without further keys: what is printed is exactly what is described."""
    return {name: {**component, "additionalProperties": False} for name, component in components.items()}
