"""What answers earn, as tables: both reward tables, the measures below them, and the table in configuration."""

from __future__ import annotations

import itertools
import math
import random

import msgspec
import pytest

from reasoner import rewards
from reasoner.boxes import WHOLE, Box
from reasoner.grade import EVIDENCE, Claimed, RewardTable, TrueObject, Truth, coverage, evenness, read, rouge
from reasoner.measure import assigned, matched
from reasoner.reward_table import PUBLISHED, SEVEN
from reasoner.rouge import rouge_l, rouge_n, words

MAN = Box(0.2, 0.2, 0.4, 0.6)
TRUTH = Truth(yes=True, span=(9.0, 15.0), objects=(TrueObject(label="person", time_s=10.0, box=MAN),), duration_s=20.0)
NO = Truth(yes=False, duration_s=20.0)


def said(*objects: tuple[str, float, Box], yes: bool | None = True, **more: object) -> Claimed:
    claims = tuple(TrueObject(label=label, time_s=time_s, box=box) for label, time_s, box in objects)
    given = {"times_s": tuple(item.time_s for item in claims)} | more
    return Claimed(yes=yes, objects=claims, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("off_s", "points"),
    [(0.0, 1.5), (0.5, 1.5), (1.0, 1.5), (1.1, 0.5), (3.0, 0.5), (3.1, -1.0), (60.0, -1.0)],
)
@pytest.mark.parametrize("side", [-1, 1], ids=["early", "late"])
def test_time_points_count_both_sides(off_s: float, points: float, side: int) -> None:
    assert rewards.time_points(said(("person", 10.0 + side * off_s, MAN)), TRUTH) == points


@pytest.mark.parametrize(
    ("claimed", "time", "covered"),
    [
        (said(), -1.0, -0.5),
        (said(unbound=1), -1.0, -0.5),
        (said(("person", 10.0, MAN), unbound=1), 0.25, 0.25),
        (said(("person", 10.0, MAN), ("person", 14.0, MAN)), 0.25, 0.25),
        (said(("bag", 10.0, MAN)), 1.5, 1.0),
    ],
    ids=["no claim", "nothing usable", "one of two usable", "one of two late", "other name, only truth there is"],
)
def test_claims_are_averaged(claimed: Claimed, time: float, covered: float) -> None:
    assert rewards.time_points(claimed, TRUTH) == pytest.approx(time)
    assert rewards.coverage_points(claimed, TRUTH) == pytest.approx(covered)


HAT, DOG = Box(0.2, 0.1, 0.3, 0.2), Box(0.6, 0.4, 0.9, 0.7)
CROWD = msgspec.structs.replace(
    TRUTH,
    objects=(
        *TRUTH.objects,
        TrueObject(label="dog", time_s=10.0, box=DOG),
        TrueObject(label="person", time_s=12.0, box=HAT),
    ),
)


@pytest.mark.parametrize(
    ("claimed", "iou", "covered"),
    [
        (said(("person", 10.0, MAN), ("dog", 10.0, DOG)), 1.0, 1.0),
        (said(("dog", 10.0, DOG), ("person", 10.0, MAN)), 1.0, 1.0),
        (said(("person", 10.0, MAN), ("person", 10.0, MAN)), 0.5, 0.25),
        (said(("person", 10.0, MAN), ("dog", 10.0, MAN)), 0.5, 0.25),
        (said(("person", 10.0, MAN), ("person", 9.8, MAN), ("person", 10.3, MAN)), 1 / 3, 0.0),
        (said(("person", 10.0, MAN), ("person", 12.0, HAT)), 1.0, 1.0),
        (said(("man", 10.0, MAN)), 1.0, 1.0),
    ],
    ids=["each its own", "other order", "copied", "copied under another name", "copied near by", "two moments",
         "a name that is not known"],
)  # fmt: skip
def test_a_true_box_pays_one_claim(claimed: Claimed, iou: float, covered: float) -> None:
    assert rewards.box_iou(claimed, CROWD) == pytest.approx(iou)
    assert rewards.coverage_points(claimed, CROWD) == pytest.approx(covered)


def test_copies_never_pay_more_than_one_box() -> None:
    """Property: n copies of any claim, under any names and at any times near one moment, share what one earns."""
    draw = random.Random(7)
    for _ in range(200):
        box = Box(draw.uniform(0, 0.5), draw.uniform(0, 0.4), draw.uniform(0.51, 0.79), draw.uniform(0.41, 0.79))
        copies = [(draw.choice(["person", "dog", "cat"]), 10.0 + draw.uniform(-0.9, 0.9), box) for _ in range(4)]
        best = max(box.iou(known.box) for known in CROWD.objects)
        earned = rewards.box_iou(said(*copies), msgspec.structs.replace(CROWD, objects=CROWD.objects[:1]))
        assert earned is not None and earned == pytest.approx(box.iou(MAN) / 4)
        shared = rewards.box_iou(said(*copies), CROWD)
        assert shared is not None and shared <= 3 * best / 4


def test_own_names_are_matched_first_and_then_the_most_of_iou() -> None:
    both, half = Box(0.2, 0.2, 0.4, 0.6), Box(0.2, 0.2, 0.4, 0.4)
    truth = [TrueObject(label="person", time_s=1.0, box=both), TrueObject(label="bag", time_s=1.0, box=half)]
    claims = [TrueObject(label="bag", time_s=1.0, box=both), TrueObject(label="person", time_s=1.0, box=half)]
    assert matched(claims, truth) == [half, both]
    # By the largest IoU first, or one claim after the other, it is 0.82 + 0.43; this way round 0.74 + 0.74.
    people = [TrueObject(label="person", time_s=1.0, box=Box(x, 0.1, x + 0.4, 0.2)) for x in (0.24, 0.14)]
    said_of = [TrueObject(label="person", time_s=1.0, box=Box(x, 0.1, x + 0.4, 0.2)) for x in (0.2, 0.3)]
    assert matched(said_of, people) == [people[1].box, people[0].box]


def test_assignment_is_the_best_there_is() -> None:
    """Property, against every permutation."""
    draw = random.Random(1)
    for _ in range(300):
        rows, columns = draw.randint(1, 5), draw.randint(1, 5)
        worth = [[draw.choice([0.0, 0.0, draw.random()]) for _ in range(columns)] for _ in range(rows)]
        size = max(rows, columns)
        square = [[worth[i][j] if i < rows and j < columns else 0.0 for j in range(size)] for i in range(size)]
        best = max(sum(square[i][j] for i, j in enumerate(order)) for order in itertools.permutations(range(size)))
        pairs = assigned(worth)
        assert sum(worth[i][j] for i, j in pairs) == pytest.approx(best)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert assigned([]) == assigned([[], []]) == assigned([[0.0]]) == []


def test_a_claim_is_held_against_its_own_object() -> None:
    bag = TrueObject(label="bag", time_s=4.0, box=Box(0.7, 0.7, 0.8, 0.8))
    truth = msgspec.structs.replace(TRUTH, objects=(*TRUTH.objects, bag))
    assert rewards.time_points(said(("bag", 10.0, MAN)), truth) == -1.0
    assert rewards.time_points(said(("bag", 4.0, bag.box)), truth) == 1.5


@pytest.mark.parametrize(
    ("box", "points"),
    [
        (MAN, 1.0),
        (Box(0.2, 0.2, 0.4, 0.565), 1.0),
        (Box(0.2, 0.2, 0.4, 0.555), 0.3),
        (Box(0.2, 0.2, 0.4, 0.405), 0.3),
        (Box(0.2, 0.2, 0.4, 0.395), -0.5),
        (Box(0.6, 0.2, 0.8, 0.6), -0.5),
        (Box(0.18, 0.15, 0.42, 0.65), 1.0),
        (Box(0.1, 0.1, 0.5, 0.7), -0.5),
        (WHOLE, -0.5),
    ],
    ids=["exact", "91 %", "89 %", "51 %", "49 %", "beside", "1.5 times as large", "3 times as large", "whole frame"],
)  # fmt: skip
def test_coverage_points(box: Box, points: float) -> None:
    assert rewards.coverage_points(said(("person", 10.0, box)), TRUTH) == points


def test_a_full_frame_box_earns_nothing_whatever_the_truth() -> None:
    """Not even of an object that fills the picture, and never more than an honest miss."""
    large = msgspec.structs.replace(TRUTH, objects=(TrueObject(label="person", time_s=10.0, box=Box(0, 0, 1, 0.9)),))
    honest = rewards.coverage_points(said(("person", 10.0, Box(0.6, 0.2, 0.8, 0.6))), TRUTH)
    for truth in (TRUTH, large):
        points = rewards.coverage_points(said(("person", 10.0, WHOLE)), truth, area_cap=100.0)
        assert points is not None and honest is not None
        assert points <= 0
        assert points <= honest


def test_growing_a_box_past_the_cap_never_pays() -> None:
    """Property over random true boxes: beyond the cap, coverage of any share counts as none."""
    draw = random.Random(3)
    for _ in range(200):
        x, y, w, h = draw.uniform(0.3, 0.5), draw.uniform(0.3, 0.5), draw.uniform(0.02, 0.2), draw.uniform(0.02, 0.2)
        true = Box(x, y, x + w, y + h)
        grown = Box(x - w / 4, y - h / 4, x + w * 1.25, y + h * 1.25)
        truth = msgspec.structs.replace(TRUTH, objects=(TrueObject(label="person", time_s=10.0, box=true),))
        assert coverage(grown, true) == pytest.approx(1.0)
        assert rewards.coverage_points(said(("person", 10.0, grown)), truth, area_cap=2.2) == -0.5
        assert rewards.coverage_points(said(("person", 10.0, grown)), truth, area_cap=2.3) == 1.0


def test_evidence_for_what_did_not_happen_is_far_from_everything() -> None:
    claimed = said(("person", 10.0, MAN))
    assert (rewards.time_points(claimed, NO), rewards.coverage_points(claimed, NO)) == (-1.0, -0.5)
    silent = said(yes=False)
    assert (rewards.time_points(silent, NO), rewards.coverage_points(silent, NO)) == (None, None)


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ((), 0.0),
        ((50.0,), 0.0),
        ((25.0, 75.0), 0.5),
        ((12.5, 37.5, 62.5, 87.5), 0.75),
        ((1.0, 2.0, 3.0, 4.0), 0.0),
        ((96.0, 97.0, 98.0, 99.0), 0.0),
        ((25.0, 75.0, 150.0, 200.0), 0.25),
    ],
    ids=["none", "one", "two", "four", "crowded early", "crowded late", "half of them outside"],
)
def test_evenness(times_s: tuple[float, ...], expected: float) -> None:
    assert evenness(times_s, (0.0, 100.0)) == pytest.approx(expected)
    assert evenness([t + 40 for t in times_s], (40.0, 140.0)) == pytest.approx(expected)
    assert evenness([100 - t for t in times_s], (0.0, 100.0)) == pytest.approx(expected)


def test_evenly_spread_times_beat_others() -> None:
    """Property: no random set of times is more even than the even one."""
    draw = random.Random(5)
    for count in (2, 3, 5, 8):
        best = evenness([(i + 0.5) / count for i in range(count)], (0.0, 1.0))
        assert best == pytest.approx(1 - 1 / count)
        assert all(evenness([draw.random() for _ in range(count)], (0.0, 1.0)) <= best for _ in range(100))


@pytest.mark.parametrize(("duration_s", "applies"), [(None, False), (60.0, False), (60.1, True), (600.0, True)])
def test_spread_is_for_long_videos(duration_s: float | None, applies: bool) -> None:
    truth = Truth(yes=True, span=(0.0, 50.0), duration_s=duration_s)
    points = rewards.spread(said(times_s=(12.5, 37.5)), truth)
    assert points == (pytest.approx(0.5) if applies else None)
    assert rewards.spread(said(times_s=(12.5, 37.5)), NO) is None


@pytest.mark.parametrize(("off_s", "points"), [(0.0, 1.5), (1.0, 1.5), (2.9, 0.5), (3.1, -1.0), (30.0, -1.0)])
def test_moments_without_places_are_graded_by_their_times(off_s: float, points: float) -> None:
    truth = Truth(moments_s=(8.0, 70.0), duration_s=90.0, answer="It waves.", task="temporal-spatial free-form QA")
    claimed = said(times_s=(8.0 - off_s, 70.0))
    assert rewards.time_points(claimed, truth) == pytest.approx((points + 1.5) / 2)
    assert rewards.closeness(claimed, truth, 1.0) == pytest.approx((math.exp(-(off_s**2) / 2) + 1) / 2)
    assert rewards.time_points(said(), truth) == -1.0 and rewards.span(claimed, truth) is None
    assert rewards.time_points(claimed, msgspec.structs.replace(truth, yes=False, moments_s=())) is None


@pytest.mark.parametrize(("moments_s", "applies"), [((8.0,), False), ((8.0, 70.0), True)])
def test_spread_over_known_moments_where_no_span_is_told(moments_s: tuple[float, ...], applies: bool) -> None:
    known = tuple(TrueObject(label="man", time_s=time_s, box=WHOLE) for time_s in moments_s)
    for truth in (Truth(objects=known, duration_s=90.0), Truth(moments_s=moments_s, duration_s=90.0)):
        found = rewards.spread(said(times_s=(23.5, 54.5)), truth)
        assert found == (pytest.approx(0.5) if applies else None)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 4.0), (0.25, 3.0), (0.5, 2.0), (0.74, 1.04), (0.75, 1.0), (1.0, 1.0)]
)
def test_sigma_narrows_from_four_to_one(progress: float, expected: float) -> None:
    assert rewards.sigma(progress) == pytest.approx(expected)


@pytest.mark.parametrize(("start_s", "end_s"), [(4.0, 1.0), (4.0, 2.0), (3.0, 0.5), (2.0, 2.0), (1.0, 3.0)])
def test_sigma_never_widens_nor_passes_its_end(start_s: float, end_s: float) -> None:
    course = [rewards.sigma(step / 100, start_s, end_s) for step in range(101)]
    assert course == sorted(course, reverse=True)
    assert course[0] == max(start_s, end_s)
    assert min(course) == course[-1] == end_s


@pytest.mark.parametrize("side", [-1, 1])
def test_closeness_gets_stricter(side: int) -> None:
    claimed = said(times_s=(10.0 + 2 * side,))
    early = rewards.closeness(claimed, TRUTH, rewards.sigma(0.0))
    late = rewards.closeness(claimed, TRUTH, rewards.sigma(1.0))
    assert early == pytest.approx(math.exp(-4 / 32))
    assert late == pytest.approx(math.exp(-2))
    assert rewards.closeness(said(), TRUTH, 1.0) == 0.0
    assert rewards.closeness(claimed, NO, 1.0) is None


@pytest.mark.parametrize(
    ("time_s", "gate_s", "iou"),
    [(10.0, 1.0, 1.0), (11.0, 1.0, 1.0), (11.1, 1.0, 0.0), (8.9, 1.0, 0.0), (100.0, 1.0, 0.0), (12.9, 3.0, 1.0),
     (7.1, 3.0, 1.0), (13.1, 3.0, 0.0)],
)  # fmt: skip
def test_the_gate_of_the_iou_is_absolute(time_s: float, gate_s: float, iou: float) -> None:
    """The released code lets every claim pass that is later than the truth."""
    assert rewards.box_iou(said(("person", time_s, MAN)), TRUTH, gate_s) == iou


def test_iou_of_a_whole_frame_is_small() -> None:
    assert rewards.box_iou(said(("person", 10.0, WHOLE)), TRUTH) == pytest.approx(MAN.area)
    assert rewards.box_iou(said(), TRUTH) == 0.0
    assert rewards.box_iou(said(("person", 10.0, MAN), unbound=1), TRUTH) == 0.5


@pytest.mark.parametrize(
    ("span", "iou"), [(None, 0.0), ((9.0, 15.0), 1.0), ((12.0, 15.0), 0.5), ((15.0, 9.0), 0.0), ((30.0, 40.0), 0.0)]
)
def test_span(span: tuple[float, float] | None, iou: float) -> None:
    assert rewards.span(said(span=span), TRUTH) == iou
    assert rewards.span(said(span=span), NO) is None


def test_times_inside() -> None:
    assert rewards.inside(said(times_s=(8.9, 9.0, 15.0, 15.1)), TRUTH) == 0.5
    assert rewards.inside(said(), TRUTH) == 0.0
    assert rewards.inside(said(), NO) is None


CHOICE = Truth(task="General video QA MCQ", answer="B")


@pytest.mark.parametrize(
    ("text", "truth", "points"),
    [
        ("B", CHOICE, 1.0),
        ("B.", CHOICE, 1.0),
        ("(b) the man leaves", CHOICE, 1.0),
        ("[B]", CHOICE, 1.0),
        ("Bag", CHOICE, 0.0),
        ("A", CHOICE, 0.0),
        (None, CHOICE, 0.0),
        (
            "From 1s to 2s.\nCorrect Option: B",
            Truth(task="temporal QA (MCQ)", answer="From <t>3</t>s to <t>4</t>s.\nCorrect Option: B"),
            1.0,
        ),
        ("From 1s to 2s.", Truth(task="temporal QA", answer="From 1s to 2s."), None),
        ("a man leaves a bag", Truth(task="General video QA Free-form", answer="a man leaves a bag"), 1.0),
        ("nothing", Truth(task="General video QA Free-form", answer="a man leaves a bag"), 0.0),
    ],
)
def test_answers_of_every_kind(text: str | None, truth: Truth, points: float | None) -> None:
    assert rewards.answer(said(yes=None, answer=text), truth) == points


@pytest.mark.parametrize(
    ("yes", "truth", "points"), [(True, TRUTH, 1.0), (False, TRUTH, 0.0), (None, TRUTH, 0.0), (False, NO, 1.0)]
)
def test_yes_and_no(yes: bool | None, truth: Truth, points: float) -> None:
    assert rewards.answer(said(yes=yes), truth) == points


def test_answer_box() -> None:
    truth = Truth(task="visual QA", answer_box=MAN)
    assert rewards.answer_box(said(yes=None, answer_box=MAN), truth) == 1.0
    assert rewards.answer_box(said(yes=None), truth) == 0.0
    assert rewards.answer_box(said(yes=None), TRUTH) is None


CLAIM = "<obj>person</obj><box>[200,200,400,600]</box>at<t>10.0</t>s"


@pytest.mark.parametrize(
    ("output", "truth", "points"),
    [
        (f"<think>The {CLAIM} falls.</think>\n<answer>Yes. It falls.</answer>", TRUTH, 1.0),
        ("<think>It falls.</think>\n<answer>Yes. It falls.</answer>", TRUTH, 0.5),
        ("<think>Nothing.</think>\n<answer>No.</answer>", TRUTH, 1.0),
        ("<think>Nothing.</think>\n<answer>No.", TRUTH, 0.0),
        ("<answer>No.</answer>", TRUTH, 0.0),
        ("<think>Nothing.</think><think>x</think><answer>No.</answer>", TRUTH, 0.0),
        (f"<think>The {CLAIM} and <obj>bag falls.</think>\n<answer>Yes.</answer>", TRUTH, 0.0),
        ("<think>so</think><answer>B</answer>", CHOICE, 1.0),
        ("<think>so</think><answer>soon</answer>", Truth(task="temporal QA"), 0.5),
        ("<think>so</think><answer>From <t>1</t>s to <t>2</t>s</answer>", Truth(task="temporal QA"), 1.0),
        ("<think>so</think><answer>there</answer>", Truth(task="visual QA"), 0.5),
        ("<think>so</think><answer><obj>a</obj><box>[1,2,30,40]</box></answer>", Truth(task="visual QA"), 1.0),
    ],
)
def test_form(output: str, truth: Truth, points: float) -> None:
    assert rewards.form(read(output), truth) == points


def test_reading_keeps_thinking_and_answer_apart() -> None:
    claimed = read(
        f"<think>At <t>9.0</t>s nothing. Then the {CLAIM}, the <obj>bag</obj><box>[5,5,5,5]</box>at<t>11.0</t>s."
        "</think>\n<answer>Yes. Here <obj>bag</obj><box>[500,500,600,600]</box>, from 9.0s to 15.0s.</answer>"
    )
    assert claimed.yes is True
    assert claimed.objects == (TrueObject(label="person", time_s=10.0, box=MAN),)
    assert claimed.answer_box == Box(0.5, 0.5, 0.6, 0.6)
    assert claimed.span == (9.0, 15.0)
    assert {9.0, 10.0} <= set(claimed.times_s)


def test_reading_in_pixels() -> None:
    text = "<think><obj>car</obj><box>[32,18,64,36]</box>at<t>1.0</t>s</think><answer>Yes.</answer>"
    assert read(text, "pixels", (320, 180)).objects[0].box == Box(0.1, 0.1, 0.2, 0.2)


@pytest.mark.parametrize(
    ("text", "reference", "n", "f"),
    [
        ("the cat sat", "the cat sat", 1, 1.0),
        ("the cat", "the cat sat", 1, 0.8),
        ("the the the", "the cat", 1, 0.4),
        ("cat the", "the cat", 2, 0.0),
        ("the cat sat", "the cat ran", 2, 0.5),
        ("", "the cat", 1, 0.0),
        ("a", "a", 2, 0.0),
    ],
)
def test_rouge_n(text: str, reference: str, n: int, f: float) -> None:
    assert rouge_n(words(text), words(reference), n) == pytest.approx(f)


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    """The example of Lin 2004, section 3.1."""
    true = words("police killed the gunman")
    assert rouge_l(words("police kill the gunman"), true) == pytest.approx(0.75)
    assert rouge_l(words("the gunman kill police"), true) == pytest.approx(0.5)


def test_rouge_reads_chinese_by_character() -> None:
    assert words("有人 Falls, 3 times。") == ["有", "人", "falls", "3", "times"]
    assert 0 < rouge("有人摔倒", "有人倒下") < rouge("有人摔倒", "有人摔倒") == 1.0


def test_the_table_weighs_and_switches_off() -> None:
    table = RewardTable(time_points=2.0, coverage_points=0.0, span=0.0, answer=1.0, box_iou=0.5, form=0.0, spread=0.0)
    assert table.weights() == {"time_points": 2.0, "answer": 1.0, "box_iou": 0.5}
    assert table.points(said(("person", 10.0, MAN)), TRUTH) == {"time_points": 3.0, "answer": 1.0, "box_iou": 0.5}
    assert table.points(said(yes=False), NO) == {"answer": 1.0}


def test_the_table_follows_progress_and_its_settings() -> None:
    off = dict.fromkeys((*PUBLISHED, *SEVEN), 0.0) | {"closeness": 1.0}
    table = msgspec.convert(off, RewardTable)
    late = said(times_s=(12.0,))
    assert table.points(late, TRUTH, 0.0)["closeness"] > table.points(late, TRUTH, 0.5)["closeness"] > 0.3
    capped = msgspec.convert(off | {"closeness": 0.0, "coverage_points": 1.0, "area_cap": 4.0}, RewardTable)
    assert capped.points(said(("person", 10.0, Box(0.1, 0.1, 0.5, 0.7))), TRUTH) == {"coverage_points": 1.0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict.fromkeys((*PUBLISHED, *SEVEN), 0.0), "weight 0"),
        ({"answer": -1.0}, ">= 0"),
        ({"area_cap": 0.5}, ">= 1"),
        ({"coverage": 1.0}, "unknown field"),
    ],
)
def test_a_table_that_cannot_be(changes: dict[str, float], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(changes, RewardTable)


def test_every_term_is_either_evidence_or_not() -> None:
    assert set(EVIDENCE) | {"answer", "form"} == set(PUBLISHED) | set(SEVEN)
    assert len(SEVEN) == 7
