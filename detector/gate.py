"""The gate: scores in, flagged spans out. Pure: no clock, no I/O, the same scores give the same spans.

For each camera and rule a span opens at a score of `threshold` on two frames in a row, and stays hot while scores are
at least `close_ratio * threshold`. A frame that no other follows within `alone_from_s` opens one by itself: a camera
that looks but once in five seconds has no second one, nor has one that is silenced. A span is flagged as soon as
waiting longer cannot improve it: hot for `max_hot_s`, or cool for `wait_s`. What turns hot again before that is merged
into it, unless it would exceed `max_span_s`; then the span is flagged and the next begins. So an event that lasts gives
a span every two seconds or so, and a flicker gives none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from detector.config import GateConfig
from detector.rule import Rule
from detector.window import Span, window_id

SILENCE_S = 6.0
"""A heat does not outlast a longer time without frames; cameras may look only once in 5 s."""
HISTORY = 64
"""Scores remembered per camera and rule, so that a span can show what came before it."""


@dataclass(slots=True)
class _Stretch:
    """Between the first and the last hot frame of one span."""

    first_ns: int
    last_ns: int
    peak_ns: int
    score: float

    def heat(self, utc_ns: int, score: float) -> None:
        self.first_ns, self.last_ns = min(self.first_ns, utc_ns), max(self.last_ns, utc_ns)
        if (score, -utc_ns) > (self.score, -self.peak_ns):
            self.score, self.peak_ns = score, utc_ns


@dataclass(slots=True)
class _Lane:
    """One rule on one camera."""

    hot: bool = False
    first: tuple[int, float] | None = None
    """UTC ns and score of a frame at the threshold that waits for a second one."""
    stretch: _Stretch | None = None
    heat: tuple[int, int] | None = None
    """First and last hot frame, UTC ns, since the score was cool for `wait_s`, over however many spans."""
    seen: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=HISTORY))


@dataclass(slots=True)
class _Camera:
    epoch: int
    latest_ns: int
    lanes: dict[int, _Lane] = field(default_factory=dict)


class Gate:
    """Hysteresis per rule and camera. Bounded: `HISTORY` scores and at most one waiting span for each pair."""

    def __init__(
        self,
        rules: Sequence[Rule],
        thresholds: Sequence[float],
        config: GateConfig,
        sure_from: Sequence[float] | None = None,
    ) -> None:
        """`thresholds[i]` opens `rules[i]`; `sure_from[i]` is what its spans carry as `Span.sure_from`.

        Raises ValueError when they do not fit together.
        """
        if len(rules) != len(thresholds):
            raise ValueError(f"{len(rules)} rules cannot use {len(thresholds)} thresholds")
        if sure_from is not None and len(rules) != len(sure_from):
            raise ValueError(f"{len(rules)} rules cannot be sure from {len(sure_from)} scores")
        self._rules = tuple(rules)
        self._thresholds = tuple(float(value) for value in thresholds)
        self._sure_from = None if sure_from is None else tuple(float(value) for value in sure_from)
        self._config = config
        self._cameras: dict[str, _Camera] = {}
        self.late = 0
        """Frames that came after a newer one of the same camera: counted in a span they fall into, else ignored."""

    def update(
        self, camera_id: str, epoch: int, utc_ns: int, scores: Sequence[float], now_utc_ns: int | None = None
    ) -> list[Span]:
        """Takes one coarse frame's scores (one for each rule) and returns the spans that it closes.

        `now_utc_ns` is the wall clock for `Span.flagged_utc_ns`; the frame's own time when left out.
        Raises ValueError when the number of scores is not that of the rules.
        """
        if len(scores) != len(self._rules):
            raise ValueError(f"{len(scores)} scores for {len(self._rules)} rules")
        now = utc_ns if now_utc_ns is None else now_utc_ns
        camera = self._cameras.get(camera_id)
        if camera is None:
            camera = self._cameras[camera_id] = _Camera(epoch, utc_ns - 1)
        flagged: list[Span] = []
        if epoch < camera.epoch:
            self.late += 1
            return flagged
        if epoch > camera.epoch:
            flagged = self._close_camera(camera_id, camera, now)
            camera = self._cameras[camera_id] = _Camera(epoch, utc_ns - 1)
        late = utc_ns <= camera.latest_ns
        self.late += late
        camera.latest_ns = max(camera.latest_ns, utc_ns)
        for index, rule in enumerate(self._rules):
            if rule.applies_to(camera_id):
                lane = camera.lanes.setdefault(index, _Lane())
                step = self._insert if late else self._advance
                flagged += step(camera_id, camera.epoch, index, lane, utc_ns, float(scores[index]), now)
        return flagged

    def tick(self, now_utc_ns: int) -> list[Span]:
        """Flags spans whose wait is over although no newer frame came: a camera may look only once in 5 s."""
        flagged = []
        for camera_id, camera in self._cameras.items():
            for index, lane in camera.lanes.items():
                if now_utc_ns - camera.latest_ns >= self._ns(self._config.wait_s):
                    flagged += self._end(camera_id, camera.epoch, index, lane, now_utc_ns)
        return flagged

    def flush(self, now_utc_ns: int) -> list[Span]:
        """Flags every span that is still open or waiting; for the end of a run. What waits for a second frame is none:
        that frame may only not have come yet."""
        return [
            self._close(camera_id, camera.epoch, index, lane, now_utc_ns)
            for camera_id, camera in self._cameras.items()
            for index, lane in camera.lanes.items()
            if lane.stretch is not None
        ]

    @staticmethod
    def _ns(seconds: float) -> int:
        return round(seconds * 1e9)

    def _close_camera(self, camera_id: str, camera: _Camera, now: int) -> list[Span]:
        return [
            span
            for index, lane in camera.lanes.items()
            for span in self._end(camera_id, camera.epoch, index, lane, now)
        ]

    def _end(self, camera_id: str, epoch: int, index: int, lane: _Lane, now: int) -> list[Span]:
        """The span of a lane that gets no frame for a while; one that waits for a second frame stands by itself."""
        self._open(lane)
        return [] if lane.stretch is None else [self._close(camera_id, epoch, index, lane, now)]

    @staticmethod
    def _open(lane: _Lane) -> None:
        """With the frame that waited, if any."""
        if lane.first is not None:
            (utc_ns, score), lane.first, lane.hot = lane.first, None, True
            lane.heat = (lane.heat[0] if lane.heat else utc_ns, utc_ns)
            lane.stretch = _Stretch(utc_ns, utc_ns, utc_ns, score)

    def _insert(
        self, camera_id: str, epoch: int, index: int, lane: _Lane, utc_ns: int, score: float, now: int
    ) -> list[Span]:
        """A late frame changes no state; where it falls into the waiting span, the span knows of it."""
        if all(utc_ns != seen_ns for seen_ns, _ in lane.seen):
            ordered = sorted([*lane.seen, (utc_ns, score)])
            lane.seen = deque(ordered, maxlen=HISTORY)
            stretch = lane.stretch
            if stretch is not None and stretch.first_ns <= utc_ns <= stretch.last_ns:
                stretch.heat(utc_ns, score)
        return []

    def _advance(
        self, camera_id: str, epoch: int, index: int, lane: _Lane, utc_ns: int, score: float, now: int
    ) -> list[Span]:
        flagged: list[Span] = []
        threshold = self._thresholds[index]
        if lane.first is not None and (
            score >= threshold or utc_ns - lane.first[0] >= self._ns(self._config.alone_from_s)
        ):
            self._open(lane)
        lane.first = None
        if lane.hot:
            lane.hot = score >= threshold * self._config.close_ratio
        elif score >= threshold:
            # What is still waiting needs no second proof.
            lane.hot = lane.stretch is not None or self._config.alone_from_s == 0
            lane.first = None if lane.hot else (utc_ns, score)
        if lane.stretch is not None:
            overdue = not lane.hot and utc_ns - lane.stretch.last_ns >= self._ns(self._config.wait_s)
            if overdue or (
                lane.hot and self._padded_ns(lane.stretch.first_ns, utc_ns) > self._ns(self._config.max_span_s)
            ):
                flagged.append(self._close(camera_id, epoch, index, lane, now))
        if lane.heat is not None:
            longest_s = SILENCE_S if lane.hot else self._config.wait_s
            if utc_ns - lane.heat[1] >= self._ns(longest_s):
                lane.heat = None
        lane.seen.append((utc_ns, score))
        if lane.hot:
            lane.heat = (lane.heat[0] if lane.heat else utc_ns, utc_ns)
            if lane.stretch is None:
                lane.stretch = _Stretch(utc_ns, utc_ns, utc_ns, score)
            else:
                lane.stretch.heat(utc_ns, score)
            if utc_ns - lane.stretch.first_ns >= self._ns(self._config.max_hot_s):
                flagged.append(self._close(camera_id, epoch, index, lane, now))
        return flagged

    def _padded_ns(self, first_ns: int, last_ns: int) -> int:
        return last_ns - first_ns + self._ns(self._config.pad_before_s) + self._ns(self._config.pad_after_s)

    def _close(self, camera_id: str, epoch: int, index: int, lane: _Lane, now: int) -> Span:
        stretch, rule = lane.stretch, self._rules[index]
        if stretch is None:
            raise ValueError(f"no open span of rule {rule.id} on camera {camera_id}")
        lane.stretch = None
        end_ns = stretch.last_ns + self._ns(self._config.pad_after_s)
        start_ns = min(
            stretch.first_ns - self._ns(self._config.pad_before_s), end_ns - self._ns(self._config.min_span_s)
        )
        return Span(
            window_id=window_id(camera_id, rule.id, start_ns, end_ns),
            camera_id=camera_id,
            rule_id=rule.id,
            epoch=epoch,
            start_utc_ns=start_ns,
            end_utc_ns=end_ns,
            first_hot_utc_ns=stretch.first_ns,
            hot_since_utc_ns=stretch.first_ns if lane.heat is None else min(lane.heat[0], stretch.first_ns),
            peak_utc_ns=stretch.peak_ns,
            score=stretch.score,
            scores=tuple((seen_ns, score) for seen_ns, score in lane.seen if start_ns <= seen_ns <= end_ns),
            flagged_utc_ns=now,
            sure_from=None if self._sure_from is None else self._sure_from[index],
        )
