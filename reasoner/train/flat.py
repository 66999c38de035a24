"""The flat form of a row, for people who label their own videos: `video_path, question, answer, timestamps, bboxes`.

`timestamps[i]` are seconds from the start of the video, `bboxes[i]` the box seen then (or a list of boxes, or null).
Optional: `objects[i]`, its name; `reasoning`, the text to be thought; `coordinates` `"pixels"` with `size`
`[width, height]`, where boxes are no fractions of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

import msgspec

from reasoner.train.mistakes import Examination, Mistake, shown
from reasoner.train.stgr import GROUNDED, KeyFrame, Numbers, StgrRow, as_box
from reasoner.train.stgr_check import check_stgr, read_boxes

UNNAMED = "object"
SOURCE = "flat"
"""`source` of a row that comes from this form."""


class FlatRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sound flat row."""

    video_path: str
    question: str
    answer: str
    timestamps: tuple[float, ...]
    bboxes: tuple[tuple[Numbers, ...], ...]
    objects: tuple[str, ...] = ()
    reasoning: str | None = None
    coordinates: Literal["norm01", "pixels"] = "norm01"
    size: tuple[int, int] | None = None


class Converted(NamedTuple):
    """A row in the flat form, and the columns of the STGR row that have no place in it."""

    row: FlatRow
    lost: tuple[str, ...]


def is_flat(raw: Mapping[str, Any]) -> bool:
    """Which of the two forms an object has; `task` belongs to the authors' one alone."""
    return "task" not in raw and ("timestamps" in raw or "bboxes" in raw)


def check_flat(raw: Mapping[str, Any], row: int) -> tuple[StgrRow | None, list[Mistake]]:
    """raw: one object in the flat form → the STGR row it stands for, or its mistakes."""
    look = Examination(raw, row)
    for key in raw:
        if key not in FlatRow.__struct_fields__:
            near = get_close_matches(str(key), FlatRow.__struct_fields__, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(FlatRow.__struct_fields__)}"
            look.wrong(str(key), f"is no field of the flat form; {hint}")
    coordinates = look.text("coordinates", "norm01")
    if coordinates not in ("norm01", "pixels"):
        look.wrong("coordinates", f'{shown(coordinates)} is unknown; write "norm01" or "pixels"')
    size = look.size("size")
    if coordinates == "pixels" and size is None:
        look.wrong("size", "is missing; boxes in pixels need [width, height] of the frame")
    times = _listed(look, "timestamps")
    seconds = [look.number(f"timestamps[{place}]", time, least=0.0) for place, time in enumerate(times)]
    boxes = [
        () if entry is None else read_boxes(look, f"bboxes[{place}]", entry, _convention(coordinates), size or (1, 1))
        if coordinates == "norm01" or size
        else ()
        for place, entry in enumerate(_listed(look, "bboxes"))
    ]  # fmt: skip
    names = _names(look, len(times))
    if len(boxes) != len(times):
        look.wrong("bboxes", f"has {len(boxes)} entries for {len(times)} timestamps; give one each, null for no box")
    common = {field: look.path(field) if field == "video_path" else look.text(field)
              for field in ("video_path", "question", "answer")}  # fmt: skip
    reasoning = None if raw.get("reasoning") is None else look.text("reasoning", "")
    if look.mistakes:
        return None, look.mistakes
    flat = FlatRow(
        **common,
        timestamps=tuple(time for time in seconds if time is not None),
        bboxes=tuple(boxes),
        objects=names,
        reasoning=reasoning,
        coordinates="pixels" if coordinates == "pixels" else "norm01",
        size=size,
    )
    return _checked_again(flat, row)


def to_stgr(flat: FlatRow, place: int = 0) -> StgrRow:
    """Every timestamp becomes a key frame; those at one time share it where their objects differ. Pixels become
    fractions, nothing else is changed."""
    frames: list[KeyFrame] = []
    items: dict[str, dict[str, tuple[Numbers, ...]]] = {}
    names = flat.objects or (UNNAMED,) * len(flat.timestamps)
    for time, boxes, name in zip(flat.timestamps, flat.bboxes, names, strict=True):
        fractions = tuple(_fraction(box, flat) for box in boxes)
        last = items.get(str(len(frames) - 1))
        if frames and frames[-1].time == time and last and fractions and name not in last:
            last[name] = fractions
            continue
        frames.append(KeyFrame(idx=len(frames), time=time))
        if fractions:
            items[str(len(frames) - 1)] = {name: fractions}
    return StgrRow(
        task=GROUNDED,
        source=SOURCE,
        video_path=flat.video_path,
        question=flat.question,
        answer=flat.answer,
        key_frames=tuple(frames),
        key_items=items,
        reasoning_process=flat.reasoning,
        place=place,
    )


def to_flat(row: StgrRow) -> Converted:
    """ValueError for a row about a picture: the flat form knows only videos."""
    if row.video_path is None:
        raise ValueError(f"row {row.place} is about a picture ({shown(row.image_path)}); the flat form has only videos")
    cited = row.cited()
    names = tuple(one.object or UNNAMED for one in cited)
    flat = FlatRow(
        video_path=row.video_path,
        question=row.question,
        answer=row.answer_text(),
        timestamps=tuple(one.time_s for one in cited),
        bboxes=tuple(tuple((b.x1, b.y1, b.x2, b.y2) for b in one.boxes) for one in cited),
        objects=names if set(names) - {UNNAMED} else (),
        reasoning=row.reasoning_process,
    )
    return Converted(flat, _lost(row))


def _lost(row: StgrRow) -> tuple[str, ...]:
    lost = [name for name in ("id", "image_size") if getattr(row, name) is not None]
    lost += ["source"] if row.source not in ("", SOURCE) else []
    lost += ["task"] if row.task != GROUNDED else []
    lost += ["answer (its list of two numbers)"] if row.answer_text() != row.answer else []
    lost += ["key_frames.path"] if any(frame.path for frame in row.key_frames) else []
    lost += ["key_frames.idx"] if [f.idx for f in row.key_frames] != list(range(len(row.key_frames))) else []
    return (*lost, *sorted(row.extra))


def _checked_again(flat: FlatRow, row: int) -> tuple[StgrRow | None, list[Mistake]]:
    """The texts are held to the same rules as in the authors' form."""
    made = to_stgr(flat, row)
    raw = {"task": made.task, "video_path": made.video_path, "question": made.question, "answer": made.answer}
    _, mistakes = check_stgr({**raw, "reasoning_process": made.reasoning_process}, row)
    renamed = [m._replace(field="reasoning") if m.field == "reasoning_process" else m for m in mistakes]
    return (None, renamed) if renamed else (made, [])


def _listed(look: Examination, field: str) -> Sequence[Any]:
    value = look.raw.get(field)
    if not isinstance(value, list):
        look.wrong(field, "is missing; add it, [] for none" if value is None else f"is {shown(value)}; write a list")
        return []
    return value


def _names(look: Examination, count: int) -> tuple[str, ...]:
    listed = look.raw.get("objects")
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(name, str) and name.strip() for name in listed):
        look.wrong("objects", f"is {shown(listed)}; write a list of names, one for each timestamp")
        return ()
    if len(listed) != count:
        look.wrong("objects", f"has {len(listed)} names for {count} timestamps; give one each")
    return tuple(listed)


def _convention(coordinates: str) -> Literal["norm01", "pixels"]:
    return "pixels" if coordinates == "pixels" else "norm01"


def _fraction(numbers: Numbers, flat: FlatRow) -> Numbers:
    box = as_box(numbers, flat.coordinates, flat.size)
    return box.x1, box.y1, box.x2, box.y2
