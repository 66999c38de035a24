"""Files of rows: a JSON array or JSON lines, in the authors' form or the flat one; read whole, checked whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from reasoner.train.errors import BadRows
from reasoner.train.flat import check_flat, is_flat, to_flat
from reasoner.train.mistakes import Mistake, shown
from reasoner.train.stgr import StgrRow
from reasoner.train.stgr_check import check_stgr

MAX_FILE_BYTES = 1 << 30
Form = Literal["stgr", "flat"]


class Reading(NamedTuple):
    """What a file holds: its sound rows in order, and every mistake of the others."""

    rows: list[StgrRow]
    mistakes: list[Mistake]

    @property
    def bad_rows(self) -> int:
        return len({mistake.row for mistake in self.mistakes})


class Written(NamedTuple):
    """What was written, and what had no place in the form: column → number of rows that lost it."""

    path: Path
    rows: int
    lost: dict[str, int]


def read(path: Path) -> list[StgrRow]:
    """All rows. BadRows lists every mistake, one line each, when there is any."""
    reading = examine(path)
    if reading.mistakes:
        listed = "\n".join(str(mistake) for mistake in reading.mistakes)
        raise BadRows(f"{path}: {len(reading.mistakes)} mistakes in {reading.bad_rows} rows\n{listed}")
    return reading.rows


def examine(path: Path) -> Reading:
    """Sound rows and mistakes. BadRows: the file itself cannot be read, or holds no row at all."""
    rows: list[StgrRow] = []
    mistakes: list[Mistake] = []
    for number, raw in _objects(path):
        if isinstance(raw, Mistake):
            mistakes.append(raw)
            continue
        if not isinstance(raw, Mapping):
            mistakes.append(Mistake(number, "", f"is {shown(raw)}; write an object {{...}}"))
            continue
        row, wrong = check_flat(raw, number) if is_flat(raw) else check_stgr(raw, number)
        mistakes += wrong
        if row is not None:
            rows.append(row)
    if not rows and not mistakes:
        raise BadRows(f"{path}: holds no row; write a JSON array of rows, or one row a line")
    return Reading(rows, mistakes)


def write(path: Path, rows: Sequence[StgrRow], form: Form = "stgr") -> Written:
    """JSON lines for a name that ends in `.jsonl`, else one JSON array with a row a line. The file appears whole."""
    lost: dict[str, int] = {}
    lines = []
    for row in rows:
        if form == "stgr":
            lines.append(msgspec.json.encode(_columns(row)))
            continue
        made = to_flat(row)
        lines.append(msgspec.json.encode(made.row))
        for name in made.lost:
            lost[name] = lost.get(name, 0) + 1
    if path.suffix == ".jsonl":
        content = b"".join(line + b"\n" for line in lines)
    else:
        content = b"[\n" + b",\n".join(lines) + b"\n]\n"
    partial = path.with_name(f".partial-{path.name}")
    partial.write_bytes(content)
    partial.replace(path)
    return Written(path, len(lines), lost)


def _columns(row: StgrRow) -> dict[str, Any]:
    """The authors' columns; those that this row has no use for are left out."""
    made: dict[str, Any] = {} if row.id is None else {"id": row.id}
    made |= {"source": row.source} if row.source else {}
    for name in ("video_path", "image_path", "image_size"):
        made |= {name: getattr(row, name)} if getattr(row, name) is not None else {}
    made |= {"task": row.task, "question": row.question, "answer": row.answer}
    if row.reasoning_process is not None:
        made["reasoning_process"] = row.reasoning_process
    made |= {"key_frames": [msgspec.to_builtins(frame) for frame in row.key_frames], "key_items": row.key_items}
    return made | dict(row.extra)


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of each row; a line that is no JSON comes as its Mistake."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadRows(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; split it")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadRows(f"{path}: there is no such file; check the path") from None
    except UnicodeDecodeError as error:
        raise BadRows(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise BadRows(f"{path}: cannot be read ({error.strerror})") from None
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), start=1)
        except (ValueError, RecursionError) as error:
            raise BadRows(f"{path}: not JSON: {_said(error)}; a JSON array must be whole") from None
        return
    yield from enumerate(_lines(text.split("\n")), start=1)


def _lines(lines: Iterable[str]) -> Iterator[Any]:
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    for row, (number, line) in enumerate(filled, start=1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Mistake(row, "", f"line {number} is no JSON: {_said(error)}; correct it")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
