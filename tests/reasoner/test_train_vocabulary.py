"""What the bundled model is taught to say reads back to the truth it was made from."""

from __future__ import annotations

import random
import re

import msgspec
import pytest

from reasoner.parse import parse
from reasoner.train.questions import KEYWORDS, QUESTIONS, language, questions
from reasoner.train.row import Row, Thing
from reasoner.train.vocabulary import SEEN, STORIES, target

CATEGORIES = tuple(sorted(STORIES))
ACTOR = {"crowd": "crowd", "fire_smoke": "fire", "tamper": "cover", "vehicle_wrong_way": "car"}
"""Labels of the actors of those categories that are not about a person."""


def row(category: str = "fall", answer: bool = True, kind: str | None = None, seed: int = 0, groups: int = 6) -> Row:
    """A row with one or two people and a bag that move about, and a bystander."""
    rng = random.Random(seed)

    def thing(label: str, actor: bool, visible: float = 1.0) -> Thing:
        x, y = rng.uniform(0, 0.7), rng.uniform(0, 0.7)
        return Thing(label=label, box=(x, y, x + rng.uniform(0.02, 0.3), y + 0.2), actor=actor, visible=visible)

    def group(index: int) -> tuple[Thing, ...]:
        label = ACTOR.get(category, "person")
        things = [thing(label, answer, 0.9 if index % 3 else 0.7), thing("person", False)]
        if category == "fight":
            things.append(thing("person", answer))
        if category == "abandoned_object":
            things.append(thing("bag", answer))
        return tuple(things)

    return Row(
        groups=groups,
        times=tuple(round(k + rng.uniform(-0.04, 0.04) if k else 0.0, 1) for k in range(groups)),
        category=category,
        question=questions(category)[seed % len(questions(category))],
        answer=answer,
        kind=kind or (category if answer else "walking"),
        start=rng.uniform(0.0, 2.9) if answer else None,
        end=rng.uniform(3.0, 5.0) if answer else None,
        objects=tuple(group(index) for index in range(groups)),
        split="train",
    )


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("seed", range(8))
def test_a_yes_reads_back(category: str, seed: int) -> None:
    truth = row(category, seed=seed)
    text = target(truth)
    assert text.startswith("<think>The <obj>")
    parsed = parse(text, truth.times[-1])
    assert (parsed.yes, parsed.errors, parsed.truncated) == (True, (), False)
    assert 1 <= len(parsed.claims) <= 3
    for claim in parsed.claims:
        assert claim.flags == ()
        assert claim.time_s in truth.times
        assert claim.time_s is not None
        things = truth.objects[truth.times.index(claim.time_s)]
        (box,) = claim.boxes
        assert all(number % 5 == 0 and 0 <= number <= 1000 for number in box.numbers)
        assert any(
            thing.label == claim.object
            and thing.actor
            and thing.visible > 0.5
            and all(abs(number / 1000 - edge) <= 0.0051 for number, edge in zip(box.numbers, thing.box, strict=True))
            for thing in things
        )
    (span,) = parsed.spans
    assert truth.start is not None
    assert abs(span.start_s - truth.start) <= 0.26
    assert span.start_s < span.end_s


def test_the_claims_of_each_category() -> None:
    assert [c.object for c in parse(target(row("abandoned_object"))).claims] == ["person", "bag"]
    fight = parse(target(row("fight"))).claims
    assert [c.object for c in fight] == ["person", "person"]
    assert fight[0].time_s == fight[1].time_s
    first, second = parse(target(row("fall"))).claims
    assert first.time_s is not None
    assert second.time_s is not None
    assert first.time_s < second.time_s


@pytest.mark.parametrize("category", ["fire_smoke", "tamper"])
@pytest.mark.parametrize("seed", range(8))
def test_what_begins_small_is_pointed_at_when_it_has_grown(category: str, seed: int) -> None:
    truth = msgspec.structs.replace(row(category, seed=seed), end=5.0)
    assert truth.start is not None
    claims = parse(target(truth)).claims
    assert all(claim.time_s is not None and claim.time_s >= truth.start + 0.99 for claim in claims)


@pytest.mark.parametrize("kind", [*SEEN, "fall", "somebody_juggles"])
def test_a_no_names_what_is_seen(kind: str) -> None:
    text = target(row("running", answer=False, kind=kind))
    assert text.startswith("<think>Nothing of the kind: ")
    parsed = parse(text)
    assert (parsed.yes, parsed.claims, parsed.errors) == (False, (), ())
    seen = text.split(": ", 1)[1].split(".</think>")[0]
    assert parsed.answer is not None
    assert parsed.answer.lower() == f"no. {seen}.".lower()


def test_an_unseen_actor_is_not_pointed_at() -> None:
    truth = row("fall")
    hidden = tuple(tuple(msgspec.structs.replace(thing, visible=0.5) for thing in group) for group in truth.objects)
    with pytest.raises(ValueError, match="no visible actor"):
        target(msgspec.structs.replace(truth, objects=hidden))


def test_tiny_boxes_and_boxes_at_the_edge_stay_boxes() -> None:
    truth = row("fall")
    for box in ((0.999, 0.999, 1.0, 1.0), (0.5, 0.5, 0.5001, 0.5001), (-0.2, 0.0, 1.3, 1.0)):
        thing = Thing(label="person", box=box, actor=True, visible=1.0)
        text = target(msgspec.structs.replace(truth, objects=((thing,),) * truth.groups))
        for numbers in re.findall(r"\[(\d+),(\d+),(\d+),(\d+)\]", text):
            x1, y1, x2, y2 = map(int, numbers)
            assert 0 <= x1 < x2 <= 1000
            assert 0 <= y1 < y2 <= 1000


@pytest.mark.parametrize("category", CATEGORIES)
def test_questions_in_both_languages(category: str) -> None:
    asked = questions(category)
    assert len(set(asked)) == len(asked)
    assert sum(language(question) == "en" for question in asked) >= 8
    assert sum(language(question) == "zh" for question in asked) >= 5
    for question in asked:
        hits = {name: sum(word in question.lower() for word in words) for name, words in KEYWORDS.items()}
        assert max(hits, key=lambda name: hits[name]) == category, question


def test_each_category_has_its_questions_and_its_story() -> None:
    assert set(QUESTIONS) == set(STORIES) == set(KEYWORDS)
