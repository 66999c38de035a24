"""A labelled scene: a place, what happens in it, and any instant of it as a picture with exact truth.

The same seed gives the same pixels. Time is random access: `frame(t)` depends on nothing but the seed and t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.simulator import figure, paint, scenery
from ingest.simulator.actor import Bag
from ingest.simulator.episode import (
    EVENTS,
    LOOKALIKES,
    PLACES,
    EventTruth,
    episode_names,
    place_for,
    play,
    playable,
)
from ingest.simulator.episodes.passers import passes_by
from ingest.simulator.lens import Lens
from ingest.simulator.paint import Silhouette
from ingest.simulator.stage import Stage
from ingest.simulator.weather import Weather

__all__ = ["EVENTS", "LOOKALIKES", "MARGIN_S", "VERSION", "EventTruth", "ObjectTruth", "Scene", "episode_names"]

VERSION = 3
"""Raised whenever the same seed would give other pixels or other truth."""
MARGIN_S = 9.0
"""No event begins later than this before the scene's end."""


@dataclass(frozen=True, slots=True)
class ObjectTruth:
    """One object in one picture."""

    id: int
    label: str
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in 0..1 of the picture, clamped to it, hidden parts included."""
    visible: float
    """Share of it that nothing hides and that lies inside the picture."""


class Scene:
    """`duration_s` seconds of one camera. `kinds`: episodes to play in this order; without, a seeded mixture."""

    def __init__(
        self, seed: int, duration_s: float, size: tuple[int, int] = (640, 360), kinds: Sequence[str] | None = None
    ) -> None:
        rng = np.random.default_rng([seed, 20_031])
        self.seed, self.duration_s, self.size = seed, duration_s, size
        width, height = size
        pitch = float(rng.uniform(0.14, 0.42))
        self.lens = Lens(width, height, width * float(rng.uniform(0.72, 1.0)), 2.4 + 5.0 * (pitch - 0.12), pitch)
        drawn = str(rng.choice(list(PLACES), p=list(PLACES.values())))
        self.place = place_for(kinds or ()) or drawn
        """One of `episode.PLACES`."""
        self.scenery = scenery.build(self.lens, rng, self.place)
        self.stage = Stage(self.lens, self.scenery, rng)
        self.events: tuple[EventTruth, ...]
        self.lookalikes: tuple[EventTruth, ...]
        self._play(rng, list(kinds) if kinds is not None else None)
        self._camera = Weather.draw(rng, size, duration_s, self.scenery.infrared)
        self._shadow = float(rng.uniform(0.12, 0.45))

    def _play(self, rng: np.random.Generator, kinds: list[str] | None) -> None:
        events: list[EventTruth] = []
        alike: list[EventTruth] = []
        stage = self.stage
        stage.now_s = float(rng.uniform(1.5, 3.0))
        queue = kinds
        last = ""
        rested = True
        while stage.now_s < self.duration_s:
            if queue is not None and not queue:
                break
            kind = queue.pop(0) if queue is not None else self._choose(rng, last, rested)
            before, begun = stage.counts(), stage.now_s
            truth = play(stage, kind)
            if truth is not None and kind in EVENTS:
                if truth.start_s > self.duration_s - MARGIN_S and queue is None:
                    # Too late to be told before the end: take it back rather than show half an event.
                    stage.rewind(before, begun)
                    break
                events.append(truth)
                last, rested = kind, False
            else:
                rested = True
                if truth is not None:
                    alike.append(truth)
            if kind != "nothing" and rng.random() < 0.3:
                passes_by(stage, begun + float(rng.uniform(0, max(0.5, stage.now_s - begun - 4))))
            stage.now_s += float(rng.uniform(2.0, 4.5))
        # What was written down for after the end is never in a picture, so it is no truth of this scene either.
        self.events = tuple(
            EventTruth(e.label, e.start_s, e.evident_s, min(e.end_s, self.duration_s), e.actors)
            for e in events
            if e.start_s < self.duration_s
        )
        self.lookalikes = tuple(truth for truth in alike if truth.start_s < self.duration_s)

    def _choose(self, rng: np.random.Generator, last: str, rested: bool) -> str:
        """After something ordinary an event, never the same twice running; after an event either."""
        draw = rng.random()
        if rested or draw < 0.4:
            known = [kind for kind in playable(EVENTS, self.place) if kind != last]
            own = [kind for kind in known if place_for([kind])]
            # What only this place can show comes often here, or it would hardly ever be seen.
            return str(rng.choice(own if own and rng.random() < 0.4 else known))
        if draw < 0.8:
            alike = [play.__name__ for plays in LOOKALIKES.values() for play in plays]
            known = playable(alike, self.place)
            own = [kind for kind in known if place_for([kind])]
            return str(rng.choice(own if own and rng.random() < 0.4 else known))
        return "walking" if draw < 0.93 else "nothing"

    def silhouettes(self, t_s: float) -> list[Silhouette]:
        """Everybody and everything in the scene at this time, far to near."""
        out = []
        hands: dict[int, NDArray[np.float64]] = {}
        for person in self.stage.people:
            posture = person.posture(t_s)
            if posture is None:
                continue
            shape = paint.person(person.id, person.look, posture, self.lens)
            hands[person.id] = paint.in_scene(posture)[figure.R_HAND]
            out.append(shape)
        for bag in self.stage.bags:
            shape_of_bag = self._bag(bag, t_s, hands)
            if shape_of_bag is not None:
                out.append(shape_of_bag)
        for prop in self.stage.props:
            out += prop.shapes(t_s, self.lens)
        return sorted(out, key=lambda shape: -shape.depth_m)

    def _bag(self, bag: Bag, t_s: float, hands: dict[int, NDArray[np.float64]]) -> Silhouette | None:
        holder = bag.carrier if t_s < bag.drop_s else bag.lifter if t_s >= bag.lift_s else None
        if bag.drop_s <= t_s < bag.lift_s:
            return paint.bag(bag, None, self.lens)
        if holder is None or holder.id not in hands:
            return None
        x, y, z = hands[holder.id]
        return paint.bag(bag, (float(x), float(y), float(z)), self.lens)

    def _blocks_between(self, nearer_than: float, farther_than: float) -> list[scenery.Block]:
        cos, sin = math.cos(self.lens.pitch_rad), math.sin(self.lens.pitch_rad)
        depth = {block: block.z * cos + (self.lens.height_m - block.height / 2) * sin for block in self.scenery.blocks}
        chosen = [block for block, d in depth.items() if farther_than < d <= nearer_than]
        return sorted(chosen, key=lambda block: -depth[block])

    def _hide_behind(self, picture: NDArray[np.uint8], block: scenery.Block) -> None:
        """Bring back the empty place where a nearer block stands, with the light that lies on it."""
        mask = np.zeros(picture.shape[:2], np.uint8)
        flat = self.lens.project(scenery.corners(block))[:, :2]
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(flat * 16).astype(np.int32)), 255, cv2.LINE_8, 4)
        cv2.copyTo(self.scenery.empty, mask, picture)

    def frame(self, t_s: float) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) RGB."""
        picture = self.scenery.empty.copy()
        shapes = self.silhouettes(t_s)
        for shape in shapes:
            paint.cast_shadow(picture, shape, self._shadow)
        for index, shape in enumerate(shapes):
            paint.draw(picture, shape)
            nearest = shapes[index + 1].depth_m if index + 1 < len(shapes) else 0.0
            for block in self._blocks_between(shape.depth_m, nearest):
                self._hide_behind(picture, block)
        gain = math.prod(d.gain for d in self.stage.dimmings if d.start_s <= t_s < d.end_s)
        return self._camera.see(picture, t_s, gain)

    def truth(self, t_s: float) -> tuple[ObjectTruth, ...]:
        """Every object of which some part lies in the picture."""
        width, height = self.size
        scale = 0.25
        shapes = self.silhouettes(t_s)
        masks: list[NDArray[np.uint8]] = []
        for index, shape in enumerate(shapes):
            if shape.opacity == 1:
                for mask in masks:
                    paint.draw(mask, shape, 0, scale)
            mask = np.zeros((int(height * scale), int(width * scale)), np.uint8)
            paint.draw(mask, shape, 255, scale)
            masks.append(mask)
            nearest = shapes[index + 1].depth_m if index + 1 < len(shapes) else 0.0
            for block in self._blocks_between(shape.depth_m, nearest):
                flat = self.lens.project(scenery.corners(block))[:, :2] * scale
                hull = cv2.convexHull(np.round(flat).astype(np.int32))
                for hidden in masks:
                    cv2.fillConvexPoly(hidden, hull, 0)
        out = []
        for shape, mask in zip(shapes, masks, strict=True):
            left, top, right, bottom = shape.bounds()
            alone = np.zeros((int((bottom - top) * scale) + 3, int((right - left) * scale) + 3), np.uint8)
            paint.draw(alone, shape.moved(-left, -top), 255, scale)
            whole = max(1, int((alone > 127).sum()))
            x1, y1 = max(0.0, left / width), max(0.0, top / height)
            x2, y2 = min(1.0, right / width), min(1.0, bottom / height)
            if shape.label and x1 < x2 and y1 < y2:
                visible = min(1.0, float((mask > 127).sum()) / whole)
                out.append(ObjectTruth(shape.id, shape.label, (x1, y1, x2, y2), visible))
        return (*out, *self._groups(t_s, out))

    def _groups(self, t_s: float, seen: Sequence[ObjectTruth]) -> list[ObjectTruth]:
        """Each group as one object: the hull of its members; visible is the share of them that one can see."""
        found = []
        for group in self.stage.groups:
            members = [thing for thing in seen if thing.id in group.members]
            if members and group.start_s <= t_s < group.end_s:
                x1, y1, x2, y2 = zip(*(thing.box for thing in members), strict=True)
                visible = sum(thing.visible > 0.3 for thing in members) / len(group.members)
                found.append(ObjectTruth(group.id, group.label, (min(x1), min(y1), max(x2), max(y2)), visible))
        return found
