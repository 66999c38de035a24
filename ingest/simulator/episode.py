"""Every episode by its name: the events, which are the alert categories, and what looks like each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ingest.simulator.episodes.bags import abandoned_object, bag_beside_owner, bag_picked_up
from ingest.simulator.episodes.burning import fire_smoke, lamp, steam
from ingest.simulator.episodes.crowds import crowd, family_walks, small_group
from ingest.simulator.episodes.falls import fall, sits_down, ties_shoe
from ingest.simulator.episodes.pace import brisk_walk, cyclist, running
from ingest.simulator.episodes.passers import nothing, walking
from ingest.simulator.episodes.quarrels import fight, hug, talk
from ingest.simulator.episodes.tampering import close_passer, lights_out, tamper
from ingest.simulator.episodes.traffic import vehicle_right_way, vehicle_stops, vehicle_wrong_way
from ingest.simulator.episodes.trespass import (
    intrusion,
    loitering,
    skirts_zone,
    stands_at_zone,
    turns_back,
    waits,
)
from ingest.simulator.stage import EventTruth, Stage

__all__ = ["EVENTS", "LOOKALIKES", "PLACES", "EventTruth", "episode_names", "place_for", "play", "playable"]

Episode = Callable[[Stage], EventTruth]

EVENTS: dict[str, Episode] = {
    "abandoned_object": abandoned_object,
    "crowd": crowd,
    "fall": fall,
    "fight": fight,
    "fire_smoke": fire_smoke,
    "intrusion": intrusion,
    "loitering": loitering,
    "running": running,
    "tamper": tamper,
    "vehicle_wrong_way": vehicle_wrong_way,
}
LOOKALIKES: dict[str, tuple[Episode, ...]] = {
    "abandoned_object": (bag_picked_up, bag_beside_owner),
    "crowd": (small_group, family_walks),
    "fall": (sits_down, ties_shoe),
    "fight": (hug, talk),
    "fire_smoke": (steam, lamp),
    "intrusion": (stands_at_zone, skirts_zone),
    "loitering": (waits, turns_back),
    "running": (cyclist, brisk_walk),
    "tamper": (close_passer, lights_out),
    "vehicle_wrong_way": (vehicle_right_way, vehicle_stops),
}
PLACES = {"hall": 0.5, "zone": 0.25, "road": 0.25}
"""Kinds of places, and how often a scene takes place in each when its episodes leave it open."""
_ONLY_AT = {"intrusion": "zone", "vehicle_wrong_way": "road"}
"""Categories that need a place of their own, as do those that look like them."""
_ALL: dict[str, Callable[[Stage], EventTruth | None]] = {
    **EVENTS,
    **{play.__name__: play for plays in LOOKALIKES.values() for play in plays},
    "walking": walking,
    "nothing": nothing,
}
_NEEDS = {
    name: place
    for category, place in _ONLY_AT.items()
    for name in (category, *(play.__name__ for play in LOOKALIKES[category]))
}


def episode_names() -> tuple[str, ...]:
    """Every kind that a scene can be asked to play."""
    return tuple(_ALL)


def playable(kinds: Iterable[str], place: str) -> list[str]:
    """Those of `kinds` that can happen at a place."""
    return [kind for kind in kinds if _NEEDS.get(kind, place) == place]


def place_for(kinds: Iterable[str]) -> str | None:
    """The place that these kinds need, None where any will do. ValueError when no place has room for all of them."""
    needed = {_NEEDS[kind] for kind in kinds if kind in _NEEDS}
    if len(needed) > 1:
        raise ValueError(f"no place has {' and '.join(sorted(needed))}: give these episodes scenes of their own")
    return needed.pop() if needed else None


def play(stage: Stage, kind: str) -> EventTruth | None:
    """Write an episode down; None when it leaves nothing to tell. ValueError for a name there is none of."""
    if kind not in _ALL:
        raise ValueError(f"no episode is called {kind!r}; there are {', '.join(episode_names())}")
    return _ALL[kind](stage)
