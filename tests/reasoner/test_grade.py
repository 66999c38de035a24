"""One definition of right, as a table."""

from __future__ import annotations

import ast
import math
import random
from pathlib import Path

import pytest

from reasoner import rewards
from reasoner.boxes import Box
from reasoner.grade import Claimed, TrueObject, Truth, box_score, grade, span_iou, time_closeness

MAN, BAG = Box(0.1, 0.1, 0.3, 0.5), Box(0.6, 0.6, 0.7, 0.7)
TRUTH = Truth(
    yes=True,
    span=(2.0, 6.0),
    objects=(
        TrueObject(label="person", time_s=2.0, box=MAN),
        TrueObject(label="bag", time_s=2.0, box=BAG),
        TrueObject(label="bag", time_s=5.0, box=BAG),
    ),
)


def said(
    *objects: tuple[str, float, Box], yes: bool | None = True, span: tuple[float, float] | None = (2.0, 6.0)
) -> Claimed:
    return Claimed(yes=yes, span=span, objects=tuple(TrueObject(label=a, time_s=t, box=b) for a, t, b in objects))


@pytest.mark.parametrize(
    ("claimed", "answer", "time", "box", "joint"),
    [
        (said(("person", 2.0, MAN), ("bag", 5.0, BAG)), 1.0, 1.0, 1.0, 1.0),
        (said(("person", 2.9, MAN)), 1.0, 1.0, 1.0, 1.0),
        (said(("person", 3.1, MAN)), 1.0, 0.0, 0.0, 0.0),
        (said(("person", 0.9, MAN)), 1.0, 0.0, 0.0, 0.0),
        (said(("person", 2.0, BAG)), 1.0, 1.0, 1.0, 1.0),
        (said(("person", 2.0, Box(0.0, 0.0, 1.0, 1.0))), 1.0, 1.0, 0.08, 0.0),
        (said(("person", 2.0, MAN), ("person", 2.0, MAN)), 1.0, 1.0, 0.5, 1.0),
        (said(), 1.0, 0.0, 0.0, 0.0),
        (said(("person", 2.0, MAN), yes=False), 0.0, 1.0, 1.0, 0.0),
        (said(("person", 2.0, MAN), yes=None), 0.0, 1.0, 1.0, 0.0),
    ],
    ids=["all right", "within 1 s", "late", "early", "other label", "whole frame", "twice the same", "no claim",
         "wrong answer", "no answer"],
)  # fmt: skip
def test_scores(claimed: Claimed, answer: float, time: float, box: float, joint: float) -> None:
    scores = grade(claimed, TRUTH)
    assert (scores.answer, scores.time, scores.joint) == (answer, time, joint)
    assert scores.box_iou == pytest.approx(box, abs=0.005)


def test_training_and_measuring_count_boxes_alike() -> None:
    """Property: the score of an answer is the term that it was rewarded by, whatever is claimed in whatever order."""
    draw = random.Random(2)
    for _ in range(200):
        claims = [
            (
                draw.choice(["person", "bag", "man"]),
                draw.uniform(0.5, 6.5),
                draw.choice([MAN, BAG, Box(0.1, 0.1, 0.7, 0.7)]),
            )
            for _ in range(draw.randint(0, 5))
        ]
        claimed = said(*claims)
        score = box_score(claimed.objects, TRUTH.objects)
        assert score is not None and score == rewards.box_iou(claimed, TRUTH)
        assert grade(claimed, TRUTH).box_iou == score
        assert box_score(claimed.objects[::-1], TRUTH.objects) == pytest.approx(score)


def test_benchmarks_take_what_is_right_from_here() -> None:
    """No other door: what measures must not drift from what rewards."""
    behind = {f"reasoner.{name}" for name in ("measure", "rewards", "reward_table", "rouge", "truth")}
    files = sorted((Path(__file__).parents[2] / "bench").rglob("*.py"))
    assert files
    for file in files:
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        taken = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not taken & behind, file


def test_a_true_no_is_judged_by_its_answer_alone() -> None:
    assert grade(said(yes=False, span=None), Truth(yes=False)).joint == 1.0
    assert grade(said(("person", 1.0, MAN)), Truth(yes=False)).joint == 0.0


def test_onset_and_span() -> None:
    scores = grade(said(span=(3.0, 6.0)), TRUTH)
    assert scores.onset_error_s == 1.0
    assert scores.span_iou == pytest.approx(0.75)
    assert grade(said(span=None), TRUTH).span_iou == 0.0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 1), (0, 1), 1.0),
        ((0, 1), (1, 2), 0.0),
        ((0, 2), (1, 3), 1 / 3),
        ((5, 3), (3, 5), 0.0),
        ((2, 2), (2, 2), 1.0),
    ],
)
def test_span_iou(a: tuple[float, float], b: tuple[float, float], expected: float) -> None:
    assert span_iou(a, b) == pytest.approx(expected)


def test_closeness_counts_both_sides() -> None:
    assert time_closeness(3.0, [2.0], 1.0) == time_closeness(1.0, [2.0], 1.0) == pytest.approx(math.exp(-0.5))
    assert time_closeness(1.0, [], 1.0) == 0.0
