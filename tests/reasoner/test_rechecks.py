"""The model asked again: about the cited crops alone, and about the picture without them."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Sequence

import av
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from detector.rule import Rule
from detector.window import Window
from ingest.frame import Clip
from reasoner.backends import Output
from reasoner.boxes import Box
from reasoner.config import ReasonerConfig
from reasoner.crop_check import MOST_CROPS, rated, view_around
from reasoner.decision import token_probability
from reasoner.denser import APART_S, REACH_S, denser
from reasoner.errors import ModelFailed, ReasonerError, ServerTimeout, ServerUnavailable
from reasoner.folder import Notes
from reasoner.pictures import decode
from reasoner.poll import seed_of
from reasoner.prompt import Message
from reasoner.reason import Reasoner
from reasoner.trace import Token
from reasoner.verdict import Recheck, Verdict
from tests.reasoner.conftest import scene, with_figure
from tests.reasoner.double import Double

Make = Callable[..., Window]
Pixels = NDArray[np.uint8]


def token(text: str, **odds: float) -> Token:
    top = tuple((name.lstrip("_"), math.log(share)) for name, share in odds.items())
    return Token(text, math.log(odds.get(f"_{text}", 0.5)), top)


@pytest.mark.parametrize(
    ("text", "tokens", "worth"),
    [
        ("2", (), 1.0),
        ("1", (), 0.6),
        ("0", (), 0.2),
        ("I rate it 1.", (), 0.6),
        ("<think>0 or 2?</think> 2", (), 1.0),
        ("12.5", (), 0.2),
        ("clearly", (), 0.2),
        ("", (), 0.2),
        ("2", (token("2", _2=0.5, _1=0.5),), 0.8),
        ("2", (token("2", _2=0.9, the=0.1),), 1.0),
        ("2", (token("2"),), 1.0),
        ("2", (Token("2", math.nan, (("2", math.nan),)),), 0.2),
        ("2", (Token("2", 1e6, (("2", 1e6), ("0", math.inf))),), 0.6),
    ],
)
def test_a_rating_is_worth(text: str, tokens: tuple[Token, ...], worth: float) -> None:
    assert rated(Output(text, tokens, 40, 1, True)) == pytest.approx(worth)


def test_the_view_holds_the_boxes_and_stays_in_the_frame() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        corners = np.sort(rng.uniform(0, 1, (int(rng.integers(1, 4)), 2, 2)), axis=1)
        boxes = [Box(*each.ravel()) for each in corners if (each[1] > each[0]).all()]
        least = float(rng.uniform(0.1, 0.6))
        view = view_around(boxes, least)
        assert all(view.intersection(box) == pytest.approx(box.area) for box in boxes)
        assert view.x2 - view.x1 == pytest.approx(view.y2 - view.y1)
        assert view.x2 - view.x1 >= least - 1e-9


def _yellow(picture: Pixels) -> bool:
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return int(((red > 200) & (green > 190) & (blue < 110)).sum()) > 20


class Seeing(Double):
    """A backend that looks: it says yes, at one place, while it sees the figure. Crops it rates by the same look."""

    def __init__(self, p_yes: float, *, blind: bool = False, notes: Notes | None = None) -> None:
        self.p_yes, self.blind, self.notes = p_yes, blind, notes
        self.asked: list[tuple[str, list[Pixels]]] = []

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        text = messages[-1]["content"][-1]["text"]
        self.asked.append((text, list(pictures)))
        sees = self.blind or any(_yellow(picture) for picture in pictures)
        if "Reply with one digit" in text:
            return Output("2" if sees else "0", (), 40, 1, True)
        p = self.p_yes if sees else 0.02
        word = "Yes" if p > 0.5 else "No"
        odds = (("Yes", math.log(p)), ("No", math.log(1 - p)))
        tokens = (Token("<answer>", 0.0, ()), Token(word, dict(odds)[word], odds))
        claims = "".join(f"The <obj>person</obj><box>{self.place(t)}</box>at<t>{t}</t>s falls." for t in (0.0, 5.5))
        said = f"<think>{claims}</think><answer>Yes, from 0.0s to 5.5s.</answer>" if p > 0.5 else "<answer>No.</answer>"
        return Output(said, tokens, 100, 10, True)

    @staticmethod
    def place(t: float) -> str:
        x = 20 + 20 * t
        return f"[{x / 0.32:.0f},{80 / 0.18:.0f},{(x + 24) / 0.32:.0f},{136 / 0.18:.0f}]"


def judge(backend: Seeing, window: Window, rule: Rule, **settings: object) -> Verdict:
    return Reasoner(backend, ReasonerConfig(**settings)).reason(window, rule, {})  # type: ignore[arg-type]


def of(verdict: Verdict, kind: str) -> list[Recheck]:
    return [check for check in verdict.rechecks if check.kind == kind]


def test_crops_of_what_is_cited_are_shown_alone_and_count(crossing: Make, rule: Rule) -> None:
    backend = Seeing(0.97)
    verdict = judge(backend, crossing(), rule)
    (text, crops) = next(each for each in backend.asked if "Reply with one digit" in each[0])
    assert "Crop" not in verdict.output and rule.question in text
    assert len(crops) == 2 and all(crop.shape[0] < 120 and crop.shape[1] < 60 for crop in crops)
    (check,) = of(verdict, "crop")
    assert (check.status, check.score, check.tokens) == ("supported", 1.0, 41)
    assert verdict.confidence.components["crop_check"] == 1.0 and verdict.decision == "confirmed"


def test_a_crop_that_shows_nothing_speaks_against_the_answer(crossing: Make, rule: Rule) -> None:
    class Elsewhere(Seeing):
        place = staticmethod(lambda t: "[800,10,900,200]")

    verdict, plain = (
        judge(Elsewhere(0.97), crossing(), rule),
        judge(Elsewhere(0.97), crossing(), rule, crop_check=False),
    )
    assert of(verdict, "crop")[0].status == "contradicted" and "crop_contradicts" in verdict.reasons
    assert verdict.decision == "needs_review" and verdict.confidence.p < plain.confidence.p
    assert not plain.rechecks or not of(plain, "crop")


def test_no_more_crops_than_fit_one_question(crossing: Make, rule: Rule) -> None:
    class Talkative(Seeing):
        def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
            output = super().answer(messages, pictures)
            return output._replace(text=output.text.replace("<think>", "<think>" + 5 * output.text[7:90]))

    backend = Talkative(0.97)
    judge(backend, crossing(), rule)
    assert max(len(shown) for text, shown in backend.asked if "one digit" in text) <= MOST_CROPS


@pytest.mark.parametrize(
    ("p_yes", "grey", "blind", "status", "decision"),
    [
        (0.72, (0.4, 0.75), False, "supported", "confirmed"),  # it rests on its boxes
        (0.72, (0.4, 0.75), True, "contradicted", "needs_review"),  # the yes stands without them
        (0.97, (0.4, 0.75), True, None, "confirmed"),  # not in the grey band
        (0.72, (0.0, 0.0), True, None, "confirmed"),
    ],
)
def test_a_yes_in_the_grey_band_must_need_its_evidence(
    crossing: Make, rule: Rule, p_yes: float, grey: tuple[float, float], blind: bool, status: str | None, decision: str
) -> None:
    backend = Seeing(p_yes, blind=blind)
    verdict = judge(backend, crossing(), rule, grey=grey)
    masked = of(verdict, "masked")
    assert [check.status for check in masked] == ([] if status is None else [status])
    assert verdict.decision == decision
    assert ("evidence_not_needed" in verdict.reasons) == (status == "contradicted")
    if masked:
        assert verdict.confidence.components["counterfactual"] == masked[0].score
        assert masked[0].cost_s >= 0 and masked[0].tokens == 110
    before = judge(Seeing(p_yes, blind=blind), crossing(), rule, grey=(0, 0)).confidence
    assert (verdict.confidence.p < before.p) == (status == "contradicted")
    assert (verdict.confidence.p >= before.p) == (status != "contradicted")  # the closer look agrees
    assert [check.status for check in of(verdict, "closer")] == ["supported"] * len(masked)
    low, high = verdict.confidence.interval
    assert low <= verdict.confidence.p <= high


def clip_of(pictures: Sequence[Pixels], rate: int, start_utc_ns: int) -> Clip:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    end_ns = start_utc_ns + round(len(pictures) / rate * 1e9)
    return Clip(mp4=out.getvalue(), start_utc_ns=start_utc_ns, end_utc_ns=end_ns, codec="h264")


@pytest.fixture
def filmed(crossing: Make) -> Window:
    """The crossing figure with a clip of it at 25 frames a second that begins a second earlier."""
    window = crossing()
    stills = [with_figure(scene(), round(20 + 20 * (k / 25 - 1)), 80) for k in range(175)]
    clip = clip_of(stills, 25, window.cut.frames[0].stamp.utc_ns - 1_000_000_000)
    return replace(window, cut=replace(window.cut, clip=clip))


def test_denser_frames_come_from_the_clip_at_their_own_times(filmed: Window) -> None:
    dense = denser(filmed, 3.0)
    times = [dense.seconds(index) for index in range(len(dense.cut.frames))]
    added = [t for t in times if min(abs(t - k / 2) for k in range(12)) > 1e-6]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert len(added) >= 6 and all(abs(t - 3.0) <= REACH_S + 1e-6 for t in added)
    assert min(b - a for a, b in itertools.pairwise(times)) > APART_S
    assert set(filmed.cut.frames) <= set(dense.cut.frames)
    for frame in dense.cut.frames:  # the picture is of its own time: the figure is where it was then
        t = (frame.stamp.utc_ns - filmed.cut.frames[0].stamp.utc_ns) / 1e9
        picture = decode(frame.jpeg, "a frame")
        assert picture.shape[:2] == scene().shape[:2]
        red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
        columns = np.flatnonzero(((red > 200) & (green > 190) & (blue < 110)).any(axis=0))
        assert columns.mean() == pytest.approx(20 + 20 * t + 12, abs=3.5)


@pytest.mark.parametrize("mp4", [b"", b"no video", None])
def test_without_a_clip_the_window_stays_as_it_is(filmed: Window, mp4: bytes | None) -> None:
    assert filmed.cut.clip is not None
    clip = None if mp4 is None else replace(filmed.cut.clip, mp4=mp4)
    window = replace(filmed, cut=replace(filmed.cut, clip=clip))
    assert denser(window, 3.0) == window


def test_the_second_look_is_closer_and_denser(filmed: Window, rule: Rule) -> None:
    backend = Seeing(0.72)
    verdict = judge(backend, filmed, rule)
    (check,) = of(verdict, "closer")
    first, second = backend.asked[0][1], backend.asked[-1][1]
    assert len(second) > len(first) and second[0].shape[1] < first[0].shape[1]
    assert verdict.confidence.components["second_look"] == check.score == pytest.approx(0.72)


def test_a_second_look_that_disagrees_goes_to_a_person(filmed: Window, rule: Rule) -> None:
    class Wavering(Seeing):
        def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
            if len(pictures) > 12:
                self.p_yes = 0.1
            return super().answer(messages, pictures)

    verdict = judge(Wavering(0.74), filmed, rule)
    assert of(verdict, "closer")[0].status == "contradicted"
    assert verdict.decision == "needs_review" and "looks_disagree" in verdict.reasons and verdict.confidence.p < 0.6


class Polled(Seeing):
    """It says these when it is asked several times."""

    def __init__(self, said: Sequence[str], **more: object) -> None:
        super().__init__(0.72, **more)  # type: ignore[arg-type]
        self.said = said
        self.draws: list[tuple[int, float, int]] = []

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        self.draws.append((count, temperature, seed))
        assert "Gate 1" not in messages[-1]["content"][-1]["text"]
        return [Output(text, (), 100, 12, True) for text in self.said]


def cites(*places: tuple[str, float], answer: str = "Yes.") -> str:
    claims = "".join(f"The <obj>person</obj><box>{place}</box>at<t>{t}</t>s falls." for place, t in places)
    return f"<think>{claims}</think><answer>{answer}</answer>"


GOOD = cites((Seeing.place(0.0), 0.0), (Seeing.place(5.5), 5.5))
RIGHT = cites((Seeing.place(5.5), 5.5))
WRONG, BARE, BEYOND = cites(("[800,10,900,200]", 3.0)), "<answer>Yes.</answer>", cites((Seeing.place(5.5), 60.0))
NO = "<think>Nobody falls.</think><answer>No.</answer>"
SILENT = ["", "<answer>Perhaps.</answer>", f"<answer>{'round and ' * 60}</answer>", "<answer>没有人。</answer>"]
POLLS: list[tuple[str, list[str], str, float]] = [
    ("all see it", [GOOD] * 4, "supported", 1.0),
    ("evidence against bare words", [GOOD, GOOD, NO, NO], "supported", 0.6),
    ("outvoted", [GOOD, NO, NO, NO], "contradicted", 0.35),
    ("yes to the wrong place", [WRONG, WRONG, NO, NO], "contradicted", 0.3),
    ("yes without a place", [BARE, BARE, NO, NO], "contradicted", 0.25),
    ("yes outside of what was shown", [BEYOND, BEYOND, NO, NO], "contradicted", 0.25),
    ("yes outside of the zone", [RIGHT, RIGHT, NO, NO], "contradicted", 0.25),
    ("nobody answers", SILENT, "unchecked", 0.5),
    ("one answers", [*SILENT[:3], GOOD], "supported", 1.0),
]


@pytest.mark.parametrize(("said", "status", "share"), [row[1:] for row in POLLS], ids=[row[0] for row in POLLS])
def test_several_answers_vote_by_their_evidence(
    crossing: Make, rule: Rule, said: list[str], status: str, share: float
) -> None:
    window, zones = crossing(), {"door": [(0.0, 0.0), (0.3, 0.0), (0.3, 1.0), (0.0, 1.0)]}
    ruled = replace(rule, zones=("door",))
    backend = Polled(said)
    config = ReasonerConfig(samples=4, sample_temperature=0.9)
    verdict = Reasoner(backend, config).reason(window, ruled, zones, "Gate 1")
    before = Reasoner(Polled([]), ReasonerConfig()).reason(window, ruled, zones, "Gate 1")
    assert backend.draws == [(4, 0.9, seed_of(window.window_id))]
    (check,) = of(verdict, "samples")
    assert check.status == status and check.score == pytest.approx(share, abs=0.05)
    assert check.tokens == 100 + 4 * 12 and check.cost_s >= 0
    assert [each.kind for each in verdict.rechecks] == ["crop", "masked", "samples", "closer"]
    assert (verdict.decision, verdict.reasons) == (
        ("needs_review", ("looks_disagree",)) if status == "contradicted" else ("confirmed", ())
    )
    if status == "unchecked":
        assert verdict.confidence == before.confidence
        return
    assert verdict.confidence.components["self_consistency"] == check.score
    assert (verdict.confidence.p > before.confidence.p) == (share > 0.72), "a split vote lowers it"


def test_votes_and_a_second_look_that_disagree_are_one_reason(filmed: Window, rule: Rule) -> None:
    class Wavering(Polled):
        def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
            self.p_yes = 0.1 if len(pictures) > 12 else self.p_yes
            return super().answer(messages, pictures)

    verdict = judge(Wavering([NO] * 4), filmed, rule, samples=4)
    assert [of(verdict, kind)[0].status for kind in ("samples", "closer")] == ["contradicted"] * 2
    assert (verdict.decision, verdict.reasons) == ("needs_review", ("low_confidence", "looks_disagree"))


@pytest.mark.parametrize(
    ("settings", "notes"),
    [
        ({}, None),  # as shipped
        ({"samples": 4, "grey": (0.0, 0.0)}, None),
        ({"samples": 4}, Notes(group_step_s=1.0)),
    ],
    ids=["off", "not in the grey band", "a model of a fixed spacing"],
)
def test_nothing_is_drawn_where_it_is_not_wanted(
    crossing: Make, rule: Rule, settings: dict[str, object], notes: Notes | None
) -> None:
    verdict = judge(Seeing(0.72, notes=notes), crossing(), rule, **settings)
    assert not of(verdict, "samples") and "self_consistency" not in verdict.confidence.components


def test_a_no_and_an_answer_without_evidence_cost_nothing_more(crossing: Make, rule: Rule) -> None:
    backend = Seeing(0.97)
    verdict = judge(backend, crossing(figure=False), rule)
    assert (verdict.decision, verdict.rechecks, len(backend.asked)) == ("rejected", (), 1)
    assert verdict.confidence.components["crop_check"] == verdict.confidence.components["vlm_token"]


SURE = (Token("Hard", -1e-3, (("Hard", -1e-3),)), Token(" to tell", -1e-3, ()))
UNCLEAR = {
    "neither": Output("<answer>Hard to tell.</answer>", SURE, 100, 10, True),
    "unfinished": Output("<think>The person walks", SURE, 100, 10, False),
    "in circles": Output("round and " * 60, SURE, 100, 10, True),
    "empty": Output("", (), 100, 10, True),
    "no probabilities": Output("<answer>Yes.</answer>", (Token("Yes", 800.0, (("Yes", 800.0),)),), 100, 10, True),
    "not a number": Output("<answer>Yes.</answer>", (Token("Well", math.nan, ()),), 100, 10, True),
}
ORDER = ("first", "crop", "masked", "closer")


class Otherwise(Seeing):
    """It sees as ever, but to one of the questions it gives something else, or fails."""

    def __init__(self, at: str, instead: Output | ReasonerError, notes: Notes | None = None) -> None:
        super().__init__(0.72, notes=notes)
        self.at, self.instead = at, instead

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        output = super().answer(messages, pictures)
        return self._said(output) if ORDER[len(self.asked) - 1] == self.at else output

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        output = Output(GOOD, (), 100, 12, True)
        return [self._said(output) if self.at == "samples" else output for _ in range(count)]

    def _said(self, output: Output) -> Output:
        if isinstance(self.instead, ReasonerError):
            raise self.instead
        return self.instead


@pytest.mark.parametrize("output", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("at", ["crop", "masked", "closer"])
def test_a_recheck_that_is_no_answer_changes_nothing(crossing: Make, rule: Rule, at: str, output: Output) -> None:
    notes = Notes(prompt="brief", group_step_s=1.0) if at == "crop" else None
    verdict = judge(Otherwise(at, output, notes), crossing(), rule)
    (check,) = of(verdict, at)
    assert (check.status, check.score, check.outcome, check.tokens) == ("unchecked", 0.5, "unclear", 110)
    assert (verdict.decision, verdict.reasons) == ("confirmed", ())
    name = {"crop": "", "masked": "counterfactual", "closer": "second_look"}[at]
    assert name not in verdict.confidence.components
    # A masked picture that does need its boxes leaves the confidence as it is; the rest is left out here.
    left_out: dict[str, dict[str, object]] = {"crop": {"crop_check": False}, "closer": {"grey": (0.0, 0.0)}}
    plain = judge(Seeing(0.72, notes=notes), crossing(), rule, **left_out.get(at, {}))
    assert verdict.confidence.p == pytest.approx(plain.confidence.p)


@pytest.mark.parametrize("error", [ServerTimeout("late"), ModelFailed("died"), ServerUnavailable("away")])
@pytest.mark.parametrize("at", ["crop", "masked", "samples", "closer"])
def test_a_recheck_that_fails_leaves_the_yes_to_a_person(
    crossing: Make, rule: Rule, at: str, error: ReasonerError
) -> None:
    backend = Otherwise(at, error)
    verdict = judge(backend, crossing(), rule, samples=2)
    (check,) = of(verdict, at)
    assert check == verdict.rechecks[-1], "who failed is not asked again"
    assert (check.status, check.score, check.outcome, check.tokens) == ("unchecked", 0.5, "failed", 0)
    assert (verdict.decision, verdict.reasons) == ("needs_review", ("recheck_failed",))
    assert [item.frame for item in verdict.evidence] == [0, 11] and verdict.answer.startswith("Yes")
    parts = verdict.confidence.components
    assert (parts["crop_check"] == parts["vlm_token"]) == (at == "crop")
    with pytest.raises(type(error)):  # the first answer is not optional
        judge(Otherwise("first", error), crossing(), rule)


@pytest.mark.parametrize(
    ("tokens", "yes", "p"),
    [
        (SURE, None, 0.5),
        (SURE, True, math.exp(-1e-3)),
        (SURE, False, 1 - math.exp(-1e-3)),
        ((), True, 0.5),
        ((Token("Yes", 3.0, (("Yes", 3.0), ("No", -700.0))),), True, 1.0),
        ((Token("Yes", 1e6, (("Yes", 1e6), ("No", math.inf))),), True, 0.5),
        ((Token("No", math.nan, (("Yes", math.nan), ("No", -0.1))),), False, 0.0),
        ((Token("Sure", 3.0, ()), Token("ly", 3.0, ())), True, 1.0),
        ((Token("Sure", math.nan, ()),), True, 0.0),
    ],
)
def test_a_token_probability_is_one(tokens: tuple[Token, ...], yes: bool | None, p: float) -> None:
    assert token_probability(Output("", tokens, 1, 1, True), yes, None) == pytest.approx(p, abs=1e-9)
