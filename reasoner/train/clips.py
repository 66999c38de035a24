"""Labelled windows for training: scenes seen exactly as the live line sees them.

Writes `pictures.npy`, uint8 (N, 7, 2, 96, 160, 3): per window up to seven groups of RGB and motion pictures,
`clips.jsonl` with one row of truth per window, and `about.json`. Frames lie 0.5 s apart on a camera's own frame grid,
compressed; the background is a median of earlier key frames, the view is chosen by the serving code, and of a share of
the windows also as the crop check would look at them.
"""

from __future__ import annotations

import functools
import logging
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.film import make_scene
from ingest.simulator.episode import EventTruth
from ingest.simulator.world import ObjectTruth, Scene
from reasoner.boxes import Box, to_view
from reasoner.crop_check import view_around
from reasoner.pictures import MOTION_SIZE, motion_pictures
from reasoner.train.about import About
from reasoner.train.config import Render
from reasoner.train.draft import Draft
from reasoner.train.errors import TrainFailed
from reasoner.train.questions import questions
from reasoner.train.shots import FLAGGED_SCENE_S, Shot, flagged, scene_of, staged
from reasoner.view import view_of

GROUPS, SIZE = 7, MOTION_SIZE
BLOCK = 64
"""Scenes that are rendered between two records of how far it is; so many in a row without a window end it."""
LOG = logging.getLogger(__name__)
FRAME_RATES = (8.0, 10.0, 12.5, 15.0, 25.0)


def answer_of(truths: tuple[EventTruth, ...], category: str, start_s: float, end_s: float) -> EventTruth | bool | None:
    """The event that answers the question with yes, False for no, None where the window cannot tell."""
    answer: EventTruth | bool | None = False
    for event in truths:
        if event.label != category:
            continue
        if min(end_s, event.end_s) - max(start_s, event.evident_s) >= 0.9:
            return event
        if min(end_s, event.end_s) - max(start_s, event.start_s) > 0.25:
            answer = None
    return answer


def _kind(scene: Scene, start_s: float, end_s: float, ids: set[int]) -> str:
    """What else happens in a window, of what the view shows: `ids`. What has no actor is seen everywhere."""
    for truth in (*scene.events, *scene.lookalikes):
        seen = not truth.actors or not ids.isdisjoint(truth.actors)
        if seen and truth.label != "walking" and min(end_s, truth.end_s) - max(start_s, truth.start_s) > 0.4:
            return truth.label
    return "walking" if ids else "nothing"


class Film(NamedTuple):
    """A window's frames and what is in them."""

    frames: NDArray[np.uint8]
    """uint8 (2G, H, W, 3), compressed."""
    background: NDArray[np.uint8] | None
    ticks: list[float]
    """Seconds of the scene."""
    truths: list[list[ObjectTruth]]
    """At each group's time, its first frame's."""
    event: EventTruth | None
    """What answers the question with yes."""
    min_share: float
    """Of the view, see `view.view_of`."""


def film(scene: Scene, shot: Shot, rng: np.random.Generator) -> Film | None:
    """None where the window cannot tell the answer."""
    rate = float(rng.choice(FRAME_RATES))
    offset = float(rng.uniform(0, 1 / rate))
    ticks = [round((shot.start_s + 0.5 * k) * rate) / rate + offset for k in range(2 * shot.groups)]
    answer = answer_of(scene.events, shot.category, ticks[0], ticks[-1])
    if answer is None:
        return None
    quality = int(rng.integers(35, 93))
    frames = np.stack([_compressed(scene.frame(t), quality) for t in ticks])
    earlier = [t for t in np.arange(ticks[0] - 0.5, 0, -float(rng.uniform(2.8, 4.0))) if t > 0.1][:7]
    background = None
    if len(earlier) >= 3:
        background = np.median(np.stack([scene.frame(float(t)) for t in earlier]), axis=0).astype(np.uint8)
    return Film(
        frames=frames,
        background=background,
        ticks=ticks,
        truths=[list(scene.truth(t)) for t in ticks[::2]],
        event=answer if isinstance(answer, EventTruth) else None,
        min_share=0.25 if rng.random() < 0.6 else float(rng.uniform(0.13, 0.25)),
    )


def labelled(
    taken: Film, view: Box, scene: Scene, shot: Shot, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], dict[str, Any]] | None:
    """A view of a window as a clip: pictures uint8 (G, 2, 96, 160, 3) and the row of truth. None where an event has no
    actor in it to point at."""
    ticks, event = taken.ticks, taken.event
    actors = set(event.actors) if event else set()
    objects: list[list[dict[str, Any]]] = []
    ids: set[int] = set()
    for truths in taken.truths:
        seen: list[dict[str, Any]] = []
        for truth in truths:
            box = to_view(Box(*truth.box), view)
            if box is None or truth.visible < 0.05:
                continue
            ids.add(truth.id)
            inside = box.area * (view.x2 - view.x1) * (view.y2 - view.y1) / max(1e-9, Box(*truth.box).area)
            seen.append(
                {
                    "id": truth.id,
                    "label": truth.label,
                    "box": [round(v, 4) for v in (box.x1, box.y1, box.x2, box.y2)],
                    "actor": truth.id in actors,
                    "visible": round(truth.visible * min(1.0, inside), 2),
                }
            )
        objects.append(seen)
    if event is not None and not _pointable(event, ticks[::2], objects):
        return None
    asked = questions(shot.category)
    row = {
        "groups": shot.groups,
        "times": [round(t - ticks[0], 1) for t in ticks[::2]],
        "category": shot.category,
        "question": asked[int(rng.integers(len(asked)))],
        "answer": event is not None,
        "kind": event.label if event else _kind(scene, ticks[0], ticks[-1], ids),
        "start": round(max(0.0, event.start_s - ticks[0]), 2) if event is not None else None,
        "end": round(min(ticks[-1], event.end_s) - ticks[0], 2) if event is not None else None,
        "objects": objects,
        "seed": scene.seed,
        "view": [round(v, 4) for v in (view.x1, view.y1, view.x2, view.y2)],
    }
    return motion_pictures(taken.frames, taken.background, view), row


def closer(taken: Film, scene: Scene, rng: np.random.Generator) -> Box | None:
    """The view that the crop check would take of a claim: around what acts at one or two moments, and where nothing of
    what is asked about happens, around somebody or something that a mistaken claim could name. None: nothing is there.
    """
    event, times = taken.event, taken.ticks[::2]
    boxes: dict[int, list[Box]] = {}
    for t_s, truths in zip(times, taken.truths, strict=True):
        for truth in truths:
            if truth.visible >= 0.3 and (event is None or (truth.id in event.actors and t_s >= event.start_s - 0.25)):
                boxes.setdefault(truth.id, []).append(Box(*truth.box))
    if not boxes:
        return None
    chosen = list(boxes)
    if event is None:
        alike = [
            truth.actors
            for truth in (*scene.events, *scene.lookalikes)
            if min(times[-1], truth.end_s) > max(times[0], truth.start_s) and boxes.keys() & set(truth.actors)
        ]
        if alike and rng.random() < 0.7:
            chosen = sorted(boxes.keys() & set(alike[int(rng.integers(len(alike)))]))
        else:
            chosen = [chosen[int(rng.integers(len(chosen)))]]
    cited = [
        boxes[each][int(rng.integers(len(boxes[each])))] for each in chosen for _ in range(int(rng.integers(1, 3)))
    ]
    return view_around([_about(box, rng) for box in cited], taken.min_share)


def _about(box: Box, rng: np.random.Generator) -> Box:
    """A box as a model gives it: a tenth or so off."""
    wide, high = box.x2 - box.x1, box.y2 - box.y1
    by = rng.normal(0, 0.1, 4) * (wide, high, wide, high)
    x1, y1, x2, y2 = np.clip(np.array([box.x1, box.y1, box.x2, box.y2]) + by, 0, 1).tolist()
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else box


def _pointable(event: EventTruth, times: list[float], objects: list[list[dict[str, Any]]]) -> bool:
    """Whether some picture during the event shows most of an actor: there must be something to point at."""
    return any(
        thing["actor"] and thing["visible"] > 0.5
        for t, seen in zip(times, objects, strict=True)
        if event.start_s - 0.25 <= t <= event.end_s
        for thing in seen
    )


def _compressed(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """As a camera's encoder would leave it."""
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def windows(
    seed: int, flagged_share: float = 0.0, scorer: str = "bundled", closer_share: float = 0.0
) -> list[tuple[NDArray[np.uint8], dict[str, Any]]]:
    """Every labelled window of one seed's scene; of so many seeds those that the scorer and the gate flag. Of
    `closer_share` of the windows the closer view as well."""
    cv2.setNumThreads(1)
    rng, dice = np.random.default_rng([seed, 78]), np.random.default_rng([seed, 79])
    if np.random.default_rng([seed, 76]).random() < flagged_share:
        scene = make_scene(seed, FLAGGED_SCENE_S)
        chosen = flagged(scene, seed, scorer)
    else:
        scene = scene_of(seed)
        chosen = staged(scene, rng)
    found = []
    for shot in chosen:
        taken = film(scene, shot, rng)
        if taken is None:
            continue
        view = view_of(taken.frames, taken.background, taken.min_share)
        found.append(labelled(taken, view, scene, shot, rng))
        close = closer(taken, scene, dice) if dice.random() < closer_share else None
        if close is not None and close != view:
            found.append(labelled(taken, close, scene, shot, dice))
    return [window for window in found if window is not None]


def write(folder: Path, what: Render) -> None:
    """Render until `rows` training and `validation` windows are there, or go on with it; no seed serves both.

    Raises TrainFailed where scene after scene has no window, and where a process ends before its work.
    """
    total = what.rows + what.validation
    of_one = functools.partial(
        windows, flagged_share=what.flagged_share, scorer=what.scorer, closer_share=what.closer_share
    )
    # A fresh process each: one that was forked from a process in which torch has threads may wait for them for ever.
    pool = ProcessPoolExecutor(what.workers, mp_context=get_context("spawn"))
    idle = 0
    with Draft(folder, About.of(what), (total, GROUPS, 2, SIZE[1], SIZE[0], 3)) as draft, pool:
        while draft.rows < total:
            seeds = range(draft.seed, draft.seed + BLOCK)
            try:
                for found in pool.map(of_one, seeds, chunksize=8):
                    # A scene's windows stay on one side of the split.
                    split = "val" if draft.rows < what.validation else "train"
                    for picture, row in found[: total - draft.rows]:
                        draft.add(picture, {**row, "split": split})
                    idle = 0 if found else idle + 1
            except BrokenProcessPool:
                raise TrainFailed(
                    "a process that renders clips ended before its work; is there enough memory? What is done is kept"
                ) from None
            if idle >= BLOCK:
                raise TrainFailed(
                    f"no window in the {idle} scenes before seed {seeds.stop}: scorer {what.scorer!r} flags nothing; "
                    "name another, or a smaller flagged_share"
                )
            draft.keep(seeds.stop)
            LOG.info("rendered %d of %d clips, scenes before %d", draft.rows, total, seeds.stop)
        draft.finish()
