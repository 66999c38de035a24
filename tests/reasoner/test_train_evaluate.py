"""Outputs are held against the truth of their rows by hand-made examples."""

from __future__ import annotations

import random

import msgspec
import pytest

from reasoner.boxes import Box
from reasoner.grade import grade, read
from reasoner.train.clip_exercises import truth_of
from reasoner.train.evaluate import Outcome, graded, summary
from reasoner.train.row import Row, Thing

PERSON = Thing(label="person", box=(0.2, 0.2, 0.4, 0.6), actor=True, visible=1.0)
FALL = Row(
    groups=5, times=(0.0, 1.0, 2.0, 3.0, 4.0), category="fall", question="Does somebody fall?", answer=True,
    kind="fall", start=1.2, end=4.0, objects=((PERSON,),) * 5, split="val",
)  # fmt: skip
WALK = msgspec.structs.replace(FALL, answer=False, kind="walking", start=None, end=None)


def yes(box: str = "200,200,400,600", time: str = "2.0", span: str = "from 1.5s to 4.0s", label: str = "person") -> str:
    return (
        f"<think>The <obj>{label}</obj><box>[{box}]</box>at<t>{time}</t>s falls.</think>\n"
        f"<answer>Yes. A person falls {span}.</answer>"
    )


NO = "<think>Nothing of the kind: people walk by.</think>\n<answer>No. People walk by.</answer>"


@pytest.mark.parametrize(
    ("output", "ious", "onset"),
    [
        (yes(), (1.0,), 0.3),
        (yes(box="200,200,300,600"), (0.5,), 0.3),
        (yes(box="600,600,700,700"), (0.0,), 0.3),
        (yes(time="2.9"), (1.0,), 0.3),  # within the gate of a moment
        (yes(time="5.5"), (0.0,), 0.3),
        (yes(label="bag"), (1.0,), 0.3),  # there is no bag: a box of another name is held against what is left
        (yes(span="from 3.5s to 4.0s"), (1.0,), 2.3),
        (yes(span="indeed"), (1.0,), None),
        (NO, (), None),
        ("<think>The <obj>per", (), None),
    ],
)
def test_one_output(output: str, ious: tuple[float, ...], onset: float | None) -> None:
    outcome = graded(FALL, output, 0.9, 0.1)
    assert outcome.said is ("Yes" in output)
    assert outcome.ious == pytest.approx(ious)
    assert outcome.onset_error_s == pytest.approx(onset)


def test_the_figures_are_those_of_the_reward() -> None:
    """Property: whatever is claimed, boxes and onset are what `reasoner.grade` says; where names and times are a row's
    own, as a trained model writes them, they are the overlap with the claimed actor and nothing else."""
    draw = random.Random(5)
    bag = Thing(label="bag", box=(0.5, 0.5, 0.6, 0.6), actor=True, visible=1.0)
    row = msgspec.structs.replace(FALL, objects=((PERSON, bag),) * 5)
    for _ in range(300):
        own = draw.random() < 0.5
        claims, expected = [], []
        for thing in draw.sample((PERSON, bag), draw.randint(1, 2)):
            x, y = (draw.randint(-30, 30) / 1000 for _ in "xy")
            box = Box(thing.box[0] + x, thing.box[1] + y, thing.box[2] + x, thing.box[3] + y)
            time_s = float(draw.randint(1, 4)) if own else draw.randint(0, 60) / 10
            label = thing.label if own else draw.choice(("person", "bag", "dog"))
            numbers = ",".join(f"{1000 * value:.0f}" for value in (box.x1, box.y1, box.x2, box.y2))
            claims.append(f"<obj>{label}</obj><box>[{numbers}]</box>at<t>{time_s}</t>s")
            expected.append(box.iou(Box(*thing.box)))
        start_s = draw.randint(0, 30) / 10
        text = f"<think>{' and '.join(claims)}</think>\n<answer>Yes. From {start_s}s to 4.0s.</answer>"
        outcome, scores = graded(row, text, 0.9, 0.1), grade(read(text), truth_of(row))
        assert sum(outcome.ious) / len(claims) == pytest.approx(scores.box_iou)
        assert outcome.onset_error_s == scores.onset_error_s == pytest.approx(abs(start_s - 1.2))
        if own:
            assert outcome.ious == pytest.approx(expected, abs=1e-6)


def test_a_wrong_yes_has_no_boxes_to_grade() -> None:
    outcome = graded(WALK, yes(), 0.6, 0.1)
    assert (outcome.said, outcome.ious, outcome.onset_error_s) == (True, (), None)


def test_the_summary_of_four() -> None:
    outcomes: list[Outcome] = [
        graded(FALL, yes(), 0.9, 0.2),
        graded(FALL, NO, 0.1, 0.1),
        graded(WALK, yes(), 0.55, 0.2),
        graded(WALK, NO, 0.2, 0.1),
    ]
    figures = summary(outcomes)
    assert (figures["accuracy"], figures["precision"], figures["recall"]) == (0.5, 0.5, 0.5)
    assert (figures["box_iou"], figures["onset_within_1s"]) == pytest.approx((1.0, 1.0))
    assert figures["seconds_per_window"] == pytest.approx(0.15)
    assert figures["false_by_kind"] == {"walking": 1}
    assert figures["points"]["0.7"] == {"accuracy": 0.75, "precision": 1.0, "recall": 0.5}
    assert summary([])["accuracy"] is None
