"""What is true of windows and alerts: opened only after the line has ended."""

from __future__ import annotations

from collections.abc import Sequence

from bench.accuracy.camera import EPOCH_NS
from bench.accuracy.row import alike_of, events_of
from detector.window import Window
from ingest.simulator.world import EventTruth, ObjectTruth, Scene
from reasoner.boxes import Box
from reasoner.grade import TrueObject, Truth, box_score, time_score
from reasoner.train.clips import answer_of

VISIBLE_FROM = 0.15
"""Share of an actor that a frame must show for its box to be known there."""
RIGHT_IOU = 0.5
"""Mean IoU from which cited boxes are those of the truth."""
SEEN_S = 0.4
"""What looks like an event must share so much time with a window to be what it shows."""


class SceneTruth:
    """A scene's truth; what has been asked for is remembered, for it is drawn anew each time."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self._scene = scene
        self.seconds = seconds
        self.events = events_of(scene, seconds)
        self.alike = alike_of(scene, seconds)
        self._known: dict[float, tuple[ObjectTruth, ...]] = {}

    def at(self, t_s: float) -> tuple[ObjectTruth, ...]:
        """Every object in the picture, at a time rounded to the millisecond."""
        key = round(t_s, 3)
        if key not in self._known:
            self._known[key] = self._scene.truth(key)
        return self._known[key]

    def answer(self, category: str, start_s: float, end_s: float) -> EventTruth | bool | None:
        """The event that makes the answer yes, False for no, None where this span cannot tell."""
        return answer_of(self.events, category, start_s, end_s)

    def objects(self, happening: EventTruth, times_s: Sequence[float], zero_s: float = 0.0) -> list[TrueObject]:
        """Boxes of its actors at those times that lie inside it, in seconds from `zero_s`."""
        return [
            TrueObject(label=thing.label, time_s=t_s - zero_s, box=Box(*map(float, thing.box)))
            for t_s in times_s
            if happening.start_s <= t_s <= happening.end_s
            for thing in self.at(t_s)
            if thing.id in happening.actors and thing.visible >= VISIBLE_FROM
        ]

    def evidence(self, category: str, claimed: Sequence[TrueObject], times_s: Sequence[float]) -> bool | None:
        """Whether claims cite what truly happens in a window; None without claims. See `matches`.

        claimed: seconds of the clip; times_s: of its frames. The event asked for counts, or, where there is none,
        any other event or look-alike that the window shows: a look-alike taken for an event may be cited rightly.
        """
        if not claimed:
            return None
        start_s, end_s = times_s[0], times_s[-1]
        answer = self.answer(category, start_s, end_s)
        shown = (
            [answer]
            if isinstance(answer, EventTruth)
            else [
                each
                for each in (*self.events, *self.alike)
                if min(end_s, each.end_s) - max(start_s, each.start_s) >= SEEN_S
            ]
        )
        return any(matches(claimed, self.objects(each, times_s)) for each in shown)

    def of_window(self, category: str, times_s: Sequence[float]) -> Truth | None:
        """What is true of a window that a rule of this category flagged, in seconds of the clip; None where it shows
        too little to tell."""
        answer = self.answer(category, times_s[0], times_s[-1])
        if answer is None:
            return None
        if not isinstance(answer, EventTruth):
            return Truth(yes=False, duration_s=times_s[-1] - times_s[0])
        return Truth(
            yes=True,
            span=(max(times_s[0], answer.start_s), min(times_s[-1], answer.end_s)),
            objects=tuple(self.objects(answer, times_s)),
            duration_s=times_s[-1] - times_s[0],
        )


def matches(claimed: Sequence[TrueObject], truth: Sequence[TrueObject]) -> bool:
    """Every cited time within 1 s of a moment at which its object is known, and a mean IoU of 0.5 or more there."""
    time, boxes = time_score(claimed, truth), box_score(claimed, truth)
    return time == 1.0 and boxes is not None and boxes >= RIGHT_IOU


def frame_times(window: Window) -> list[float]:
    """Seconds of the clip of each fine frame."""
    return [(frame.stamp.utc_ns - EPOCH_NS) / 1e9 for frame in window.cut.frames]
