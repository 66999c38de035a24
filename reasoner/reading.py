"""A model's output as a `Claimed`: what grading compares with the truth."""

from __future__ import annotations

from collections import Counter

from reasoner.boxes import WHOLE, Box, Coordinates, from_model
from reasoner.parse import parse
from reasoner.scanner import TAG, RawClaim
from reasoner.truth import Claimed, TrueObject


def read(output: str, coordinates: Coordinates = "rel1000", picture_size: tuple[int, int] = (1, 1)) -> Claimed:
    """Boxes come out in 0..1 of the pictures shown. picture_size: width and height in px of a picture as the model saw
    it, for models that speak in pixels."""
    parsed = parse(output)
    answer_at = output.rfind("<answer>")
    inside = [answer_at >= 0 and claim.place[0] >= answer_at for claim in parsed.claims]
    thought = [claim for claim, answers in zip(parsed.claims, inside, strict=True) if not answers]
    stated = [claim for claim, answers in zip(parsed.claims, inside, strict=True) if answers]
    objects: list[TrueObject] = []
    unbound = 0
    for claim in thought:
        boxes = _boxes(claim, coordinates, picture_size)
        if claim.time_s is None or not boxes:
            unbound += 1
            continue
        objects += [TrueObject(label=claim.object, time_s=claim.time_s, box=box) for box in boxes]
    span = parsed.spans[0] if parsed.spans else None
    return Claimed(
        yes=parsed.yes,
        span=None if span is None else (span.start_s, span.end_s),
        objects=tuple(objects),
        unbound=unbound,
        times_s=(*(claim.time_s for claim in thought if claim.time_s is not None), *parsed.bare_times_s),
        answer=parsed.answer,
        answer_box=next((box for claim in stated for box in _boxes(claim, coordinates, picture_size)), None),
        well_formed=well_formed(output),
    )


def well_formed(output: str) -> bool:
    """Whether there is one thinking and one answer, and each tag is opened as often as it is closed."""
    counts = Counter((mark[2].lower(), bool(mark[1])) for mark in TAG.finditer(output))
    paired = all(counts[name, False] == counts[name, True] for name, _ in counts)
    return paired and counts["think", False] == counts["answer", False] == 1


def _boxes(claim: RawClaim, coordinates: Coordinates, size: tuple[int, int]) -> list[Box]:
    found = (from_model(numbers, hint or coordinates, WHOLE, size) for numbers, hint, _ in claim.boxes)
    return [box for box in found if box is not None]
