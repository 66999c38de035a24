"""Cars on a road with right-hand traffic: with it, and against it."""

from __future__ import annotations

from ingest.simulator.scenery import palette
from ingest.simulator.stage import EventTruth, Stage
from ingest.simulator.vehicle import LENGTH_M, Leg, Vehicle


def _drive(stage: Stage, label: str, lane: int, direction: int, stops: bool) -> EventTruth:
    """One car in the lane of `lane`, driving to the right (1) or the left (-1), perhaps with a stop on the way."""
    rng, road = stage.rng, stage.scenery.road
    if road is None:
        raise ValueError("this place has no road")
    z = road.lane_z(lane)
    edge = stage.lens.edge_x(z, 1, LENGTH_M / 2)
    speed = float(rng.uniform(2.2, 3.6))
    begin, x = stage.now_s, -direction * edge
    legs = [Leg(begin, x, direction * speed)]
    now = begin
    if stops:
        stop_x = float(rng.uniform(-0.35, 0.35)) * edge
        now = begin + abs(stop_x - x) / speed
        legs.append(Leg(now, stop_x, 0.0))
        now += float(rng.uniform(1.5, 3.5))
        legs.append(Leg(now, stop_x, direction * speed))
        x = stop_x
    end = now + abs(direction * edge - x) / speed
    car = Vehicle(stage.next_id(), z, direction, tuple(legs), end, palette(rng, 30, 225, 70), bool(rng.random() < 0.5))
    stage.props.append(car)
    stage.now_s = end
    start = begin + 0.35 * LENGTH_M / speed
    evident = min(start + 0.8 * LENGTH_M / speed, end - 1.0)
    return EventTruth(label, start, evident, end - 0.35 * LENGTH_M / speed, (car.id,))


def vehicle_wrong_way(stage: Stage) -> EventTruth:
    """A car drives against the direction of its lane; half of them hesitate on the way."""
    direction = int(stage.rng.choice([-1, 1]))
    return _drive(stage, "vehicle_wrong_way", -direction, direction, bool(stage.rng.random() < 0.5))


def vehicle_right_way(stage: Stage) -> EventTruth:
    """A car drives through in its lane."""
    direction = int(stage.rng.choice([-1, 1]))
    return _drive(stage, "vehicle_right_way", direction, direction, False)


def vehicle_stops(stage: Stage) -> EventTruth:
    """A car in its lane stops for a moment and drives on."""
    direction = int(stage.rng.choice([-1, 1]))
    return _drive(stage, "vehicle_stops", direction, direction, True)
