"""A contact sheet: every event beside what looks like it, a row of pictures each, for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.simulator.world import EVENTS, LOOKALIKES, EventTruth, Scene

PICTURES = 6
TILE = (320, 180)
"""Width and height of a picture on the sheet, px."""
LEAD_S = 1.0
"""A row begins so long before its episode."""
ACTOR, OTHER = (255, 60, 40), (90, 200, 255)
SCENE_S = 60.0


def contact_sheet(path: Path, seed: int) -> int:
    """Writes a PNG and gives the number of its rows. Raises OSError where it cannot be written."""
    kinds = [name for label, plays in LOOKALIKES.items() for name in (label, *(play.__name__ for play in plays))]
    rows = [_row(kind, seed * 1000 + number) for number, kind in enumerate(kinds)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f"{path}: cannot write a picture there; give a name that ends in .png")
    return len(rows)


def _row(kind: str, seed: int) -> NDArray[np.uint8]:
    scene = Scene(seed, SCENE_S, kinds=[kind])
    truth = (scene.events + scene.lookalikes)[0]
    times = np.linspace(max(0.0, truth.start_s - LEAD_S), min(truth.end_s, truth.start_s + 9.0), PICTURES)
    return np.hstack([_tile(scene, truth, float(t)) for t in times])


def _tile(scene: Scene, truth: EventTruth, t_s: float) -> NDArray[np.uint8]:
    """One picture with the boxes of the truth: actors of the episode while it lasts, everything else thin."""
    picture = scene.frame(t_s).copy()
    width, height = scene.size
    for thing in scene.truth(t_s):
        acts = thing.id in truth.actors and truth.start_s <= t_s <= truth.end_s
        x1, y1, x2, y2 = thing.box
        corners = (round(x1 * width), round(y1 * height)), (round(x2 * width), round(y2 * height))
        cv2.rectangle(picture, *corners, ACTOR if acts else OTHER, 2 if acts else 1)
    tile = cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA)
    words = f"{truth.label if truth.label in EVENTS else '(' + truth.label + ')'} {t_s - truth.start_s:+.1f} s"
    for ink, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, words, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, thick, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)
