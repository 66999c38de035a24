"""Fire and smoke, and the steam and lamps that are neither."""

from __future__ import annotations

from ingest.simulator.fire import TONGUES, Flames, Lamp, Plume
from ingest.simulator.stage import EventTruth, Stage


def _plume(stage: Stage, label: str, start: float, end: float, dark: bool) -> Plume:
    rng = stage.rng
    return Plume(
        stage.next_id(),
        label,
        stage.spot(0.6),
        start,
        end,
        float(rng.uniform(1.7, 2.6)),
        float(rng.uniform(0.7, 1.1) if dark else rng.uniform(0.4, 0.75)),
        float(rng.uniform(4.0, 7.0) if dark else rng.uniform(8.0, 12.0)),
        float(rng.uniform(0.6, 0.82) if dark else rng.uniform(0.4, 0.6)),
        float(rng.uniform(28, 75) if dark else rng.uniform(215, 250)),
        float(rng.random()),
    )


def fire_smoke(stage: Stage) -> EventTruth:
    """Something on the floor catches fire, or smoulders with dark smoke alone, and is put out."""
    rng = stage.rng
    start = stage.now_s + float(rng.uniform(0.5, 2.0))
    end = start + float(rng.uniform(8.0, 11.0))
    plume = _plume(stage, "smoke", start, end, dark=True)
    stage.now_s = end
    if rng.random() < 0.3:
        stage.props.append(plume)
        return EventTruth("fire_smoke", start, start + 1.6, end - 0.8, (plume.id,))
    flames = Flames(
        stage.next_id(),
        plume.spot,
        start,
        end,
        float(rng.uniform(0.6, 1.25)),
        float(rng.uniform(1.0, 2.2)),
        1.0,
        tuple(float(phase) for phase in rng.uniform(0, 6.3, TONGUES)),
    )
    stage.props += [plume, flames]
    return EventTruth("fire_smoke", start, start + 1.2, end - 0.6, (flames.id,))


def steam(stage: Stage) -> EventTruth:
    """A drain lets off steam."""
    start = stage.now_s + 0.5
    end = start + float(stage.rng.uniform(5.0, 9.0))
    plume = _plume(stage, "steam", start, end, dark=False)
    stage.props.append(plume)
    stage.now_s = end
    return EventTruth("steam", start, start + 1.0, end, (plume.id,))


def lamp(stage: Stage) -> EventTruth:
    """A warm lamp is switched on for a while."""
    rng = stage.rng
    start = stage.now_s + 0.5
    end = start + float(rng.uniform(4.0, 8.0))
    glow = (255.0, float(rng.uniform(150, 200)), float(rng.uniform(60, 110)))
    thing = Lamp(stage.next_id(), stage.spot(0.7), float(rng.uniform(0.8, 2.4)), start, end, glow)
    stage.props.append(thing)
    stage.now_s = end
    return EventTruth("lamp", start, start + 0.2, end, (thing.id,))
