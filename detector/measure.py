"""What a scorer finds, and what it flags for nothing, on scenes nobody has seen: through Scorer and Gate, as live."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from detector import film
from detector.calibrate import EVIDENT_S
from detector.config import GateConfig
from detector.gate import Gate
from detector.rule import Rule
from detector.scorer import Scorer
from detector.window import Span
from ingest.frame import CoarseFrame
from ingest.simulator.episode import EventTruth
from ingest.simulator.world import Scene

SEED = 3_000_000
Show = Callable[[Scene, float, str], CoarseFrame]
"""Scene, instant in seconds and camera id to the coarse frame."""
AROUND_S = 2.0
"""A window whose first hot frame is this close to an event belongs to it."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One category over all scenes."""

    events: int
    """Those of which a frame shows anything in the first two seconds in which they can be told."""
    hidden: int
    """Those of which none does: no camera at this place could tell them in time."""
    found: int
    """With a frame over the threshold in the first two seconds in which the event can be seen."""
    windowed: int
    """With a flagged window whose first hot frame lies inside the event, give or take two seconds."""
    false_windows: int
    """Flagged while no event of this category was near."""

    @property
    def recall(self) -> float:
        return self.found / self.events if self.events else 1.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    minutes: float
    quiet_minutes: float
    """Camera time without an event of any category."""
    quiet_windows: int
    """Windows flagged in that time, whatever the rule."""
    windows: int
    categories: dict[str, Found]

    @property
    def recall(self) -> float:
        events = sum(each.events for each in self.categories.values())
        return sum(each.found for each in self.categories.values()) / events if events else 1.0

    @property
    def false_per_quiet_minute(self) -> float:
        return self.quiet_windows / self.quiet_minutes if self.quiet_minutes else 0.0


def measure(
    scorer: Scorer,
    rules: Sequence[Rule],
    gate: GateConfig,
    seeds: Sequence[int],
    scene_s: float,
    interval_s: float = 1.0,
    show: Show | None = None,
) -> Measured:
    """One camera per scene, one rule per category; `scorer` must have been loaded with `rules` and be fresh.

    show: gives the frames, for callers that keep them; None: they are rendered.
    """
    tally = {rule.category: [0, 0, 0, 0, 0] for rule in rules}
    quiet_s, quiet_windows, windows = 0.0, 0, 0
    for seed in seeds:
        camera_id = f"scene-{seed}"
        scene = film.make_scene(seed, scene_s)
        spans, hot = watch(scorer, rules, gate, scene, camera_id, seed, interval_s, show or render)
        windows += len(spans)
        for rule in rules:
            row = tally[rule.category]
            mine = [event for event in scene.events if event.label == rule.category]
            starts = [_seconds(span.first_hot_utc_ns) for span in spans if span.rule_id == rule.id]
            for event in mine:
                if event.evident_s > scene.duration_s - EVIDENT_S:
                    continue
                times = [t for t in film.key_times(seed, scene_s, interval_s) if 0 <= t - event.evident_s <= EVIDENT_S]
                if not any(film.shown(scene, event, t) for t in times):
                    row[4] += 1
                    continue
                row[0] += 1
                row[1] += any(event.evident_s <= t <= event.evident_s + EVIDENT_S for t in hot[rule.id])
                row[2] += any(event.start_s - AROUND_S <= t <= event.end_s + AROUND_S for t in starts)
            row[3] += sum(not _near(t, mine) for t in starts)
        steps = [0.1 * step for step in range(round(scene.duration_s * 10))]
        quiet_s += 0.1 * sum(not _near(t, scene.events) for t in steps)
        quiet_windows += sum(not _near(_seconds(span.first_hot_utc_ns), scene.events) for span in spans)
    return Measured(
        minutes=len(seeds) * scene_s / 60,
        quiet_minutes=quiet_s / 60,
        quiet_windows=quiet_windows,
        windows=windows,
        categories={
            category: Found(events=row[0], hidden=row[4], found=row[1], windowed=row[2], false_windows=row[3])
            for category, row in tally.items()
        },
    )


def render(scene: Scene, t_s: float, camera_id: str) -> CoarseFrame:
    """As a camera would send it."""
    return film.coarse_frame(scene, t_s, camera_id, 60)


def watch(
    scorer: Scorer,
    rules: Sequence[Rule],
    config: GateConfig,
    scene: Scene,
    camera_id: str,
    seed: int,
    interval_s: float,
    show: Show = render,
) -> tuple[list[Span], dict[str, list[float]]]:
    """The spans of one scene, and the times of the frames over each rule's threshold."""
    gate = Gate(rules, scorer.thresholds.tolist(), config, scorer.sure_from)
    spans: list[Span] = []
    hot: dict[str, list[float]] = {rule.id: [] for rule in rules}
    last_ns = film.START_NS
    for t_s in film.key_times(seed, scene.duration_s, interval_s):
        frame = show(scene, t_s, camera_id)
        scores = scorer.score([frame])[0]
        last_ns = frame.stamp.utc_ns
        spans += gate.update(camera_id, 0, last_ns, scores.tolist())
        for rule, score, threshold in zip(rules, scores, scorer.thresholds, strict=True):
            if score >= threshold:
                hot[rule.id].append(t_s)
    return spans + gate.flush(last_ns), hot


def _seconds(utc_ns: int) -> float:
    return (utc_ns - film.START_NS) / 1e9


def _near(t_s: float, events: Sequence[EventTruth]) -> bool:
    return any(event.start_s - AROUND_S <= t_s <= event.end_s + AROUND_S for event in events)
