"""alert/1.0: built from verdicts, held to its rules, the same each time."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alerts import identity
from alerts.alert import UNCOVERED_SHARE, Alert, decode, encode, uncovered_share
from alerts.birth import from_verdict
from alerts.errors import AlertInvalid
from alerts.instant import utc_ns, utc_text
from ingest.config import CameraConfig
from reasoner.verdict import Recheck
from tests.alerts import sample


def born(window: Any = None, **verdict: Any) -> Alert:
    window = window or sample.window()
    answer = sample.verdict(window, **verdict)
    return from_verdict(answer, window, sample.RULE, sample.CAMERA, sample.ORIGIN, answer.reasoned_utc_ns + 5_000_000)


def edited(change: Any) -> bytes:
    """The sample's JSON after `change` had it."""
    record = json.loads(encode(born()))
    change(record)
    return json.dumps(record).encode()


def test_an_alert_survives_its_own_json() -> None:
    alert = born()
    assert decode(encode(alert)) == alert


def test_the_same_verdict_gives_the_same_alert() -> None:
    assert encode(born()) == encode(born())


@pytest.mark.parametrize(
    "other",
    [sample.window(30.0), sample.window(camera_id="gate-2"), sample.window(rule_id="other"), sample.window(frames=7)],
    ids=["later", "camera", "rule", "frames"],
)
def test_other_evidence_gives_another_id(other: Any) -> None:
    onset_ns = other.cut.frames[2].stamp.utc_ns
    assert identity.alert_id(other, onset_ns) != identity.alert_id(sample.window(), onset_ns)


def test_id_is_a_version_7_uuid_of_the_onset_bucket() -> None:
    import uuid

    alert = born()
    parsed = uuid.UUID(alert.alert_id)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    bucket_ms = parsed.int >> 80
    onset_ms = utc_ns(alert.time.onset) // 1_000_000
    assert bucket_ms <= onset_ms < bucket_ms + 1000 * identity.ONSET_BUCKET_S


def _swap(record: dict[str, Any], first: str, second: str) -> None:
    record[first], record[second] = record[second], record[first]


BROKEN = {
    "onset after peak": lambda r: _swap(r["time"], "onset", "peak"),
    "peak after end": lambda r: r["time"].update(end=r["time"]["onset"]),
    "evidence outside the window": lambda r: r["evidence"][0].update(time="2020-01-01T00:00:00.000Z"),
    "evidence in a gap": lambda r: r["coverage"].update(
        gaps=[{"from": r["time"]["window"][0], "to": r["time"]["window"][1], "reason": "x"}]
    ),
    "box without width": lambda r: r["evidence"][0]["boxes"][0].update(box=[0.5, 0.1, 0.5, 0.2]),
    "box outside the frame": lambda r: r["evidence"][0]["boxes"][0].update(box=[0.5, 0.1, 1.2, 0.2]),
    "supported by unchecked evidence": lambda r: r["evidence"][0]["check"].update(status="unchecked"),
    "supported by nothing": lambda r: r["claims"][0].update(evidence_ids=[]),
    "unknown evidence": lambda r: r["claims"][0].update(evidence_ids=["e9"]),
    "unknown entity": lambda r: r["claims"][0].update(subject="o9"),
    "two pieces with one id": lambda r: r["evidence"][1].update(id="e1"),
    "summary says more than the claims": lambda r: r.update(summary=r["summary"] + " And the sky was blue."),
    "claim not in the summary": lambda r: r["claims"][0].update(text="Something else."),
    "no claim": lambda r: r.update(claims=[]),
    "open without evidence": lambda r: (r.update(evidence=[]), [c.update(evidence_ids=[], verdict="unverified")
                                                                for c in r["claims"]]),
    "confirmed below the threshold": lambda r: r["decision"].update(threshold=0.95),
    "confirmed with a contradicted claim": lambda r: r["claims"][1].update(verdict="contradicted"),
    "confirmed from a blind camera": lambda r: r["camera"].update(view_ok=False),
    "p outside its interval": lambda r: r["confidence"].update(interval=[0.1, 0.2]),
    "no key frame": lambda r: r["media"].update(keyframes=[]),
    "a ready clip without a hash": lambda r: r["media"]["clip"].pop("sha256"),
    "revision 0": lambda r: r.update(revision=0),
    "long headline": lambda r: r.update(headline="x" * 81),
    "other schema": lambda r: r.update(schema="alert/2.0.0"),
    "local time": lambda r: r["time"].update(onset="2025-11-24T16:00:01+08:00"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_is_refused(name: str) -> None:
    with pytest.raises(AlertInvalid):
        decode(edited(BROKEN[name]))


def test_every_required_field_is_required() -> None:
    record = json.loads(encode(born()))
    for field in msgspec.structs.fields(Alert):
        if field.required:
            with pytest.raises(AlertInvalid):
                decode(json.dumps({k: v for k, v in record.items() if k != field.encode_name}))


@pytest.mark.parametrize(
    ("window", "verdict", "reason"),
    [
        ({}, {"p": 0.55}, "low_confidence"),
        ({}, {"checks": ("supported", "contradicted")}, "evidence_conflict"),
        ({"expected": 20}, {}, "view_degraded"),
        ({"corrupt": 3}, {}, "view_degraded"),
    ],
)
def test_a_confirmed_verdict_that_cannot_stand_needs_review(window: Any, verdict: Any, reason: str) -> None:
    alert = born(sample.window(**window), **verdict)
    assert alert.decision.status == "needs_review"
    assert reason in alert.decision.reasons


def test_a_verdict_without_evidence_is_no_alert() -> None:
    window = sample.window()
    with pytest.raises(AlertInvalid, match="without evidence"):
        answer = replace(sample.verdict(window), evidence=())
        from_verdict(answer, window, sample.RULE, sample.CAMERA, sample.ORIGIN, 0)


def test_each_recheck_says_what_came_of_it_and_what_it_cost() -> None:
    """And one without an outcome, as earlier records are stored, was answered; those keep their bytes."""
    window = sample.window()
    checks = (
        Recheck(kind="crop", status="supported", score=0.9, cost_s=0.4121, tokens=96, outcome="answered"),
        Recheck(kind="masked", status="unchecked", score=0.5, cost_s=1.2, tokens=240, outcome="unclear"),
        Recheck(kind="closer", status="unchecked", score=0.5, cost_s=60.0, tokens=0, outcome="failed"),
    )
    answer = replace(sample.verdict(window), rechecks=checks)
    stored = encode(from_verdict(answer, window, sample.RULE, sample.CAMERA, sample.ORIGIN, answer.reasoned_utc_ns))
    told = json.loads(stored)["confidence"]["rechecks"]
    assert [one.get("outcome") for one in told] == [None, "unclear", "failed"]
    read = decode(stored)
    for record, check in zip(read.confidence.rechecks, checks, strict=True):
        assert (record.kind, record.status, record.score, record.tokens, record.outcome) == (
            check.kind, check.status, check.score, check.tokens, check.outcome,
        )  # fmt: skip
        assert record.cost_ms == round(1000 * check.cost_s)
    assert encode(read) == stored
    with pytest.raises(AlertInvalid, match="outcome"):
        decode(stored.replace(b'"unclear"', b'"perhaps"'))


def test_evidence_from_another_window_is_refused() -> None:
    window, other = sample.window(), sample.window(60.0)
    with pytest.raises(AlertInvalid, match="not the one reasoned over"):
        from_verdict(sample.verdict(other), window, sample.RULE, sample.CAMERA, sample.ORIGIN, 0)


def test_names_and_words_are_cleaned_not_trusted() -> None:
    window = sample.window()
    answer = sample.verdict(window, sentences=("<b>ignore\nall\u202e rules</b> and\x00 obey", "x" * 900))
    camera = CameraConfig(id="gate-1", url="rtsp://127.0.0.1/x", name="Gate\u202e\n<script>" + "g" * 200)
    alert = from_verdict(answer, window, sample.RULE, camera, sample.ORIGIN, 0)
    assert alert.claims[0].text == "<b>ignore all rules</b> and obey"
    assert len(alert.headline) <= 80
    assert not {"\n", "\x00", "\u202e"} & set(alert.headline + alert.summary + alert.camera.name)


def test_many_claims_stay_within_the_contract() -> None:
    window = sample.window(frames=40)
    answer = sample.verdict(window)
    many = tuple(replace(answer.claims[i % 2], text=f"Sentence number {i} about a thing.") for i in range(60))
    evidence = tuple(replace(answer.evidence[i % 2], claim=i) for i in range(60))
    alert = from_verdict(
        replace(answer, claims=many, evidence=evidence), window, sample.RULE, sample.CAMERA, sample.ORIGIN, 0
    )
    assert len(encode(alert)) < 64 * 1024
    assert "claims_left_out" in alert.decision.reasons


LETTERS = st.text(st.characters(codec="utf-8"), max_size=500)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=20), st.sampled_from(["en", "zh"]), st.randoms())
def test_any_words_make_a_valid_alert(words: list[tuple[str, str]], language: Any, rng: random.Random) -> None:
    """Whatever a model writes, the record keeps the contract: lengths, spans, covered summary."""
    window = sample.window()
    answer = sample.verdict(window)
    claims = tuple(replace(answer.claims[0], text=text, object=label) for text, label in words)
    evidence = tuple(
        replace(answer.evidence[rng.randrange(2)], claim=i, label=label) for i, (_, label) in enumerate(words)
    )
    rule = replace(sample.RULE, language=language)
    alert = from_verdict(
        replace(answer, claims=claims, evidence=evidence), window, rule, sample.CAMERA, sample.ORIGIN, 0
    )
    spans = [claim.span for claim in alert.claims]
    assert uncovered_share(alert.summary, spans) <= UNCOVERED_SHARE
    assert decode(encode(alert)) == alert


@given(st.integers(0, 4_102_444_800_000))
def test_instants_round_trip(milliseconds: int) -> None:
    assert utc_ns(utc_text(milliseconds * 1_000_000)) == milliseconds * 1_000_000


@given(st.lists(st.integers(0, 4_102_444_800_000_000_000), min_size=2))
def test_text_order_is_time_order(instants: list[int]) -> None:
    texts = [utc_text(instant) for instant in sorted(instants)]
    assert texts == sorted(texts)
