"""Rows and pictures of mistakes, for a person to look at: true boxes are green, cited ones red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.accuracy.line import Judged
from bench.accuracy.row import AlertRow, ClipRow, WindowRow
from bench.accuracy.truth import SceneTruth, frame_times
from ingest.simulator.world import EventTruth, Scene
from reasoner.boxes import Box
from reasoner.pictures import decode

CELL = (400, 225)
COLUMNS = 4
MOST = 12
LINE_PX, TEXT_COLUMNS = 17, 200
TRUE, CITED, INK = (40, 200, 60), (235, 40, 40), (230, 230, 230)
LEAD_S, TAIL_S = 1.0, 8.0
"""A missed event is shown from so long before its start, for so long after."""

Picture = NDArray[np.uint8]


def write(folder: Path, row: ClipRow, judged: Sequence[Judged], scene: Scene, truth: SceneTruth) -> None:
    """`NAME.json`, and one PNG for each false alert and each missed event."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{row.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(row), indent=1) + b"\n")
    matched = {alert.category for alert in row.alerts if alert.first}
    raised = {one.published.alert.alert_id: one for one in judged if one.published is not None}
    for number, alert in enumerate(row.alerts):
        if not alert.true:
            sheet = _false(alert, row, raised[alert.alert.alert_id], truth)
            _save(folder / f"{row.name}-false-{number}-{alert.category}.png", sheet)
    for event in truth.events:
        if event.label not in matched:
            _save(folder / f"{row.name}-missed-{event.label}.png", _missed(event, row, scene, truth))


def _false(alert: AlertRow, row: ClipRow, one: Judged, truth: SceneTruth) -> Picture:
    times_s = frame_times(one.window)
    cells = []
    for index in _spread(len(times_s)):
        frame = _sized(decode(one.window.cut.frames[index].jpeg, "a fine frame"))
        for thing in truth.at(times_s[index]):
            _box(frame, Box(*thing.box), TRUE, f"{thing.label} {thing.id}")
        for item in one.verdict.evidence:
            if item.frame == index:
                _box(frame, item.box, CITED, f"{item.label} {item.check.score:.2f}")
        cells.append(_titled(frame, f"{times_s[index]:.1f} s"))
    said = f"p {alert.alert.confidence:.2f} {alert.alert.decision}, onset {alert.alert.onset:.1f} s"
    head = [f"{row.name} of scene {row.scene_seed}: false alert {alert.category}, {said}", one.verdict.output]
    return _sheet(cells, [*head, *_happenings(truth)])


def _missed(event: EventTruth, row: ClipRow, scene: Scene, truth: SceneTruth) -> Picture:
    start_s = max(0.0, event.start_s - LEAD_S)
    end_s = min(event.end_s, event.start_s + TAIL_S, truth.seconds)
    cells = []
    for t_s in np.linspace(start_s, end_s, MOST).tolist():
        frame = _sized(scene.frame(t_s))
        for thing in truth.at(t_s):
            if thing.id in event.actors:
                _box(frame, Box(*thing.box), TRUE, f"{thing.label} {thing.visible:.2f}")
        cells.append(_titled(frame, f"{t_s:.1f} s"))
    near = [
        one
        for one in row.windows
        if one.category == event.label and one.start_s <= event.end_s and one.end_s >= event.start_s
    ]
    head = [f"{row.name} of scene {row.scene_seed}: missed {event.label}; windows of its rule: {len(near)}"]
    return _sheet(cells, [*head, *map(_told, near[:4]), *_happenings(truth)])


def _told(one: WindowRow) -> str:
    return f"{one.start_s:.1f}-{one.end_s:.1f} s p {one.p:.2f} {one.decision} {','.join(one.reasons)}: {one.output}"


def _happenings(truth: SceneTruth) -> list[str]:
    return [f"{each.label} {each.start_s:.1f}-{each.end_s:.1f} s" for each in (*truth.events, *truth.alike)]


def _spread(count: int) -> list[int]:
    return sorted({round(i * (count - 1) / max(1, min(MOST, count) - 1)) for i in range(min(MOST, count))})


def _sized(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, CELL, interpolation=cv2.INTER_AREA), np.uint8)


def _box(picture: Picture, box: Box, colour: tuple[int, int, int], text: str) -> None:
    x1, y1, x2, y2 = box.pixels(CELL)
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
    cv2.putText(picture, text, (x1, max(9, y1 - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)


def _titled(picture: Picture, text: str) -> Picture:
    cv2.putText(picture, text, (4, CELL[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return picture


def _sheet(cells: Sequence[Picture], head: Sequence[str]) -> Picture:
    """Text above, then the cells in rows."""
    text = [piece for line in head for piece in wrap(" ".join(line.split()), TEXT_COLUMNS)]
    width = CELL[0] * COLUMNS
    top = np.full((LINE_PX * len(text) + 8, width, 3), 24, np.uint8)
    for number, line in enumerate(text):
        plain = line.encode("ascii", "replace").decode()
        place = (6, LINE_PX * (number + 1))
        cv2.putText(top, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    blank = np.full((CELL[1], CELL[0], 3), 24, np.uint8)
    rows = [[*cells[at : at + COLUMNS]] for at in range(0, len(cells), COLUMNS)]
    padded = [row + [blank] * (COLUMNS - len(row)) for row in rows]
    return np.vstack([top, *(np.hstack(row) for row in padded)])


def _save(path: Path, picture: Picture) -> None:
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise OSError(f"{path}: the picture cannot be written; is there room on the disk?")
