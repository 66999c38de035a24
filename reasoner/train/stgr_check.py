"""A decoded JSON object → a sound STGR row, or every mistake in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from reasoner.parse import parse
from reasoner.train.mistakes import Examination, Mistake, shown
from reasoner.train.stgr import GROUNDED, TASKS, Convention, KeyFrame, Numbers, StgrRow, Task, as_box, text_boxes

KNOWN = {field for field in StgrRow.__struct_fields__ if field not in ("extra", "place")}


def check_stgr(raw: Mapping[str, Any], row: int) -> tuple[StgrRow | None, list[Mistake]]:
    """raw: one object in the authors' columns. The row is None exactly when there are mistakes."""
    look = Examination(raw, row)
    task = _task(look)
    source = look.text("source", "")
    image = task == "visual QA"
    made: dict[str, Any] = {
        "task": task,
        "question": look.text("question"),
        "answer": look.text("answer"),
        "video_path": None if image else look.path("video_path"),
        "image_path": look.path("image_path") if image else None,
        "image_size": look.size("image_size"),
        "id": _id(look),
        "source": source,
        "reasoning_process": None if raw.get("reasoning_process") is None else look.text("reasoning_process", ""),
        "extra": {key: value for key, value in raw.items() if key not in KNOWN},
        "place": row,
    }
    if image and made["image_size"] is None and "image_size" not in {mistake.field for mistake in look.mistakes}:
        look.wrong("image_size", "is missing; a visual QA row is in pixels, add [width, height]")
    key_frames = _key_frames(look)
    convention = StgrRow(task=task, question="", answer="", source=source).convention
    items = _key_items(look, convention, made["image_size"])
    if look.mistakes:
        return None, look.mistakes
    found = StgrRow(key_frames=key_frames, key_items=items, **made)
    _check_texts(look, found)
    if found.task.startswith("temporal QA") and found.span_s() is None:
        look.wrong("answer", f'{shown(found.answer)} states no time span; write "From <t>12.3</t>s to <t>15.6</t>s"')
    return (None, look.mistakes) if look.mistakes else (found, [])


def _task(look: Examination) -> Task:
    task = look.raw.get("task")
    if task not in TASKS:
        problem = "is missing" if task is None else f"{shown(task)} is unknown"
        look.wrong("task", f"{problem}; known are {', '.join(TASKS)}")
        return GROUNDED
    return cast(Task, task)


def _id(look: Examination) -> str | int | None:
    value = look.raw.get("id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        look.wrong("id", f"is {shown(value)}; write a text or a whole number")
        return None
    return value


def _key_frames(look: Examination) -> tuple[KeyFrame, ...]:
    listed = look.raw.get("key_frames") or []
    if not isinstance(listed, list):
        look.wrong("key_frames", f"is {shown(listed)}; write a list of {{idx, time, path}}")
        return ()
    frames: list[KeyFrame] = []
    for place, entry in enumerate(listed):
        field = f"key_frames[{place}]"
        if not isinstance(entry, Mapping):
            look.wrong(field, f"is {shown(entry)}; write {{idx, time, path}}")
            continue
        idx = entry.get("idx")
        if isinstance(idx, bool) or not isinstance(idx, int):
            look.wrong(f"{field}.idx", f"is {shown(idx)}; write a whole number")
            continue
        if idx in {frame.idx for frame in frames}:
            look.wrong(f"{field}.idx", f"{idx} names an earlier key frame already; give each its own")
        time = look.number(f"{field}.time", entry.get("time"), least=0.0)
        inner = Examination(entry, look.row)
        path = inner.path("path") if entry.get("path") else ""
        look.mistakes += [mistake._replace(field=f"{field}.path") for mistake in inner.mistakes]
        if time is not None:
            frames.append(KeyFrame(idx=idx, time=time, path=path))
    return tuple(frames)


def _key_items(
    look: Examination, convention: Convention, size: tuple[int, int] | None
) -> dict[str, dict[str, tuple[Numbers, ...]]]:
    """Nulls are holes that Arrow leaves where another row has a key; they are no mistakes."""
    listed = look.raw.get("key_items") or {}
    if not isinstance(listed, Mapping):
        look.wrong("key_items", f'is {shown(listed)}; write {{"idx": {{"object": [[x1, y1, x2, y2]]}}}}')
        return {}
    frames = look.raw.get("key_frames")
    known = (
        {str(frame.get("idx")) for frame in frames if isinstance(frame, Mapping)} if isinstance(frames, list) else ()
    )
    found: dict[str, dict[str, tuple[Numbers, ...]]] = {}
    for idx, objects in listed.items():
        if objects is None:
            continue
        if not isinstance(objects, Mapping):
            look.wrong(f"key_items.{idx}", f'is {shown(objects)}; write {{"object": [[x1, y1, x2, y2]]}}')
            continue
        if idx not in known:
            look.wrong(f"key_items.{idx}", "names no key frame; add it to key_frames, or remove it here")
        found[idx] = {
            name: read_boxes(look, f"key_items.{idx}.{name}", boxes, convention, size)
            for name, boxes in objects.items()
            if boxes is not None
        }
    return found


def read_boxes(
    look: Examination, field: str, listed: Any, convention: Convention, size: tuple[int, int] | None
) -> tuple[Numbers, ...]:
    """A list of boxes, or one box alone."""
    if not isinstance(listed, list):
        look.wrong(field, f"is {shown(listed)}; write a list of boxes [x1, y1, x2, y2]")
        return ()
    alone = bool(listed) and not isinstance(listed[0], list)
    read = []
    for place, box in enumerate([listed] if alone else listed):
        at = field if alone else f"{field}[{place}]"
        numbers = look.numbers(at, box, 4)
        if numbers is None:
            continue
        four = cast(Numbers, numbers)
        try:
            as_box(four, convention, size)
        except ValueError as error:
            look.wrong(at, str(error))
        read.append(four)
    return tuple(read)


def _check_texts(look: Examination, row: StgrRow) -> None:
    """Tags that the parser of the serving side cannot read are mistakes; so are boxes out of the picture."""
    thought = row.reasoning_process or ""
    for field, text in (
        ("reasoning_process", f"<think>{thought}</think>\n<answer>-</answer>"),
        ("answer", f"<answer>{row.answer_text()}</answer>"),
    ):
        for error in parse(text).errors:
            look.wrong(field, f"{error}; correct the tags")
    for field, text in (("reasoning_process", thought), ("answer", row.answer)):
        try:
            for numbers in text_boxes(text):
                as_box(numbers, row.convention, row.image_size)
        except ValueError as error:
            look.wrong(field, str(error))
