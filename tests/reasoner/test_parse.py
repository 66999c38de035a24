"""What the scanner makes of real and hostile outputs: the table P1 to P24, and properties that hold for any text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.boxes import Box, from_model
from reasoner.parse import MAX_LENGTH, Parsed, parse
from reasoner.polarity import yes_or_no

Claims = list[tuple[str, list[tuple[float, ...]], float | None]]


def claims_of(parsed: Parsed) -> Claims:
    return [(c.object, [box.numbers for box in c.boxes], c.time_s) for c in parsed.claims]


CLAIM_ROWS: list[tuple[str, str, Claims]] = [
    ("P1", "<obj>woman</obj><box>[374,67,420,224]</box>at<t>9.2</t>s", [("woman", [(374, 67, 420, 224)], 9.2)]),
    (
        "P2",
        "<obj> woman </obj><box>[340, 75, 425, 230]</box>at<t>11.0</t>s",
        [("woman", [(340, 75, 425, 230)], 11.0)],
    ),
    (
        "P3",
        "<obj>man</obj><box>[10,20,110,220]</box><box>[300,25,390,230]</box>at<t>4.0</t>s",
        [("man", [(10, 20, 110, 220), (300, 25, 390, 230)], 4.0)],
    ),
    (
        "P4",
        "<obj>man</obj><box>[[10,20,110,220],[300,25,390,230]]</box>at<t>4.0</t>s",
        [("man", [(10, 20, 110, 220), (300, 25, 390, 230)], 4.0)],
    ),
    ("P5", "<obj>car</obj><box>[1,2,30,40]</box> at <t>3.5</t> s", [("car", [(1, 2, 30, 40)], 3.5)]),
    (
        "P6",
        "around <t>11.0</t>s, the <obj>woman</obj><box>[340,75,425,230]</box> is seen",
        [("woman", [(340, 75, 425, 230)], 11.0)],
    ),
    ("P7", "<obj>dog</obj><box>[3,4,50,60]</box>at<t>7.0</t>s, <t>8.5</t>s", [("dog", [(3, 4, 50, 60)], 7.0)]),
    ("P8", "<obj>x</obj><box>[3,4,50,60]</box>at<t>14:05</t>s", [("x", [(3, 4, 50, 60)], 845.0)]),
    ("P9a", "<obj>x</obj><box>[3,4,50,60]</box>at<t>12.3s</t>s", [("x", [(3, 4, 50, 60)], 12.3)]),
    ("P9b", "<obj>x</obj><box>[3,4,50,60]</box>at<t>10.0-15.0</t>s", [("x", [(3, 4, 50, 60)], 12.5)]),
    ("P10", "<obj>x</obj><box>[420,224,374,67]</box>at<t>1.0</t>s", [("x", [(374, 67, 420, 224)], 1.0)]),
    ("P11", "<obj>x</obj><box>[0.46,0.43,0.77,0.94]</box>at<t>1.0</t>s", [("x", [(0.46, 0.43, 0.77, 0.94)], 1.0)]),
    ("P12", "<obj>a</obj> walks <obj>b</obj><box>[1,2,3,4]</box>at<t>1.0</t>s", [("b", [(1, 2, 3, 4)], 1.0)]),
    (
        "P13",
        "<think>ok <obj>man</obj><box>[1,2,30,40]</box>at<t>2.0</t>s then <obj>ma",
        [("man", [(1, 2, 30, 40)], 2.0)],
    ),
    ("P14", "<t>1.2.3</t>s then <t>5.0</t>s", []),
    ("P15", "<obj>x</obj><box>[1,2,3,4,0.9]</box>at<t>1.0</t>s", []),
    (
        "P16",
        "<obj>红色汽车</obj><box>[320，200，450，280]</box>at<t>12.3</t>s",
        [("红色汽车", [(320, 200, 450, 280)], 12.3)],
    ),
    ("P17", '```json [{"bbox_2d":[139,768,315,954],"label":"cat"}] ```', [("cat", [(139, 768, 315, 954)], None)]),
    ("P23a", "<obj>x</obj><box>[-5,10,2000,90]</box>at<t>1.0</t>s", [("x", [(-5, 10, 2000, 90)], 1.0)]),
    ("P23b", "<obj>x</obj><box>[5,10,5,90]</box>at<t>1.0</t>s", []),
    ("P23c", "<obj>x</obj><box>[nan,10,200,90]</box>at<t>1.0</t>s", []),
    ("P24", "<obj>x</obj><box>[1,2,3,4]</box>at<t>-3</t>s", [("x", [(1, 2, 3, 4)], -3.0)]),
]


@pytest.mark.parametrize(("output", "expected"), [row[1:] for row in CLAIM_ROWS], ids=[row[0] for row in CLAIM_ROWS])
def test_claims(output: str, expected: Claims) -> None:
    assert claims_of(parse(output)) == expected


FLAG_ROWS = [
    ("P6", "around <t>1.0</t>s, the <obj>w</obj><box>[1,2,3,4]</box> is seen", {"time_inferred"}),
    ("P8", "<obj>x</obj><box>[3,4,50,60]</box>at<t>14:05</t>s", {"ambiguous_time", "out_of_range"}),
    ("P10", "<obj>x</obj><box>[420,224,374,67]</box>at<t>1.0</t>s", {"repaired_box"}),
    ("P17", '{"bbox_2d":[139,768,315,954],"label":"cat"}', {"no_time"}),
    ("P24 late", "<obj>x</obj><box>[1,2,3,4]</box>at<t>99</t>s", {"out_of_range"}),
    ("P24 negative", "<obj>x</obj><box>[1,2,3,4]</box>at<t>-3</t>s", {"out_of_range"}),
    ("box alone", "see <box>[1,2,3,4]</box>at<t>1</t>s", {"no_object"}),
]


@pytest.mark.parametrize(("output", "flags"), [row[1:] for row in FLAG_ROWS], ids=[row[0] for row in FLAG_ROWS])
def test_flags(output: str, flags: set[str]) -> None:
    assert set(parse(output, duration_s=10.0).claims[0].flags) == flags


def test_details_of_single_rows() -> None:
    assert parse("<obj>d</obj><box>[3,4,50,60]</box>at<t>7.0</t>s, <t>8.5</t>s").bare_times_s == (8.5,)
    assert parse("<obj>x</obj><box>[3,4,50,60]</box>at<t>14:05</t>s").claims[0].time_text == "14:05"
    assert parse("<obj>x</obj><box>[3,4,50,60]</box>at<t>10.0-15.0</t>s").claims[0].interval == (10.0, 15.0)
    assert parse("<obj>x</obj><box>[0.46,0.43,0.77,0.94]</box>").claims[0].boxes[0].hint == "norm01"
    assert parse("<obj>x</obj><box>[0,0,1,1]</box>").claims[0].boxes[0].hint is None
    assert parse("<obj>a</obj> walks <obj>b</obj><box>[1,2,3,4]</box>at<t>1.0</t>s").mentions == ("a",)
    cut = parse("<think>ok <obj>man</obj><box>[1,2,30,40]</box>at<t>2.0</t>s then <obj>ma")
    assert cut.truncated
    assert cut.answer is None
    bad = parse("<think>x</think><answer>y</answer>".replace("x", "<t>1.2.3</t>s then <t>5.0</t>s"))
    assert bad.bare_times_s == (5.0,)
    assert len(bad.errors) == 1
    five = parse("<think><obj>x</obj><box>[1,2,3,4,0.9]</box>at<t>1.0</t>s</think><answer>y</answer>")
    assert "5 numbers" in five.errors[0]
    kept = parse("<obj>x</obj><box>[-5,10,2000,90]</box>at<t>1.0</t>s").claims[0].boxes[0]
    assert from_model(kept.numbers, "rel1000") == Box(0.0, 0.01, 1.0, 0.09)


ANSWER_ROWS: list[tuple[str, str, list[tuple[float, float]]]] = [
    ("P18", "<answer>From <t>12.3</t>s to <t>15.6</t>s. There are 2 cars</answer>", [(12.3, 15.6)]),
    ("P19", "<answer>From 12.3s to 15.6s</answer>", [(12.3, 15.6)]),
    ("P20", "<answer>00:03:21-00:03:25</answer>", [(201.0, 205.0)]),
    ("P21", "<answer>From <t>5</t>s to <t>3</t>s</answer>", []),
    ("seed", "<answer>视频中12.3-15.6秒出现红色汽车。</answer>", [(12.3, 15.6)]),
    ("whole seconds", "<answer>10-15秒</answer>", [(10.0, 15.0)]),
    ("minutes", "<answer>第12分钟-15分钟</answer>", [(720.0, 900.0)]),
    ("clock", "<answer>00:15-00:20(产品特写)</answer>", [(15.0, 20.0)]),
    ("frame", "<answer>第15帧</answer>", []),
    ("no unit", "<answer>There are 2-3 cars.</answer>", []),
    ("bundled", "<answer>Yes. A bag is left behind from 1.5s to 5.5s.</answer>", [(1.5, 5.5)]),
]


@pytest.mark.parametrize(("output", "expected"), [row[1:] for row in ANSWER_ROWS], ids=[row[0] for row in ANSWER_ROWS])
def test_spans(output: str, expected: list[tuple[float, float]]) -> None:
    assert [span[:2] for span in parse(output).spans] == expected


def test_a_reversed_span_is_an_error() -> None:
    assert any("before it starts" in error for error in parse("<answer>From <t>5</t>s to <t>3</t>s</answer>").errors)


def test_the_last_whole_answer_after_the_thinking_counts() -> None:
    """P22."""
    assert parse("<think>a <answer>wrong</answer> b</think><answer>first</answer> <answer>second</answer>").answer == (
        "second"
    )
    assert parse("<think>a <answer>wrong</answer> b</think><answer>right</answer><answer>cut").answer == "right"
    assert parse("<think>a</think><answer>cut of").answer is None


def test_the_bundled_language() -> None:
    yes = parse(
        "<think>The <obj>person</obj><box>[200,110,305,480]</box>at<t>1.0</t>s leaves the "
        "<obj>bag</obj><box>[400,300,450,400]</box>at<t>4.0</t>s behind.</think>\n"
        "<answer>Yes. A bag is left behind from 1.5s to 5.5s.</answer>"
    )
    assert claims_of(yes) == [
        ("person", [(200, 110, 305, 480)], 1.0),
        ("bag", [(400, 300, 450, 400)], 4.0),
    ]
    assert yes.claims[0].text == "The person leaves the bag behind."
    assert (yes.yes, yes.errors, yes.truncated) == (True, (), False)
    no = parse(
        "<think>Nothing of the kind: a person picks the bag up again.</think>\n"
        "<answer>No. A person picks the bag up again.</answer>"
    )
    assert (no.yes, no.claims, no.errors, no.answer) == (False, (), (), "No. A person picks the bag up again.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes. It does.", True), ("yes", True), ("No, nothing.", False), ("Northbound traffic", None),
        ("Yesterday", None), ("是的,有人摔倒。", True), ("没有。", False), ("不是", False), ("有人", True), ("", None),
        ("A red car.", None), ("**Yes**", True), ("Yes or no", None), ("No/Yes.", None), ("Yes | No", None),
        ("Yes, no person", True), ("No order is seen", False), ("Yes. Nobody.", True), ("是否有人摔倒", None),
        ("有没有人", None), ("是/否", None), ("是不是摔倒", None), ("是。", True),
        ("有无人看管的行李。", True), ("有无人机闯入。", True), ("有无人员摔倒", None), ("有无异常", None),
        ("有/无人", None), ("是否定的。", False), ("是否定期巡逻", None), ("Yes and no one helps.", True),
        ("No or yes?", None), ("**Yes or no**\nA person falls.", None), ("Yes or no. Hard to say.", None),
        ("No and true to form.", False),
    ],
)  # fmt: skip
def test_yes_or_no(answer: str, expected: bool | None) -> None:
    assert yes_or_no(answer) is expected


TWICE: list[tuple[str, str, bool | None]] = [
    ("no, then yes", "<answer>No.</answer><answer>Yes.</answer>", None),
    ("yes, then no", "<think>a</think><answer>Yes. It falls.</answer>\n<answer>No. Nothing.</answer>", None),
    ("no between two that agree", "<answer>Yes</answer><answer>No</answer><answer>Yes</answer>", None),
    ("the other cut short", "<think>a</think><answer>No.</answer><answer>Yes. A per", None),
    ("the other with tags", "<answer>No.</answer><answer><obj></obj> Yes.</answer><answer>No.</answer>", None),
    ("around a thinking", "<answer>No.</answer><think>wait</think><answer>Yes.</answer>", None),
    ("in Chinese", "<answer>没有。</answer><answer>是的。</answer>", None),
    ("the same twice", "<think>a</think><answer>No.</answer><answer>No.</answer>", False),
    ("the same in two languages", "<answer>Yes. It falls.</answer><answer>是的，有人摔倒。</answer>", True),
    ("one says neither", "<answer>A red car.</answer><answer>Yes.</answer>", True),
    ("one in the thinking", "<think>say <answer>No</answer>?</think><answer>Yes.</answer>", True),
    ("one in a thinking opened before", "say <answer>No</answer>?</think><answer>Yes.</answer>", True),
    ("a thinking that is not closed", "<think>hm <answer>Yes.</answer>", True),
    ("taken back inside", "<answer>Yes. A person falls. No. Nothing happens.</answer>", None),
    ("taken back behind", "<think>a</think><answer>No. A person walks.</answer> Yes, a person falls.", None),
    ("taken back in a line", "<answer>Yes\nNo</answer>", None),
    ("taken back in Chinese", "<answer>是的，有人摔倒。不是，他坐下。</answer>", None),
    ("taken back without tags", "Yes. A person falls. No, he sits.", None),
    ("said again", "<answer>No. A person walks. No.</answer> No.", False),
    ("a no that is a word", "<answer>Yes. A person falls. No one helps. Not once.</answer>", True),
    ("a no that is asked for", "<answer>Yes. A person falls. Is anybody near? No.</answer>", True),
    ("a yes in the thinking", "<think>Is it a fall? Yes. No. Yes, it is.</think><answer>No. A walk.</answer>", False),
    ("words behind", "<answer>No.</answer> There is no fall.", False),
]


@pytest.mark.parametrize(("output", "yes"), [row[1:] for row in TWICE], ids=[row[0] for row in TWICE])
def test_what_says_yes_and_no_says_neither(output: str, yes: bool | None) -> None:
    parsed = parse(output)
    assert parsed.yes is yes
    assert parsed.answer is not None


PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "<obj>", "</obj>", "<box>", "</box>", "<t>", "</t>", "s", "at",
     "[1,2,3,4]", "[[1,2,3,4],", "]", "1.5", "-3", "nan", "1e999", "00:03:21", "-", " ", ".", "。", "，", "人", "\n",
     '{"bbox_2d":[1,2,3,4]', '"}', "{" * 30, "[" * 30, "9" * 40, "Yes", "< / t >", "\x00", "🚶"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=60).map("".join))
def test_any_text_is_parsed_and_offsets_hold(output: str) -> None:
    parsed = parse(output, 10.0)
    for claim in parsed.claims:
        start, end = claim.place
        assert 0 <= start < end <= len(output)
        assert output[start] in "<{＜"
        assert claim.boxes
        assert all(box.numbers[0] < box.numbers[2] and box.numbers[1] < box.numbers[3] for box in claim.boxes)
        assert (claim.time_s is None) == ("no_time" in claim.flags)
    for span in parsed.spans:
        assert span.start_s <= span.end_s
        assert parsed.answer is not None
        assert 0 <= span.place[0] <= span.place[1] <= len(parsed.answer)


@pytest.mark.parametrize(
    "unit",
    ["<obj>", "<box>[1,2,3,4]</box>", "<obj>a</obj><box>[1,2,3,4]</box>at<t>1</t>s ", "<t>", "<answer>", "1-2s ",
     "\n ", "No. ", "<think></think>",
     '{"bbox_2d":', '{"bbox_2d":[1,2,3,4],"label":"', "<", "at ", "[", "1", "12:34 - ", "<t>1-1-1-1</t>"],
)  # fmt: skip
def test_time_grows_no_faster_than_the_output(unit: str) -> None:
    def seconds(length: int) -> float:
        output = "<think>" + unit * (length // len(unit))
        best = min(_timed(output) for _ in range(3))
        return max(best, 0.002)

    # Eight times the text; quadratic work would take 64 times as long.
    assert seconds(MAX_LENGTH) < 24 * seconds(MAX_LENGTH // 8)


def _timed(output: str) -> float:
    started = time.process_time()
    parse(output)
    return time.process_time() - started


def test_length_is_bounded() -> None:
    parsed = parse("<answer>Yes" + "a" * (2 * MAX_LENGTH) + "</answer>")
    assert parsed.truncated
    assert parsed.answer is None


def test_numbers_of_claims_are_bounded() -> None:
    parsed: Any = parse("<obj>a</obj><box>[1,2,3,4]</box>at<t>1</t>s " * 500)
    assert len(parsed.claims) == 64
    assert any("500 claims" in error for error in parsed.errors)
