"""Outputs that are no answer end with a person and a reason, never as a silent no; with either backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from alerts import policy
from alerts.origin import Origin
from detector.rule import Rule
from detector.window import Window
from ingest.config import CameraConfig
from reasoner.backends import Backend, Output
from reasoner.backends.local import LocalBackend
from reasoner.backends.openai import ServerBackend
from reasoner.config import ReasonerConfig
from reasoner.degenerate import Fault, foreign, repeats
from reasoner.prompt import Message
from reasoner.reason import Reasoner
from reasoner.trace import Token
from reasoner.verdict import Verdict
from tests.reasoner import vllm
from tests.reasoner.double import Double
from tests.reasoner.vllm import KEY, MODEL, Vllm

Make = Callable[..., Window]
CLAIM = "The <obj>person</obj><box>[125,444,200,756]</box>at<t>1.0</t>s falls."


def flagged(window: Window, score: float) -> Window:
    """As the gate hands it on: with the scores of the first look."""
    span = window.span
    return msgspec.structs.replace(
        window, span=msgspec.structs.replace(span, score=score, scores=((span.peak_utc_ns, score),))
    )


class Scripted(Double):
    """A local model's place taken by its words: `words` cut at `limit` tokens, with the log-probability `logprob`."""

    def __init__(self, words: str, logprob: float | None, limit: int) -> None:
        reply = vllm.completion(words, limit=limit)["choices"][0]
        value = math.nan if logprob is None else logprob
        tokens = tuple(Token(e["token"], value, ((e["token"], value),)) for e in reply["logprobs"]["content"])
        self.output = Output(reply["message"]["content"], tokens, 812, len(tokens), reply["finish_reason"] == "stop")

    def answer(self, messages: Sequence[Message], pictures: Sequence[NDArray[np.uint8]]) -> Output:
        return self.output


@pytest.fixture(params=["local", "openai"])
def backend(request: pytest.FixtureRequest) -> Iterator[Callable[[str, float | None, int], Backend]]:
    """A backend that is made to say something: its words, the log-probability of each, its limit of new tokens."""
    if request.param == "local":
        yield Scripted
        return
    servers: list[Vllm] = []

    def served(words: str, logprob: float | None, limit: int) -> Backend:
        def say(handler: vllm.Handler) -> None:
            reply = vllm.completion(words, limit=limit)
            for entry in reply["choices"][0]["logprobs"]["content"]:
                for each in (entry, *entry["top_logprobs"]):
                    each["logprob"] = logprob
            handler.send(200, reply)

        servers.append(Vllm(faults=[say]))
        return ServerBackend(
            ReasonerConfig(model=MODEL, backend="openai", base_url=servers[-1].url, api_key=KEY, timeout_s=5.0)
        )

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()


def said(thought: str, answer: str) -> str:
    return f"<think>{thought}</think>\n<answer>{answer}</answer>"


DEGENERATE: list[tuple[str, str, float | None, int, Fault]] = [
    ("nothing", "", -0.1, 512, "output_empty"),
    ("spaces and tags", " <think>\n</think><answer> </answer>", -0.1, 512, "output_empty"),
    ("no answer in it", said("A person walks.", ""), -0.1, 512, "output_empty"),
    ("cut in its thoughts", "<think>" + " ".join(f"word{n}" for n in range(900)), -0.1, 300, "output_endless"),
    ("cut in its answer", said("So.", " ".join(f"word{n}" for n in range(900))), -0.1, 300, "output_endless"),
    ("one word for ever", "<think>" + "the " * 900, -0.1, 400, "output_repeats"),
    ("circles before a no", said("nothing happens and " * 40, "No."), -0.1, 512, "output_repeats"),
    ("circles after a no", said("So.", "No.") + "No. Nothing happens. " * 20, -0.1, 512, "output_repeats"),
    ("Russian", said("Ничего.", "Нет, никто не падает."), -0.1, 512, "output_language"),
    ("Chinese, asked in English", said("没有。", "没有人摔倒。"), -0.1, 512, "output_language"),
    ("German", said("Ja.", "Ja, eine Person ist zu Boden gefallen."), -0.1, 512, "output_unclear"),
    ("evasive", said("Hm.", "It is hard to tell from here."), -0.1, 512, "output_unclear"),
    ("two answers", said("So.", "Yes. A person falls.") + "<answer>No. Nothing.</answer>", -0.1, 512, "output_unclear"),
    ("two answers, with evidence", said(CLAIM, "No.") + "<answer>Yes.</answer>", -0.1, 512, "output_unclear"),
    ("a no taken back", said("Hm.", "No. A person walks.") + " Yes, a person falls.", -0.1, 512, "output_unclear"),
    ("stopped before its end", "<think>The person", -0.1, 512, "output_unclear"),
    ("times outside", said(CLAIM.replace("1.0", "61.0"), "Yes. A person falls."), -0.1, 512, "evidence_out_of_range"),
    ("boxes outside", said(CLAIM.replace("125,444,200,756", "1700,10,1900,90"), "Yes."), -0.1, 512,
     "evidence_out_of_range"),
    ("NaN, a no", said("Nothing.", "No."), math.nan, 512, "probabilities_invalid"),
    ("null, a yes", said(CLAIM, "Yes. A person falls."), None, 512, "probabilities_invalid"),
    ("more than 1", said(CLAIM, "Yes. A person falls."), 1000.0, 512, "probabilities_invalid"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "logprob", "limit", "fault"), [row[1:] for row in DEGENERATE], ids=[row[0] for row in DEGENERATE]
)
def test_what_is_no_answer_goes_to_a_person_with_a_reason(
    backend: Callable[[str, float | None, int], Backend],
    crossing: Make,
    rule: Rule,
    words: str,
    logprob: float | None,
    limit: int,
    fault: Fault,
) -> None:
    window = flagged(crossing(), 0.8)
    verdict = Reasoner(backend(words, logprob, limit), ReasonerConfig()).reason(window, rule, {})
    assert (verdict.decision, verdict.reasons[0]) == ("needs_review", fault)
    assert_shown(verdict, window, rule)


def assert_shown(verdict: Verdict, window: Window, rule: Rule) -> None:
    """There is a frame and a place to look at, and the record is a whole alert."""
    piece = verdict.evidence[0]
    assert piece.frame_sha256 == window.cut.frames[piece.frame].sha256()
    assert verdict.confidence.p < 0.9
    outcome = policy.decide(
        verdict, window, rule, CameraConfig(id="gate-1", url="rtsp://127.0.0.1/1"), Origin(), None, 2 * 10**18
    )
    assert isinstance(outcome, policy.New)
    assert outcome.alert.decision.status == "needs_review"
    assert outcome.alert.decision.reasons[0] == verdict.reasons[0]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_person_is_shown_what_changed_at_the_peak(crossing: Make, lang: Any) -> None:
    """The figure is at 60..84 of 320 px there, 80..136 of 180 px; no word of the model is needed to find it."""
    rule = Rule(id="falls", category="fall", watch="a", question="Does somebody fall?", language=lang)
    window = flagged(crossing(), 0.8)
    verdict = Reasoner(Scripted("", -0.1, 9), ReasonerConfig()).reason(window, rule, {})
    (piece,) = verdict.evidence
    assert piece.frame == 4, "the peak is at 2.0 s"
    assert (piece.box.x1, piece.box.x2) == pytest.approx((60 / 320, 84 / 320), abs=0.02)
    assert (piece.box.y1, piece.box.y2) == pytest.approx((80 / 180, 136 / 180), abs=0.04)
    assert piece.check.status == "unchecked"
    assert verdict.confidence.calibration.method == "none"
    assert_shown(verdict, window, rule)


@pytest.mark.parametrize("score", [0.3, 0.8])
def test_a_low_first_look_is_not_worth_a_person_but_keeps_its_reason(crossing: Make, rule: Rule, score: float) -> None:
    verdict = Reasoner(Scripted("", -0.1, 9), ReasonerConfig()).reason(flagged(crossing(), score), rule, {})
    assert verdict.reasons == ("output_empty",)
    assert verdict.decision == ("needs_review" if score > 0.5 else "rejected")


SOUND = [
    ("a no", said("A person walks by.", "No. A person walks by."), "en", "rejected", ("answer_no",)),
    ("a no in Chinese, as asked", said("有人走过。", "No。没有人摔倒。"), "zh", "rejected", ("answer_no",)),
    ("a short no", said("", "No."), "zh", "rejected", ("answer_no",)),
    ("a yes", said(CLAIM, "Yes. A person falls from 1.0s to 4.0s."), "en", "confirmed", ()),
    ("a no twice", said("So.", "No.") + "<answer>No.</answer>", "en", "rejected", ("answer_no",)),
    ("dots", said("......................................................................", "No."), "en", "rejected",
     ("answer_no",)),
    ("a claim each half second", said(" ".join(CLAIM.replace("1.0", f"{n / 2}") for n in range(10)), "No."), "en",
     "rejected", ("answer_no",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "lang", "decision", "reasons"), [row[1:] for row in SOUND], ids=[row[0] for row in SOUND]
)
def test_an_answer_is_none_of_these(
    crossing: Make, words: str, lang: Any, decision: str, reasons: tuple[str, ...]
) -> None:
    rule = Rule(id="falls", category="fall", watch="a", question="Does somebody fall?", language=lang)
    verdict = Reasoner(Scripted(words, -0.01, 512), ReasonerConfig()).reason(flagged(crossing(), 0.8), rule, {})
    assert (verdict.decision, verdict.reasons) == (decision, reasons)


def test_a_real_model_that_comes_to_no_end(tiny: Path, crossing: Make, rule: Rule) -> None:
    """Random weights ramble until the limit."""
    config = ReasonerConfig(model=str(tiny), max_new_tokens=40, max_frames=4)
    window = flagged(crossing(), 0.8)
    verdict = Reasoner(LocalBackend.load(config), config).reason(window, rule, {})
    assert verdict.decision == "needs_review"
    assert verdict.reasons[0] in ("output_endless", "output_repeats")
    assert verdict.model.tokens_out == 40
    assert_shown(verdict, window, rule)


@pytest.mark.parametrize("score", [0.3, 0.8])
def test_a_model_that_failed_leaves_the_window_to_a_person(crossing: Make, rule: Rule, score: float) -> None:
    window = flagged(crossing(), score)
    verdict = Reasoner(Scripted("", -0.1, 9), ReasonerConfig()).failed(window, rule, {})
    if score < 0.5:
        assert verdict is None
    else:
        assert verdict is not None
        assert (verdict.decision, verdict.reasons) == ("needs_review", ("model_failed",))
        assert_shown(verdict, window, rule)


def test_circles_are_found_quickly_and_only_where_they_are() -> None:
    import random
    import time

    chance = random.Random(7)
    started = time.monotonic()
    for _ in range(50):
        words = [f"w{chance.randrange(2000)}" for _ in range(600)]
        assert not repeats(" ".join(words))
        phrase = " ".join(words[: chance.randrange(1, 9)]) + " "
        cut = chance.randrange(600)
        assert repeats(" ".join(words[:cut]) + " " + phrase * 40)
    assert not repeats("a" * 5)
    assert repeats("0" * 60_000)
    assert time.monotonic() - started < 4.0


@pytest.mark.parametrize(
    ("answer", "lang", "expected"),
    [
        ("No.", "en", False),
        ("Yes. A café terrace.", "en", False),
        ("是的,有人摔倒。", "en", True),
        ("是的,有人摔倒。", "zh", False),
        ("Yes. 有人在Gate-1摔倒。", "zh", False),
        ("Yes. A person falls over.", "zh", True),
        ("Yes.", "zh", False),
        ("はい、倒れました", "zh", False),  # one Chinese character among kana: not told apart by letters alone
        ("はい", "en", True),
    ],
)
def test_languages_are_told_by_their_letters(answer: str, lang: Any, expected: bool) -> None:
    assert foreign(answer, lang) is expected
