"""What is kept of a clip when its pictures are gone: plain records that workers send back; times in its seconds."""

from __future__ import annotations

import msgspec

from bench.accuracy.plan import ORDINARY
from deploy.summary import SummaryAlert, Windows
from ingest.simulator.world import EventTruth, Scene


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the scorer said of a camera, and what truly happened there."""

    seconds: float
    events: tuple[EventTruth, ...]
    alike: tuple[EventTruth, ...]
    """What looks like an event; people who merely walk are left out."""
    scores: tuple[tuple[int, tuple[float, ...]], ...]
    """(UTC ns, score of each rule) of every coarse frame."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Confidence of an alert as it was raised, and after its evidence was tampered with."""

    before: float
    after: float


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """One alert held against the truth."""

    alert: SummaryAlert
    category: str
    true: bool
    """Same category as an event, onset within it give or take two seconds (deploy/summary.py)."""
    first: bool
    """The alert that was matched with the event; a later one of the same event repeats it."""
    onset_error_s: float | None = None
    """Of a first alert: onset minus the event's start."""
    boxes: int = 0
    """Boxes of a first alert that could be compared."""
    box_iou: float | None = None
    """Their mean IoU (reasoner/grade.py); None where the truth knows no box, as of a covered lens."""
    ablation: dict[str, Change] = {}
    """Of a first alert, by kind."""


class WindowRow(msgspec.Struct, frozen=True, kw_only=True):
    """One window that the reasoner judged."""

    rule: str
    category: str
    start_s: float
    end_s: float
    p: float
    """Confidence that the rule's question is answered by yes."""
    parts: dict[str, float] = {}
    """Its components."""
    decision: str
    reasons: tuple[str, ...]
    output: str
    """The model's words."""
    yes: bool | None
    """The true answer; None where the window shows too little of the event to tell."""
    evidence: bool | None
    """Whether the cited times and boxes are those of what truly happens there; None: it cites none."""
    reward: float | None = None
    """What its evidence earns by the project's table of points (reasoner/rewards.py); None where none was asked for or
    given."""
    box_iou: float | None = None
    """Mean IoU of its boxes where the true answer is yes (reasoner/rewards.py, 0 without any)."""

    @property
    def said(self) -> bool:
        """The conclusion that was drawn from it."""
        return self.decision != "rejected"


class ClipRow(msgspec.Struct, frozen=True, kw_only=True):
    """One clip."""

    number: int
    name: str
    scene_seed: int
    label: str | None
    kinds: tuple[str, ...]
    watched: Watched
    alerts: tuple[AlertRow, ...]
    windows: tuple[WindowRow, ...]
    ended: Windows
    work_s: float
    """Seconds of wall clock it took."""


def events_of(scene: Scene, seconds: float) -> tuple[EventTruth, ...]:
    """Those that a clip of so many seconds shows."""
    return tuple(_plain(event) for event in scene.events if event.evident_s <= seconds)


def alike_of(scene: Scene, seconds: float) -> tuple[EventTruth, ...]:
    """What looks like an event; without those that show ordinary life."""
    alike = (truth for truth in scene.lookalikes if truth.label not in ORDINARY)
    return tuple(_plain(truth) for truth in alike if truth.start_s <= seconds)


def _plain(truth: EventTruth) -> EventTruth:
    """With Python's own numbers, which can be written down."""
    times = (float(truth.start_s), float(truth.evident_s), float(truth.end_s))
    return EventTruth(truth.label, *times, tuple(int(actor) for actor in truth.actors))
