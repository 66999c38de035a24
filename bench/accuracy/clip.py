"""One clip from its seed to its row: render, encode, play through the line, then hold against the truth."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from bench.accuracy.ablation import Ablation
from bench.accuracy.camera import EPOCH_NS, RecordedCamera
from bench.accuracy.line import Judged, Played, opened, scored
from bench.accuracy.models import Models
from bench.accuracy.plan import FPS, Clip, quiet_scene, scene_of
from bench.accuracy.row import AlertRow, Change, ClipRow, Watched, WindowRow, alike_of, events_of
from bench.accuracy.truth import SceneTruth, frame_times
from deploy.reporter import raised
from deploy.summary import Raised, SummaryEvent, fits, match
from detector.rule import Rule
from ingest.simulator.cameras import GOP_S
from ingest.simulator.stream import Stream, encode
from ingest.simulator.world import EventTruth, Scene
from reasoner.boxes import Box
from reasoner.grade import Claimed, TrueObject, Truth, box_iou, box_score, coverage_points, time_points


def measure(clip: Clip, models: Models, save: Path | None = None) -> ClipRow:
    """`save`: folder for the row, and for a sheet of pictures of each mistake."""
    began_s = time.perf_counter()
    cv2.setNumThreads(1)
    scene, seconds = scene_of(clip)
    with opened(models, _stream(scene, seconds), clip.name) as (camera, line):
        played = line.play()
        truth = SceneTruth(scene, seconds)
        rules = {rule.id: rule for rule in models.rules}
        windows = tuple(_window_row(one, rules[one.window.span.rule_id], truth) for one in played.judged)
        alerts = _alert_rows(clip, played, rules, truth, models, camera)
        row = ClipRow(
            number=clip.number,
            name=clip.name,
            scene_seed=scene.seed,
            label=clip.label,
            kinds=clip.kinds,
            watched=Watched(seconds=seconds, events=truth.events, alike=truth.alike, scores=played.scores),
            alerts=alerts,
            windows=windows,
            ended=played.windows,
            work_s=time.perf_counter() - began_s,
        )
        if save is not None:
            from bench.accuracy.contact import write

            write(save, row, played.judged, scene, truth)
    return row


def measure_quiet(run: int, number: int, models: Models) -> Watched:
    """The scorer alone on a long scene in which nothing happens."""
    cv2.setNumThreads(1)
    scene, seconds = quiet_scene(run, number)
    scores = scored(models, _stream(scene, seconds), f"quiet-{number}")
    return Watched(seconds=seconds, events=events_of(scene, seconds), alike=alike_of(scene, seconds), scores=scores)


def _stream(scene: Scene, seconds: float) -> Stream:
    """As the simulated cameras encode it."""
    return encode((scene.frame(number / FPS) for number in range(round(seconds * FPS))), FPS, GOP_S)


def _window_row(one: Judged, rule: Rule, truth: SceneTruth) -> WindowRow:
    verdict, times_s = one.verdict, frame_times(one.window)
    answer = truth.answer(rule.category, times_s[0], times_s[-1])
    claimed = [
        TrueObject(label=claim.object, time_s=times_s[0] + claim.time_s, box=box)
        for claim in verdict.claims
        for box in claim.boxes
    ]
    said = Claimed(yes=verdict.decision != "rejected", objects=tuple(claimed))
    earned = _earned(said, truth.of_window(rule.category, times_s))
    return WindowRow(
        rule=rule.id,
        category=rule.category,
        start_s=round(times_s[0], 3),
        end_s=round(times_s[-1], 3),
        p=verdict.confidence.p,
        parts=verdict.confidence.components,
        decision=verdict.decision,
        reasons=verdict.reasons,
        output=verdict.output,
        yes=True if isinstance(answer, EventTruth) else answer,
        evidence=truth.evidence(rule.category, claimed, times_s),
        reward=earned.get("reward"),
        box_iou=earned.get("box_iou"),
    )


def _earned(said: Claimed, truth: Truth | None) -> dict[str, float]:
    """`reward`, the points of times and boxes together, and `box_iou`; each only where it applies."""
    if truth is None:
        return {}
    points = [each for each in (time_points(said, truth), coverage_points(said, truth)) if each is not None]
    overlap = box_iou(said, truth)
    return {**({"reward": sum(points)} if points else {}), **({"box_iou": overlap} if overlap is not None else {})}


def _alert_rows(
    clip: Clip, played: Played, rules: dict[str, Rule], truth: SceneTruth, models: Models, camera: RecordedCamera
) -> tuple[AlertRow, ...]:
    sources = [one for one in played.judged if one.published is not None]
    alerts = [raised(one.published, EPOCH_NS) for one in sources if one.published is not None]
    events = [
        SummaryEvent(camera=clip.name, label=event.label, start=event.start_s, end=event.end_s)
        for event in truth.events
    ]
    owner = match(events, alerts)
    ablation = Ablation(models.reasoner, clip.name)
    rows = []
    for index, (one, source) in enumerate(zip(alerts, sources, strict=True)):
        true = any(fits(one, event) for event in events)
        row = AlertRow(alert=one.alert, category=one.category, true=true, first=index in owner)
        if index in owner:
            changes = ablation(source.window, rules[one.alert.rule], source.verdict.confidence.p, camera, clip.number)
            row = _first(one, source, truth, truth.events[owner[index]], changes)
        rows.append(row)
    return tuple(rows)


def _first(one: Raised, source: Judged, truth: SceneTruth, event: EventTruth, changes: dict[str, Change]) -> AlertRow:
    claimed = [TrueObject(label=claim.object, time_s=claim.time, box=Box(*claim.box)) for claim in one.alert.claims]
    return AlertRow(
        alert=one.alert,
        category=one.category,
        true=True,
        first=True,
        onset_error_s=round(one.alert.onset - event.start_s, 3),
        boxes=len(claimed),
        box_iou=box_score(claimed, truth.objects(event, frame_times(source.window))),
        ablation=changes,
    )
