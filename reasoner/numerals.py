"""Numbers in a model's text: times, time spans and boxes, each read on its own so that one bad one spoils no other."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_WIDE = str.maketrans(
    {
        "，": ",", "：": ":", "（": "(", "）": ")", "［": "[", "］": "]", "．": ".", "；": ";", "＜": "<", "＞": ">",
        "／": "/", "－": "-", "–": "-", "—": "-", "−": "-", "～": "~", "〜": "~", "、": ",",
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    }
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})")
_CLOCK = re.compile(r"(?:(\d{1,2}):)?(\d{1,3}):(\d{2}(?:\.\d{1,6})?)")
_SECONDS_UNIT = re.compile(r"(?:seconds|second|secs|sec|s|秒)\.?$", re.IGNORECASE)
_RANGE = re.compile(r"(?<=[\d秒s])\s{0,4}(?:-|~|to|至|到)\s{0,4}(?=[\d.])", re.IGNORECASE)
_GROUP = re.compile(r"\[([^\[\]]{0,200})\]")
_TIME_WORD = re.compile(
    r"(?P<clock>\d{1,2}:\d{2}(?::\d{2})?(?:\.\d{1,3})?)"
    r"|(?P<number>\d{1,7}(?:\.\d{1,6})?)\s{0,2}(?P<unit>seconds|second|secs|sec|s(?![a-z])|秒|minutes|minute|mins|min|分钟|分)?",
    re.IGNORECASE,
)
_CONNECTORS = frozenset({"-", "~", "to", "until", "till", "至", "到", "第", "-第", "至第", "到第"})
_MINUTES = frozenset({"minutes", "minute", "mins", "min", "分钟", "分"})


class TimeText(NamedTuple):
    """What stood in a `<t>`: a moment, or an interval whose middle represents it."""

    time_s: float
    interval: tuple[float, float] | None
    ambiguous: bool
    """Written as a clock: seconds of the video, or a time of day."""


class RawBox(NamedTuple):
    """Four numbers as a model wrote them, corners in order."""

    numbers: tuple[float, float, float, float]
    hint: Literal["norm01"] | None
    """`norm01`: fractions of the frame whatever the model's convention is; none: the model's own coordinates."""
    repaired: bool
    """Corners were swapped."""


class TimeSpan(NamedTuple):
    start_s: float
    end_s: float
    place: tuple[int, int]
    """Offsets in the text that was searched."""


def narrow(text: str) -> str:
    """Full-width punctuation and digits as ASCII, character for character, so that offsets stay what they were."""
    return text.translate(_WIDE)


def read_time(text: str) -> TimeText:
    """The content of a `<t>`: `12.3`, `12.3s`, `10.0-15.0`, `14:05`, `00:03:21`. ValueError says what is wrong."""
    content = text.strip()[:80]
    parts = _RANGE.split(content, maxsplit=1)
    if len(parts) == 2:
        start, end = read_time(parts[0]), read_time(parts[1])
        if end.time_s < start.time_s:
            raise ValueError(f"interval {content!r} ends before it starts")
        return TimeText((start.time_s + end.time_s) / 2, (start.time_s, end.time_s), start.ambiguous or end.ambiguous)
    bare = _SECONDS_UNIT.sub("", content).strip()
    if ":" in bare:
        return TimeText(_clock_s(bare), None, True)
    if not _NUMBER.fullmatch(bare):
        raise ValueError(f"{content!r} is no time")
    return TimeText(float(bare), None, False)


def _clock_s(text: str) -> float:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    hours, minutes, seconds = float(match[1] or 0), float(match[2]), float(match[3])
    if seconds >= 60 or (match[1] and minutes >= 60):
        raise ValueError(f"{text!r} is no time")
    return hours * 3600 + minutes * 60 + seconds


def read_boxes(text: str) -> tuple[list[RawBox], list[str]]:
    """The content of a `<box>`: one `[x1,y1,x2,y2]` or a list of them; boxes that can be read, and errors."""
    content = text.strip()
    groups = _GROUP.findall(content) if "[" in content else [content]
    boxes: list[RawBox] = []
    errors: list[str] = []
    if not groups:
        errors.append(f"box {content[:60]!r} has no numbers")
    for group in groups:
        try:
            boxes.append(read_box(group))
        except ValueError as error:
            errors.append(str(error))
    return boxes, errors


def read_box(text: str) -> RawBox:
    """Four numbers; ValueError for another count, for what is no number and for a box without area."""
    words = [word for word in re.split(r"[,;\s()]+", text.strip()) if word]
    if len(words) != 4:
        raise ValueError(f"box [{text.strip()[:60]}] has {len(words)} numbers instead of 4")
    bad = next((word for word in words if not _NUMBER.fullmatch(word)), None)
    if bad is not None:
        raise ValueError(f"box [{text.strip()[:60]}] holds {bad[:20]!r}, which is no number")
    x1, y1, x2, y2 = map(float, words)
    ordered = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    if ordered[0] == ordered[2] or ordered[1] == ordered[3]:
        raise ValueError(f"box [{text.strip()[:60]}] has no area")
    # Whole numbers are never taken for fractions: [0,0,1,1] is a legal box of any convention.
    fractions = all(0 <= value <= 1 for value in ordered) and any("." in word for word in words)
    return RawBox(ordered, "norm01" if fractions else None, ordered != (x1, y1, x2, y2))


def read_spans(text: str) -> tuple[list[TimeSpan], list[str]]:
    """Time spans in plain text: `From 12.3s to 15.6s`, `00:03:21-00:03:25`, `12.3-15.6秒`, `第12分钟-15分钟`.

    At least one side must carry a unit, be a clock, or follow `from`: `2-3 cars` is no span.
    """
    spans: list[TimeSpan] = []
    errors: list[str] = []
    words = list(_TIME_WORD.finditer(text))
    index = 0
    while index + 1 < len(words):
        first, second = words[index], words[index + 1]
        leads = text[max(0, first.start() - 5) : first.start()].strip().lower() == "from"
        marked = leads or any(word["clock"] or word["unit"] for word in (first, second))
        if not marked or not joins_span(text[first.end() : second.start()]):
            index += 1
            continue
        span = _span(first, second)
        if span is None:
            errors.append(f"span {text[first.start() : second.end()][:60]!r} ends before it starts")
        else:
            spans.append(span)
        index += 2
    return spans, errors


def joins_span(between: str) -> bool:
    """Whether the text between two times makes a span of them: a dash, `to`, `至` and the like."""
    return len(between) <= 8 and between.strip().lower() in _CONNECTORS


def _span(first: re.Match[str], second: re.Match[str]) -> TimeSpan | None:
    unit = first["unit"] or second["unit"] or ""
    try:
        start, end = _word_s(first, unit), _word_s(second, second["unit"] or unit)
    except ValueError:
        return None
    return TimeSpan(start, end, (first.start(), second.end())) if start <= end else None


def _word_s(word: re.Match[str], unit: str) -> float:
    if word["clock"]:
        return _clock_s(word["clock"])
    return float(word["number"]) * (60.0 if unit.lower() in _MINUTES else 1.0)


def shifted(text: str, offset_s: float) -> str:
    """Plain text with every stated time moved by `offset_s`, in seconds with one decimal; other numbers are kept.

    A time is a clock, a number with a unit of time, or one side of a span.
    """
    source = narrow(text)
    inside = [span.place for span in read_spans(source)[0]]
    pieces: list[str] = []
    at = 0
    for word in _TIME_WORD.finditer(source):
        in_span = any(start <= word.start() < end for start, end in inside)
        if not (word["clock"] or word["unit"] or in_span):
            continue
        try:
            seconds = _word_s(word, word["unit"] or "") + offset_s
        except ValueError:
            continue
        unit = "秒" if (word["unit"] or "") in ("秒", "分", "分钟") else "s" if word["unit"] or word["clock"] else ""
        pieces += [text[at : word.start()], f"{max(0.0, seconds):.1f}{unit}"]
        at = word.end("unit") if word["unit"] else word.end("clock" if word["clock"] else "number")
    return "".join([*pieces, text[at:]])
