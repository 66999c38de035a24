"""The scanner: a model's output → answer, claims, times, and everything that was wrong with it.

Tags are read left to right in one pass (no expression runs over the whole text twice), each number on its own, and
offsets point into the original output. It never raises: what cannot be read becomes an entry of `errors`.
"""

from __future__ import annotations

import itertools
import json

import msgspec

from reasoner.numerals import TimeSpan, joins_span, narrow, read_box, read_spans
from reasoner.polarity import both_answers, taken_back, yes_or_no
from reasoner.scanner import MAX_CLAIMS, TAG, Mark, RawClaim, Scanner, TimeMark, plain

MAX_LENGTH = 65_536
"""Characters that are read; the rest is dropped and the output counts as truncated."""
MAX_ERRORS = 32


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """All that an output says. `answer` is None when no answer was completed."""

    answer: str | None
    yes: bool | None
    """Whether the answer begins with a yes or a no; None when with neither, and where it is taken back: another answer,
    or a later sentence, says the other."""
    claims: tuple[RawClaim, ...]
    spans: tuple[TimeSpan, ...]
    """Time spans that the answer states; offsets into `answer`."""
    bare_times_s: tuple[float, ...]
    """Times that belong to no claim."""
    mentions: tuple[str, ...]
    """Objects named without a box."""
    truncated: bool
    errors: tuple[str, ...]


def parse(output: str, duration_s: float | None = None) -> Parsed:
    """Read an output. duration_s: length of the window, for the flag `out_of_range`; None: not checked."""
    source = output[:MAX_LENGTH]
    text = narrow(source)
    marks = [Mark(m[2].lower(), bool(m[1]), m.start(), m.end()) for m in TAG.finditer(text)]
    body, answer_place, truncated, errors = _sections(text, marks)
    scanner = Scanner(source, text, [mark for mark in marks if mark.name not in ("think", "answer")])
    scanner.run()
    claims = [*scanner.claims(duration_s), *_json_claims(text)][:MAX_CLAIMS]
    answer = None if answer_place is None else plain(source, *answer_place)
    spans: list[TimeSpan] = []
    yes = None if answer is None else yes_or_no(answer)
    if yes is not None and both_answers(yes, text, marks):
        yes = None
        errors.append("one answer says yes and another no")
    elif yes is not None and answer_place is not None and taken_back(yes, text, marks, answer_place):
        yes = None
    if answer_place is not None and answer is not None:
        spans, wrong = _answer_spans(answer, text, answer_place, scanner.times)
        errors += wrong
    return Parsed(
        answer=answer,
        yes=yes,
        claims=tuple(claims),
        spans=tuple(spans),
        bare_times_s=tuple(t.read.time_s for t in scanner.bare if body[0] <= t.start < body[1]),
        mentions=tuple(scanner.mentions[:MAX_CLAIMS]),
        truncated=truncated or scanner.open_ended or len(output) > MAX_LENGTH,
        errors=tuple((errors + scanner.errors)[:MAX_ERRORS]),
    )


def _sections(text: str, marks: list[Mark]) -> tuple[tuple[int, int], tuple[int, int] | None, bool, list[str]]:
    """Where claims and answer stand, whether it was cut short, errors. The last whole answer after thinking counts."""
    thinks = [mark for mark in marks if mark.name == "think"]
    thought_end = max((mark.end for mark in thinks if mark.closes), default=0)
    errors: list[str] = []
    opened: Mark | None = None
    block: tuple[Mark, Mark] | None = None
    for mark in marks:
        if mark.name != "answer" or mark.start < thought_end:
            continue
        if not mark.closes:
            opened = mark
        elif opened is not None:
            block, opened = (opened, mark), None
    unclosed_think = any(not mark.closes and mark.start >= thought_end for mark in thinks)
    if block is not None:
        if unclosed_think:
            errors.append("the thinking is not closed")
            if text[block[1].end :].strip():
                # It went on thinking: what is marked was a thought about the form of the answer.
                return (0, len(text)), None, True, errors
        return (0, block[0].start), (block[0].end, block[1].start), False, errors
    if opened is not None or unclosed_think:
        return (0, len(text)), None, True, errors
    errors.append("the answer is not marked as one")
    rest = (thought_end, len(text))
    return (0, len(text)), rest if text[rest[0] :].strip() else None, not text[rest[0] :].strip(), errors


def _answer_spans(
    answer: str, text: str, place: tuple[int, int], times: list[TimeMark]
) -> tuple[list[TimeSpan], list[str]]:
    """Tagged times first, two by two where a connecting word joins them; else what plain text says."""
    tagged = [t for t in times if place[0] <= t.start < place[1]]
    if not tagged:
        return read_spans(narrow(answer))
    intervals = [t.read.interval for t in tagged if t.read.interval]
    points = [t for t in tagged if not t.read.interval]
    intervals += [
        (first.read.time_s, second.read.time_s)
        for first, second in itertools.pairwise(points)
        if joins_span(text[first.end : second.start])
    ]
    located, _ = read_spans(narrow(answer))
    places = {(span.start_s, span.end_s): span.place for span in located}
    good = [TimeSpan(a, b, places.get((a, b), (0, 0))) for a, b in intervals if a <= b]
    return good, [f"span {a:g}s to {b:g}s ends before it starts" for a, b in intervals if a > b]


def _json_claims(text: str) -> list[RawClaim]:
    """Qwen3-VL's own grounding format: `{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}`, in the model's coordinates."""
    claims: list[RawClaim] = []
    at = 0
    while len(claims) < MAX_CLAIMS:
        found = text.find('"bbox_2d"', at)
        if found < 0:
            break
        at = found + 9
        start = text.rfind("{", max(0, found - 200), found)
        end = text.find("}", found, found + 400)
        if start < 0 or end < 0:
            continue
        try:
            item = json.loads(text[start : end + 1])
            box = read_box(",".join(str(value) for value in item["bbox_2d"]))
        except (ValueError, TypeError):
            continue
        time_s = next((item[k] for k in ("time", "timestamp", "t") if isinstance(item.get(k), int | float)), None)
        claims.append(
            RawClaim(
                object=str(item.get("label", ""))[:120].strip(),
                boxes=(box,),
                time_s=None if time_s is None else float(time_s),
                flags=() if time_s is not None else ("no_time",),
                text=str(item.get("label", ""))[:120].strip(),
                place=(start, end + 1),
            )
        )
    return claims
