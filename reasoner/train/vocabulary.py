"""What the bundled reasoner is taught to say about a row: the target text, in the output language of the product.

A further category is one entry of `STORIES` (and one of `questions.QUESTIONS`), a further look-alike one of `SEEN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from reasoner.train.questions import QUESTIONS, questions
from reasoner.train.row import Row, Thing

__all__ = ["SEEN", "STORIES", "no_sentence", "questions", "target", "yes_sentence"]

DISORDER = "the pictures are out of order"
"""What is said of evidence that somebody has rearranged."""
VISIBLE_FROM = 0.5
"""A claim points at an object of which more than this share is visible."""
GRID = 5
"""Claimed coordinates are multiples of this, of 1000."""
LAST_TIME_S = 19.9
GROWN_S = 1.0
"""What grows (a fire, a cloth drawn over the lens) is pointed at from so long after its onset."""

Pointed = tuple[Thing, float]
"""An object and the time at which it is pointed at."""


@dataclass(frozen=True)
class Story:
    """How one category is told: `answer` states it, `point` picks the claims, `think` has one form per number of them.

    In a form, `{0}`, `{1}` stand for the grounded objects.
    """

    answer: str
    point: Callable[[Row], list[Pointed]]
    think: Mapping[int, str]


def _actors(row: Row, label: str | None = None) -> Iterator[tuple[int, Thing]]:
    """(group, actor) of each actor that is visible enough, in order of time, then from left to right."""
    for group, things in enumerate(row.objects):
        for thing in sorted(things, key=lambda thing: thing.box):
            if thing.actor and thing.visible > VISIBLE_FROM and label in (None, thing.label):
                yield group, thing


def _start(row: Row) -> float:
    return row.start if row.start is not None else row.times[0]


def _end(row: Row) -> float:
    return row.end if row.end is not None else row.times[-1]


def _last(row: Row, label: str, until: float) -> Pointed | None:
    """The last sight of an actor up to a time; else its first sight."""
    seen = [(row.times[group], thing) for group, thing in _actors(row, label)]
    before = [pair for pair in seen if pair[0] <= until + 1e-6]
    found = before[-1] if before else seen[0] if seen else None
    return None if found is None else (found[1], found[0])


def _left_behind(row: Row) -> list[Pointed]:
    person = _last(row, "person", _start(row))
    bag = _last(row, "bag", row.times[-1])
    return [pointed for pointed in (person, bag) if pointed]


def _first_and_last(row: Row) -> list[Pointed]:
    """One actor at the onset and at its last sight within the event."""
    seen = [(thing, row.times[group]) for group, thing in _actors(row)]
    inside = [pair for pair in seen if _start(row) - 0.25 <= pair[1] <= _end(row) + 0.25] or seen
    return inside[:1] if len(inside) == 1 else [inside[0], inside[-1]] if inside else []


def _full_grown(row: Row) -> list[Pointed]:
    """As `_first_and_last`, for what begins small: the first sight is that of a second after the onset."""
    pointed = _first_and_last(row)
    grown = [pair for pair in pointed if pair[1] >= _start(row) + GROWN_S]
    for group, thing in _actors(row):
        if row.times[group] >= _start(row) + GROWN_S - 1e-6 and grown:
            return [(thing, row.times[group]), grown[-1]] if row.times[group] < grown[-1][1] else [grown[-1]]
    return grown or pointed


def _together(row: Row) -> list[Pointed]:
    """The actors at the group nearest to the middle of the event that shows most of them; two at most."""
    middle = (_start(row) + _end(row)) / 2
    by_group: dict[int, list[Thing]] = {}
    for group, thing in _actors(row):
        by_group.setdefault(group, []).append(thing)
    if not by_group:
        return []
    group = min(by_group, key=lambda index: (-min(2, len(by_group[index])), abs(row.times[index] - middle)))
    return [(thing, row.times[group]) for thing in by_group[group][:2]]


STORIES: Mapping[str, Story] = {
    "abandoned_object": Story(
        "A bag is left behind", _left_behind, {1: "The {0} is left behind.", 2: "The {0} leaves the {1} behind."}
    ),
    "fall": Story(
        "A person falls", _first_and_last, {1: "The {0} falls.", 2: "The {0} falls and the {1} is on the ground."}
    ),
    "fight": Story("Two people fight", _together, {1: "The {0} fights.", 2: "The {0} fights with the {1}."}),
    "running": Story("A person runs", _first_and_last, {1: "The {0} runs.", 2: "The {0} runs and the {1} still runs."}),
    "crowd": Story(
        "A crowd gathers", _first_and_last, {1: "The {0} gathers.", 2: "The {0} gathers and the {1} is still there."}
    ),
    "fire_smoke": Story(
        "Something burns", _full_grown, {1: "The {0} breaks out.", 2: "The {0} breaks out and the {1} goes on."}
    ),
    "intrusion": Story(
        "A person enters the marked zone",
        _first_and_last,
        {1: "The {0} enters the zone.", 2: "The {0} enters the zone and the {1} is in it."},
    ),
    "loitering": Story(
        "A person loiters", _first_and_last, {1: "The {0} loiters.", 2: "The {0} loiters and the {1} still loiters."}
    ),
    "tamper": Story(
        "The camera is covered",
        _full_grown,
        {1: "The {0} hides the view.", 2: "The {0} hides the view and the {1} stays."},
    ),
    "vehicle_wrong_way": Story(
        "A car drives the wrong way",
        _first_and_last,
        {1: "The {0} drives the wrong way.", 2: "The {0} drives the wrong way and the {1} goes on."},
    ),
}

SEEN: Mapping[str, str] = {
    "bag_picked_up": "a person picks the bag up again",
    "bag_beside_owner": "a person stands beside the bag",
    "sits_down": "a person sits down",
    "ties_shoe": "a person ties a shoe",
    "hug": "two people hug",
    "talk": "two people talk",
    "cyclist": "a person rides a bicycle",
    "brisk_walk": "a person walks fast",
    "small_group": "a few people stand together",
    "family_walks": "a few people walk together",
    "steam": "steam rises",
    "lamp": "a lamp is switched on",
    "stands_at_zone": "a person stands before the zone",
    "skirts_zone": "a person walks along the zone",
    "waits": "a person waits",
    "turns_back": "a person turns back",
    "close_passer": "a person passes close to the camera",
    "lights_out": "the lights go out",
    "vehicle_right_way": "a car drives the right way",
    "vehicle_stops": "a car stops and drives on",
    "walking": "people walk by",
    "walks": "people walk by",
    "standing": "people stand",
    "empty": "nothing happens",
    "nothing": "nothing happens",
}


def _seen(kind: str) -> str:
    if kind in STORIES:
        answer = STORIES[kind].answer
        return answer[0].lower() + answer[1:]
    return SEEN.get(kind) or "something else is seen: " + kind.replace("_", " ")


def _quantised(box: tuple[float, float, float, float]) -> list[int]:
    """0..1 → multiples of `GRID` in 0..1000, at least one step wide and high."""
    x1, y1, x2, y2 = (min(1000, max(0, round(value * 1000 / GRID) * GRID)) for value in box)
    x1, y1 = min(x1, 1000 - GRID), min(y1, 1000 - GRID)
    return [x1, y1, max(x2, x1 + GRID), max(y2, y1 + GRID)]


def _grounded(thing: Thing, time_s: float) -> str:
    box = ",".join(str(value) for value in _quantised(thing.box))
    return f"<obj>{thing.label}</obj><box>[{box}]</box>at<t>{min(time_s, LAST_TIME_S):.1f}</t>s"


def _half_second(time_s: float) -> float:
    return min(LAST_TIME_S, max(0.0, round(time_s * 2) / 2))


def yes_sentence(row: Row) -> str:
    """The answer of a row that is true, its span to half a second."""
    start = _half_second(_start(row))
    end = max(start + 0.5, _half_second(min(_end(row), row.times[-1] + 0.5)))
    return f"Yes. {STORIES[row.category].answer} from {start:.1f}s to {min(end, LAST_TIME_S):.1f}s."


def no_sentence(row: Row) -> str:
    """The answer of a row that is not true: what is seen instead."""
    seen = _seen(row.kind) if row.ordered else DISORDER
    return f"No. {seen[0].upper()}{seen[1:]}."


def target(row: Row) -> str:
    """The text to be learnt for a row; ValueError when it is true but none of its actors can be seen."""
    if not row.answer:
        seen = _seen(row.kind) if row.ordered else DISORDER
        return f"<think>Nothing of the kind: {seen}.</think>\n<answer>{no_sentence(row)}</answer>"
    story = STORIES[row.category]
    pointed = story.point(row)
    if not pointed:
        raise ValueError(f"row of {row.category} is true but shows no visible actor")
    form = story.think[min(len(pointed), max(story.think))]
    told = form.format(*(_grounded(thing, time_s) for thing, time_s in pointed))
    return f"<think>{told}</think>\n<answer>{yes_sentence(row)}</answer>"


def corpus() -> Iterator[str]:
    """Every question and sentence the model is trained to read or write: what the tokenizer is learnt from."""
    for category, story in STORIES.items():
        yield from QUESTIONS.get(category, ())
        for form in story.think.values():
            yield f"<think>{form.format('person', 'bag', 'person')}</think>\n"
        yield f"<answer>Yes. {story.answer} from 1.5s to 5.5s.</answer>"
    for kind in (*STORIES, *SEEN):
        seen = _seen(kind)
        yield f"<think>Nothing of the kind: {seen}.</think>\n<answer>No. {seen[0].upper()}{seen[1:]}.</answer>"
