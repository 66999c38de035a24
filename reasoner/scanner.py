"""One pass over the tags of an output: boxes bind to the last object, times to the claim they follow."""

from __future__ import annotations

import bisect
import re
from typing import NamedTuple

import msgspec

from reasoner.numerals import RawBox, TimeText, read_boxes, read_time

MAX_CLAIMS = 64

TAG = re.compile(r"<\s{0,2}(/?)\s{0,2}(think|answer|obj|box|t)\s{0,2}>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[!?。！？\n]|\.(?=\s|$|<)")
_JOINS_TIME = re.compile(r"\s{0,3},?\s{0,3}(?:at|@|in|around|about|在|于)?\s{0,3}", re.IGNORECASE)
_UNIT = re.compile(r"\s{0,2}(?:s|秒)(?![a-z])", re.IGNORECASE)


class RawClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim as it was written: boxes in whatever the model's coordinates are, time in its own seconds."""

    object: str
    boxes: tuple[RawBox, ...]
    time_s: float | None
    interval: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    """`time_inferred`, `no_time`, `ambiguous_time`, `repaired_box`, `no_object`, `out_of_range`."""
    text: str = ""
    """Its sentence without tags."""
    place: tuple[int, int]
    """Offsets of its first and last character in the output."""
    time_text: str = ""
    """The time as written."""


class Mark(NamedTuple):
    name: str
    closes: bool
    start: int
    end: int


class TimeMark(NamedTuple):
    read: TimeText
    raw: str
    start: int
    end: int


class _Draft:
    """A claim being put together."""

    def __init__(self, name: str, start: int) -> None:
        self.object = name
        self.boxes: list[RawBox] = []
        self.time: TimeMark | None = None
        self.inferred = False
        self.start = start
        self.end = start


class Scanner:
    """One pass over the tags; boxes bind to the last object, times to the claim they follow."""

    def __init__(self, source: str, text: str, marks: list[Mark]) -> None:
        self.source = source
        self.text = text
        self.marks = marks
        self.ends = [m.end() for m in _SENTENCE_END.finditer(source)]
        self.drafts: list[_Draft] = []
        self.times: list[TimeMark] = []
        self.bare: list[TimeMark] = []
        self.mentions: list[str] = []
        self.errors: list[str] = []
        self.open_ended = False
        self._object: tuple[str, int, int] | None = None
        self._used = True
        self._draft: _Draft | None = None

    def run(self) -> None:
        index = 0
        while index < len(self.marks):
            mark = self.marks[index]
            after = self.marks[index + 1] if index + 1 < len(self.marks) else None
            if mark.closes:
                self.errors.append(f"</{mark.name}> closes nothing at {mark.start}")
                index += 1
            elif after is None or not after.closes or after.name != mark.name:
                self.open_ended = self.open_ended or after is None
                self.errors.append(f"<{mark.name}> at {mark.start} is not closed")
                index += 1
            else:
                {"obj": self._name, "box": self._box, "t": self._time}[mark.name](mark, after)
                index += 2
        self._leave_object()
        self._infer_times()

    def _name(self, opening: Mark, closing: Mark) -> None:
        self._leave_object()
        name = " ".join(self.source[opening.end : closing.start].split())[:120]
        self._object, self._used, self._draft = (name, opening.start, closing.end), False, None

    def _leave_object(self) -> None:
        if self._object is not None and not self._used:
            self.mentions.append(self._object[0])

    def _box(self, opening: Mark, closing: Mark) -> None:
        boxes, errors = read_boxes(self.text[opening.end : closing.start])
        self.errors += errors
        if not boxes:
            self._used = True
            return
        if self._draft is None or self._draft.time is not None:
            same = self._object is not None and self._sentence(self._object[1]) == self._sentence(opening.start)
            name, start = (self._object[0], self._object[1]) if same and self._object else ("", opening.start)
            self._draft = _Draft(name, start if not self._used else opening.start)
            self.drafts.append(self._draft)
            self._used = True
        self._draft.boxes += boxes
        self._draft.end = closing.end

    def _time(self, opening: Mark, closing: Mark) -> None:
        raw = self.text[opening.end : closing.start]
        try:
            read = read_time(raw)
        except ValueError as error:
            self.errors.append(str(error))
            return
        unit = _UNIT.match(self.text, closing.end)
        time = TimeMark(read, raw.strip(), opening.start, unit.end() if unit else closing.end)
        self.times.append(time)
        draft = self._draft
        if (
            draft is not None
            and draft.time is None
            and _JOINS_TIME.fullmatch(self.text[draft.end : opening.start][:16])
        ):
            draft.time, draft.end = time, time.end
        else:
            self.bare.append(time)

    def _sentence(self, at: int) -> int:
        return bisect.bisect_right(self.ends, at)

    def _infer_times(self) -> None:
        """A claim without a time of its own takes the nearest before it in its sentence, else the nearest after."""
        starts = [t.start for t in self.times]
        for draft in self.drafts:
            if draft.time is not None:
                continue
            home = self._sentence(draft.start)
            before = bisect.bisect_left(starts, draft.start) - 1
            near = [i for i in (before, before + 1) if 0 <= i < len(starts) and self._sentence(starts[i]) == home]
            if near:
                draft.time, draft.inferred = self.times[near[0]], True
        taken = {draft.time.start for draft in self.drafts if draft.time}
        self.bare = [t for t in self.bare if t.start not in taken]

    def claims(self, duration_s: float | None) -> list[RawClaim]:
        if len(self.drafts) > MAX_CLAIMS:
            self.errors.append(f"{len(self.drafts)} claims, of which {MAX_CLAIMS} are read")
        cache: dict[int, str] = {}
        return [self._claim(draft, duration_s, cache) for draft in self.drafts[:MAX_CLAIMS]]

    def _claim(self, draft: _Draft, duration_s: float | None, cache: dict[int, str]) -> RawClaim:
        read = draft.time.read if draft.time else None
        late = duration_s is not None and read is not None and not 0 <= read.time_s <= duration_s
        flags = {
            "time_inferred": draft.inferred,
            "no_time": read is None,
            "ambiguous_time": read is not None and read.ambiguous,
            "repaired_box": any(box.repaired for box in draft.boxes),
            "no_object": not draft.object,
            "out_of_range": late,
        }
        home = self._sentence(draft.start)
        if home not in cache:
            cache[home] = self._sentence_text(home)
        return RawClaim(
            object=draft.object,
            boxes=tuple(draft.boxes),
            time_s=None if read is None else read.time_s,
            interval=None if read is None else read.interval,
            flags=tuple(name for name, holds in flags.items() if holds),
            text=cache[home],
            place=(draft.start, draft.end),
            time_text=draft.time.raw if draft.time else "",
        )

    def _sentence_text(self, home: int) -> str:
        start = self.ends[home - 1] if home else 0
        end = self.ends[home] if home < len(self.ends) else len(self.source)
        return plain(self.source, start, end)[:400]


def plain(source: str, start: int, end: int) -> str:
    """Part of an output without tags, without boxes, and without the `at<t>..</t>s` that ends a claim."""
    words: list[str] = []
    at = start
    skipping = after_box = False
    for match in TAG.finditer(source, start, end):
        name, closes = match[2].lower(), bool(match[1])
        if not skipping:
            words.append(source[at : match.start()])
        if name == "t" and not closes:
            skipping = after_box and bool(_JOINS_TIME.fullmatch(words[-1]))
            if skipping:
                words.pop()
        elif name == "t":
            unit = _UNIT.match(source, match.end()) if skipping else None
            skipping, at = False, unit.end() if unit else match.end()
            after_box = False
            continue
        else:
            skipping = name == "box" and not closes
        after_box = name == "box" and closes
        at = match.end()
    if not skipping:
        words.append(source[at:end])
    return " ".join("".join(words).split())
