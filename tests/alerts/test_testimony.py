"""Each sentence of a summary is some claim's; a claim rests on frames, times and boxes of its own or is unverified."""

from __future__ import annotations

import random
import re
from typing import Literal

import pytest
from msgspec.structs import replace

from alerts.birth import from_verdict
from alerts.testimony import MAX_EVIDENCE
from alerts.wording import MAX_SENTENCES, SUMMARY_CHARS
from detector.window import Window
from reasoner.boxes import Box
from reasoner.verdict import Check, CheckStatus, Claim, Evidence, Verdict
from tests.alerts import sample

Language = Literal["en", "zh"]
STATUSES: tuple[CheckStatus, ...] = ("supported", "contradicted", "unchecked")
WORDS: dict[Language, tuple[str, ...]] = {
    "en": ("the person", "at 1.0s", "at 2.5 sec", "leaves", "a bag", "v1.2", "e.g. red", "walks away", "<b>", "\u202e"),
    "zh": ("一个人", "在1.0秒", "留下", "一个包", "然后", "离开了现场", "。", "！", "ok"),
}
LABELS = ("person", "bag", "人员", "", "  ", "a\nb", "x" * 200)
JOINT = re.compile(r"\s*")
END = re.compile(r"(?:[!?。！？]+|\.(?=\s|$))")


def sentence(rng: random.Random, language: Language) -> str:
    words = [rng.choice(WORDS[language]) for _ in range(rng.choice((0, 1, 3, 8, 60)))]
    text = ("" if language == "zh" else " ").join(words)
    return (text + ("。" if language == "zh" else ".")) * rng.choice((1, 1, 1, 3))


def judged(seed: int) -> tuple[Window, Verdict, Language]:
    """Claims of one or several sentences, some sharing theirs, with evidence or without, with boxes or without, in the
    wanted language or another."""
    rng = random.Random(seed)
    language: Language = rng.choice(("en", "zh"))
    window = sample.window(frames=rng.randrange(2, 16), clip=False)
    texts = [sentence(rng, rng.choice(("en", "zh", language))) for _ in range(rng.randrange(1, 6))]
    claims, evidence = [], []
    for number in range(rng.choice((1, 2, 5, 20, 40))):
        frame = rng.randrange(len(window.cut.frames))
        boxes = tuple(box(rng) for _ in range(rng.randrange(0, 4)))
        time_s = rng.choice((frame / 2, 1.0, 2.5, 99.0))
        claims.append(Claim(text=rng.choice(texts), object=rng.choice(LABELS), boxes=boxes, time_s=time_s))
        evidence += [
            Evidence(
                claim=number,
                frame=frame,
                frame_sha256=window.cut.frames[frame].sha256(),
                stamp=window.cut.frames[frame].stamp,
                label=rng.choice(LABELS),
                box=one,
                check=Check(method="change_region", status=rng.choice(STATUSES), score=rng.random()),
            )
            for one in boxes
        ]
    if not evidence:
        return judged(seed + 10_000)
    rng.shuffle(evidence)
    answer = sample.verdict(sample.window(), p=rng.random())
    found = replace(
        answer, window_id=window.window_id, claims=tuple(claims), evidence=tuple(evidence), decision="needs_review",
        onset_utc_ns=window.cut.frames[0].stamp.utc_ns, peak_utc_ns=window.cut.frames[-1].stamp.utc_ns,
    )  # fmt: skip
    return window, found, language


def box(rng: random.Random) -> Box:
    x, y = rng.uniform(0, 0.9), rng.uniform(0, 0.9)
    return Box(x, y, x + rng.uniform(1e-7, 0.1), y + rng.uniform(1e-7, 0.1))


@pytest.mark.parametrize("seed", range(250))
def test_nothing_is_said_without_what_it_rests_on(seed: int) -> None:
    window, verdict, language = judged(seed)
    rule = replace(sample.RULE, language=language)
    alert = from_verdict(verdict, window, rule, sample.CAMERA, sample.ORIGIN, 0)

    # Every character, and so every sentence, is some claim's; only spaces stand between them.
    spans = sorted({claim.span for claim in alert.claims})
    ends = [0, *(end for _, end in spans)]
    between = [
        alert.summary[a:b] for a, b in zip(ends, [*(start for start, _ in spans), len(alert.summary)], strict=True)
    ]
    assert all(JOINT.fullmatch(text) for text in between), between
    assert all(alert.summary[start:end] == c.text for c in alert.claims for start, end in [c.span])
    assert all(len(END.findall(claim.text)) <= 1 for claim in alert.claims), "one sentence each"
    assert len(alert.summary) <= SUMMARY_CHARS and len(spans) <= MAX_SENTENCES

    # Every claim rests on evidence of its own, or says that it does not.
    items = {item.id: item for item in alert.evidence}
    assert len(items) <= MAX_EVIDENCE and {key for c in alert.claims for key in c.evidence_ids} == set(items)
    given = {(piece.frame, round(piece.box.x1, 5), piece.check.status) for piece in verdict.evidence}
    for claim in alert.claims:
        own = [items[key] for key in claim.evidence_ids]
        states = {item.check.status for item in own}
        told = "supported" if "supported" in states else "contradicted" if states == {"contradicted"} else "unverified"
        assert claim.verdict == told
        for item in own:
            frame = window.cut.frames[item.frame.index_in_window]
            assert item.image_sha256 == item.frame.sha256 == frame.sha256() and item.frame.pts == frame.stamp.pts
            (where,) = item.boxes
            x1 = round(where.box[0], 5)
            assert (item.frame.index_in_window, x1, item.check.status) in given
    shown = [key for claim in alert.claims for key in claim.evidence_ids]
    assert len(shown) == len(set(shown)), "a piece of evidence belongs to one claim"
    assert ("claims_left_out" in alert.decision.reasons) == (len(alert.claims) < len(verdict.claims))
    assert alert.claims and (alert.evidence or not verdict.evidence)
