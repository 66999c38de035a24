"""Ordinary life: people who walk by, or nobody at all."""

from __future__ import annotations

from ingest.simulator.actor import Person
from ingest.simulator.stage import EventTruth, Stage


def passes_by(stage: Stage, start_s: float | None = None) -> Person:
    """One person walks through the picture, perhaps with a bag."""
    begin = stage.now_s if start_s is None else start_s
    place = stage.spot(0.8)
    side = int(stage.rng.choice([-1, 1]))
    director = stage.enter(begin, place, side)
    director.go(place, stage.stroll(), 0.2)
    if stage.rng.random() < 0.25:
        director.wait(float(stage.rng.uniform(0.8, 3)))
    director.go(stage.exit_from(place, -side if stage.rng.random() < 0.8 else side), stage.stroll(), 0.2)
    if stage.rng.random() < 0.35:
        stage.bags.append(stage.bag(director.person))
    return director.person


def walking(stage: Stage) -> EventTruth:
    """One to three people walk through."""
    start, last = stage.now_s, stage.now_s
    ids = []
    for _ in range(int(stage.rng.integers(1, 4))):
        person = passes_by(stage, start + float(stage.rng.uniform(0, 4)))
        last = max(last, person.end_s)
        ids.append(person.id)
    stage.now_s = last
    return EventTruth("walking", start, start, last, tuple(ids))


def nothing(stage: Stage) -> None:
    """A stretch of an empty place."""
    stage.now_s += float(stage.rng.uniform(6, 12))
