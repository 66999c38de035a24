"""Two people who meet: blows, an embrace, a talk."""

from __future__ import annotations

from ingest.simulator.actor import Director
from ingest.simulator.stage import EventTruth, Stage


def _meet(stage: Stage, gap_m: float) -> tuple[Director, Director]:
    """Two people come from either side and stand before each other at the same moment."""
    place = stage.spot(0.5)
    first = stage.enter(stage.now_s, place, -1)
    second = stage.enter(stage.now_s, place, 1)
    first.go((place[0] - gap_m / 2, place[1]), stage.stroll(), 0.2)
    second.go((place[0] + gap_m / 2, place[1] + float(stage.rng.uniform(-0.15, 0.15))), stage.stroll(), 0.2)
    first.face(second.spot)
    second.face(first.spot)
    early, late = sorted((first, second), key=lambda director: director.now_s)
    if late.now_s - early.now_s > 0.05:
        early.wait(late.now_s - early.now_s)
    return first, second


def _part(stage: Stage, first: Director, second: Director) -> None:
    stage.leave(first, stage.stroll(), 0.2, -1)
    if stage.rng.random() < 0.5:
        second.wait(float(stage.rng.uniform(0.3, 1.2)))
    stage.leave(second, stage.stroll(), 0.2, 1)


def fight(stage: Stage) -> EventTruth:
    """Two people come to blows."""
    first, second = _meet(stage, 0.85)
    if stage.rng.random() < 0.5:
        quarrel = float(stage.rng.uniform(0.5, 1.5))
        first.wait(quarrel, True)
        second.wait(quarrel, True)
    start = first.now_s
    length = float(stage.rng.uniform(5.0, 8.0))
    first.brawl(length, second.spot, float(stage.rng.uniform(1.2, 1.9)))
    second.brawl(length, first.spot, float(stage.rng.uniform(1.2, 1.9)))
    _part(stage, first, second)
    return EventTruth("fight", start, start + 0.8, start + length, (first.person.id, second.person.id))


def hug(stage: Stage) -> EventTruth:
    """Two people embrace."""
    first, second = _meet(stage, 0.5)
    start = first.now_s
    length = float(stage.rng.uniform(1.5, 3.5))
    first.embrace(length, second.spot)
    second.embrace(length, first.spot)
    end = first.now_s
    _part(stage, first, second)
    return EventTruth("hug", start, start + 0.5, end, (first.person.id, second.person.id))


def talk(stage: Stage) -> EventTruth:
    """Two people talk with their hands."""
    first, second = _meet(stage, 0.95)
    start = first.now_s
    length = float(stage.rng.uniform(4, 7))
    first.wait(length, True)
    second.wait(length, bool(stage.rng.random() < 0.6))
    end = first.now_s
    _part(stage, first, second)
    return EventTruth("talk", start, start + 0.5, end, (first.person.id, second.person.id))
