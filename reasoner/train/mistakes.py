"""What is wrong with the rows of a file: every mistake, each one line with row, field, problem and the way out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from reasoner.train.errors import BadRows

SHOWN = 120
"""Characters of a value that a message shows."""


class Mistake(NamedTuple):
    """`row` counts from 1 in the order of the file."""

    row: int
    field: str
    problem: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.field}: {self.problem}" if self.field else f"row {self.row}: {self.problem}"


class Examination:
    """Reads the fields of one row and notes what is wrong with them; a wrong field reads as its default."""

    def __init__(self, raw: Mapping[str, Any], row: int) -> None:
        self.raw, self.row = raw, row
        self.mistakes: list[Mistake] = []

    def wrong(self, field: str, problem: str) -> None:
        self.mistakes.append(Mistake(self.row, field, " ".join(problem.split())))

    def text(self, field: str, default: str | None = None) -> str:
        """A text; without a default it must be there and hold something."""
        value = self.raw.get(field)
        if value is None and default is not None:
            return default
        if value is None:
            self.wrong(field, "is missing; add it")
        elif not isinstance(value, str):
            self.wrong(field, f"is {shown(value)}; write a text in quotes")
        elif default is None and not value.strip():
            self.wrong(field, "is empty; fill it in")
        else:
            return value
        return default or ""

    def path(self, field: str) -> str:
        """A path that stays below the folder it is counted from."""
        value = self.text(field)
        problem = unsafe(value) if value else None
        if problem:
            self.wrong(field, problem)
        return value

    def number(self, field: str, value: Any, *, least: float | None = None) -> float | None:
        """A finite number, of at least `least`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(field, f"is {shown(value)}; write a number")
        elif least is not None and value < least:
            self.wrong(field, f"is {value:g}; it cannot be below {least:g}")
        else:
            return float(value)
        return None

    def numbers(self, field: str, value: Any, count: int) -> tuple[float, ...] | None:
        """A list of so many numbers."""
        if not isinstance(value, list) or len(value) != count:
            got = f"{len(value)} of them" if isinstance(value, list) else shown(value)
            self.wrong(field, f"is {got}; write a list of {count} numbers")
            return None
        read = [self.number(f"{field}[{index}]", item) for index, item in enumerate(value)]
        return None if None in read else tuple(item for item in read if item is not None)

    def size(self, field: str) -> tuple[int, int] | None:
        """Width and height in px; None when the field is not there or wrong."""
        if not (value := self.raw.get(field)):
            return None
        read = self.numbers(field, value, 2)
        if read is None:
            return None
        if any(side < 1 or side != int(side) for side in read):
            self.wrong(field, f"is {shown(value)}; write [width, height] in pixels")
            return None
        return int(read[0]), int(read[1])


def shown(value: Any) -> str:
    """A value as a message shows it: short, on one line."""
    if value is None:
        return "null"
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def unsafe(path: str) -> str | None:
    """What is wrong with a relative path from outside, by its text alone; None: nothing."""
    windows, posix = PureWindowsPath(path), PurePosixPath(path)
    if windows.drive or windows.root or posix.is_absolute() or path.startswith("~"):
        return f"{shown(path)} is no relative path; count it from the folder of videos"
    if ".." in windows.parts or ".." in posix.parts:
        return f"{shown(path)} leaves the folder of videos; remove the `..`"
    if any(ord(letter) < 32 for letter in path):
        return f"{shown(path)} holds a control character; rename the file"
    return None


def below(root: Path, path: str) -> Path:
    """The file that an untrusted relative path names, links followed. BadRows: it lies outside of `root`."""
    problem = unsafe(path)
    if problem:
        raise BadRows(problem)
    whole = (root / path).resolve()
    if not whole.is_relative_to(root.resolve()):
        raise BadRows(f"{shown(path)} is a link that leaves {root}; copy the file into it")
    return whole
