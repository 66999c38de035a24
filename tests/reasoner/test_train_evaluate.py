"""Outputs are held against the truth of their rows by hand-made examples."""

from __future__ import annotations

import msgspec
import pytest

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
        (yes(time="2.5"), (0.0,), 0.3),  # no time of the row
        (yes(label="bag"), (0.0,), 0.3),
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
