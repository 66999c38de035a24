"""A later look takes an alert back only where it saw all of it and more; what it says against it stays checkable."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from alerts.alert import MAX_RECORD_BYTES, Alert, decode, encode
from alerts.birth import from_verdict
from alerts.cloudevent import headers
from alerts.contradiction import CLEAR_NO, MAX_SHOWN, SURE, shown
from alerts.errors import RevisionConflict, StoreFull
from alerts.instant import utc_ns
from alerts.media import contact_sheet, counter_frame
from alerts.policy import New, Rejected, Retracted, decide
from alerts.provenance import Gap
from alerts.retraction import retracted
from alerts.review import reviewed
from alerts.store import Store
from alerts.verify import verify
from detector.rule import Rule
from detector.window import Window
from reasoner.boxes import Box
from reasoner.verdict import Recheck, Verdict
from tests.alerts import sample

SECOND = 10**9


class Later(NamedTuple):
    """An alert and what came after it. The sample's alert cites 1.0 s and 2.0 s after START."""

    alert: Alert
    window: Window
    verdict: Verdict
    rule: Rule = sample.RULE


def alert(p: float = 0.7, **changes: Any) -> Alert:
    window = sample.window()
    said = sample.verdict(window, p=p)
    born = from_verdict(said, window, sample.RULE, sample.CAMERA, sample.ORIGIN, said.reasoned_utc_ns)
    return replace(born, **changes)


def later(offset_s: float = 0.5, frames: int = 8, token: float = 0.04, **options: Any) -> Later:
    window = sample.window(offset_s, frames=frames, clip=False, **options)
    return Later(alert(), window, sample.no(window, token=token))


def judged(case: Later) -> Any:
    return decide(case.verdict, case.window, case.rule, sample.CAMERA, sample.ORIGIN, case.alert, 0)


def said(case: Later, **changes: Any) -> Later:
    return case._replace(verdict=replace(case.verdict, **changes))


def scored(case: Later, sure_from: float | None, score: float, coarse: float) -> Later:
    """What the first look thought of the later window, and of the alert's own."""
    parts = case.alert.confidence.components | {"coarse": coarse}
    return case._replace(
        window=replace(case.window, span=replace(case.window.span, score=score, sure_from=sure_from)),
        alert=replace(case.alert, confidence=replace(case.alert.confidence, components=parts)),
    )


def clocked(case: Later) -> Later:
    first, *others = case.window.cut.frames
    frames = (replace(first, stamp=replace(first.stamp, source="arrival")), *others)
    return case._replace(window=replace(case.window, cut=replace(case.window.cut, frames=frames)))


def without(case: Later, *missing: int) -> Later:
    frames = tuple(frame for index, frame in enumerate(case.window.cut.frames) if index not in missing)
    return case._replace(window=replace(case.window, cut=replace(case.window.cut, frames=frames)))


def first_look(case: Later) -> Later:
    items = tuple(replace(item, check=replace(item.check, method="first_look")) for item in case.alert.evidence)
    return case._replace(alert=replace(case.alert, evidence=items))


KEPT: dict[str, Callable[[], Later]] = {
    "another camera": lambda: later(camera_id="gate-2"),
    "another rule": lambda: later(rule_id="other"),
    "the rule has changed": lambda: later()._replace(rule=replace(sample.RULE, question="Is a bag taken?")),
    "no for want of evidence": lambda: said(later(), reasons=("no_evidence",)),
    "no outside of the zones": lambda: said(later(), reasons=("outside_zones",)),
    "an unsure yes": lambda: said(later(), reasons=("unsure_yes",)),
    "a no with a fault": lambda: said(later(), reasons=("answer_no", "output_repeats")),
    "not a clear no": lambda: later(token=CLEAR_NO + 0.01),
    "not so clear when asked once more": lambda: said(
        later(), rechecks=(Recheck(kind="closer", status="unchecked", score=0.4, cost_s=1.0, tokens=90),)
    ),
    "no odds at all": lambda: said(later(), confidence=replace(later().verdict.confidence, components={"coarse": 0.9})),
    "begins after the first cited time": lambda: later(1.5),
    "ends too soon after the last": lambda: later(0.5, frames=5),
    "ends before it": lambda: later(-2.0, frames=6),
    "missed a cited time": lambda: without(later(), 0, 2, 3, 4),
    "missed the beginning": lambda: without(later(), 0, 1),
    "half of the frames came": lambda: later(expected=17),
    "damaged frames": lambda: later(corrupt=1),
    "on another clock": lambda: clocked(later()),
    "looked at another place": lambda: said(later(), view=Box(0.35, 0.0, 1.0, 1.0)),
    "a sure alert": lambda: later()._replace(alert=alert(p=SURE + 0.01)),
    "reviewed": lambda: later()._replace(alert=reviewed(alert(), "claimed", sample.START_NS, "Ana")),
    "seen twice": lambda: later()._replace(alert=alert(occurrences=2)),
    "closed": lambda: later()._replace(alert=alert(state="closed")),
    "retracted already": lambda: later()._replace(alert=alert(state="retracted")),
    "raised without the model's answer": lambda: first_look(later()),
    "the first look would have been believed": lambda: scored(later(), 0.95, 0.5, 0.95),
    "the later one as well": lambda: scored(later(), 0.95, 0.95, 0.5),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_alert_stays(name: str) -> None:
    case = KEPT[name]()
    assert judged(case) == Rejected(reason=case.verdict.reasons[0])


FALLEN: dict[str, Callable[[], Later]] = {
    "it saw all and a second more": later,
    "just so": lambda: later(1.0, frames=5, token=CLEAR_NO),
    "in full": lambda: later(-1.0, frames=12),
    "as sure as may be": lambda: later()._replace(alert=alert(p=SURE)),
    "sure but in conflict": lambda: later()._replace(
        alert=alert(p=0.9, decision=replace(alert().decision, status="needs_review"))
    ),
    "one frame missed": lambda: without(later(), 2),
    "a view around all boxes": lambda: said(later(), view=Box(0.2, 0.1, 0.5, 0.62)),
    "neither look sure": lambda: scored(later(), 0.95, 0.9, 0.9),
}


@pytest.mark.parametrize("name", FALLEN)
def test_an_alert_falls(name: str) -> None:
    case = FALLEN[name]()
    outcome = judged(case)
    assert isinstance(outcome, Retracted) and outcome.reason == "answer_no"
    last = outcome.alert
    assert (last.state, last.revision, last.decision.status) == ("retracted", case.alert.revision + 1, "rejected")
    assert last.decision.reasons == (*case.alert.decision.reasons, "contradicted_later")
    assert (last.evidence, last.claims, last.media) == (case.alert.evidence, case.alert.claims, case.alert.media)
    assert last.confidence == case.alert.confidence
    cited = [utc_ns(item.time) for item in last.evidence]
    against = [utc_ns(item.time) for item in last.counter_evidence]
    assert all(min(abs(moment - seen) for seen in against) <= SECOND // 2 for moment in cited)
    assert max(against) >= max(cited) + SECOND
    for item in last.counter_evidence:
        frame = case.window.cut.frames[item.frame.index_in_window]
        assert item.image_sha256 == item.frame.sha256 == frame.sha256() and item.frame.pts == frame.stamp.pts
        assert item.kind == "absence" and item.boxes == () and "Is a bag left?" in item.note
        assert item.note.endswith("answered “No. The bag is carried out again.”")
        assert item.check.score == pytest.approx(1 - case.verdict.confidence.components["vlm_token"])
    assert dict(headers(last, 0))["ce_type"].endswith(".alert.retracted.v1")
    assert decode(encode(last)) == last


def test_no_alert_falls_by_a_look_that_saw_less() -> None:
    """Windows at random places and of random lengths, with random views, against what the rule promises."""
    fallen = 0
    for seed in range(400):
        rng = random.Random(seed)
        case = later(rng.randrange(-30, 30) / 10, frames=rng.randrange(5, 14))
        x, y = rng.choice([0.0, 0.1, 0.3]), rng.choice([0.0, 0.05, 0.2])
        case = said(case, view=Box(x, y, rng.choice([0.45, 0.6, 1.0]), rng.choice([0.5, 0.7, 1.0])))
        outcome = judged(case)
        times = [frame.stamp.utc_ns for frame in case.window.cut.frames]
        cited = [utc_ns(item.time) for item in case.alert.evidence]
        saw = times[0] <= cited[0] and times[-1] >= cited[-1] + SECOND
        view = case.verdict.view
        saw &= view.x1 <= 0.2 and view.y1 <= 0.1 and view.x2 >= 0.5 and view.y2 >= 0.62
        assert isinstance(outcome, Retracted) == saw, seed
        fallen += saw
    assert 10 < fallen < 200


def test_what_comes_after_a_retraction_is_another_alert() -> None:
    gone = judged(later()).alert
    window = sample.window(3.0)
    outcome = decide(sample.verdict(window), window, sample.RULE, sample.CAMERA, sample.ORIGIN, gone, 0)
    assert isinstance(outcome, New) and outcome.alert.alert_id != gone.alert_id


def test_counter_evidence_is_bounded_and_avoids_gaps_of_the_alert() -> None:
    window = sample.window(frames=40)
    answer = sample.verdict(window, p=0.7)
    many = tuple(
        replace(
            answer.evidence[i % 2], claim=i % 2, frame=i % 30, frame_sha256=window.cut.frames[i % 30].sha256(),
            stamp=window.cut.frames[i % 30].stamp,
        )
        for i in range(60)
    )  # fmt: skip
    sentences = tuple(replace(answer.claims[i % 2], text=f"Sentence number {i} about a thing.") for i in range(60))
    full = replace(answer, claims=sentences, evidence=tuple(replace(e, claim=i % 60) for i, e in enumerate(many)))
    born = from_verdict(full, window, sample.RULE, sample.CAMERA, sample.ORIGIN, 0)
    after = sample.window(-0.5, frames=42)
    frames = shown(born, after)
    assert len(frames) == MAX_SHOWN and frames[-1] == 41 and list(frames) == sorted(set(frames))
    long = replace(born, rule=replace(born.rule, question="问" * 500))
    record = retracted(long, sample.no(after, answer="没有" * 300), after, frames, 0)
    assert len(encode(record)) < MAX_RECORD_BYTES and all(len(item.note) <= 120 for item in record.counter_evidence)
    one, other = (item.time for item in alert().evidence)
    gap = Gap(from_=one, to=other, reason="frames_missing")
    gapped = alert(coverage=replace(alert().coverage, gaps=(gap,)))
    assert [shown(each, sample.window(0.25, frames=8)) for each in (alert(), gapped)] == [(1, 3, 7), (1, 7)]


# In the store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        spooled(opened, sample.window())
        opened.raise_alert(sample.window().window_id, alert())
        yield opened


def spooled(store: Store, window: Window) -> None:
    store.flag(window.span)
    store.put_window(window)


def retract(store: Store, case: Later) -> Alert:
    spooled(store, case.window)
    outcome = judged(case)
    store.retract(case.window.window_id, outcome.alert, case.verdict)
    last: Alert = outcome.alert
    return last


def test_a_retraction_is_stored_whole(store: Store) -> None:
    heard: list[tuple[str, int]] = []
    store.watch(lambda one: heard.append((one.state, one.revision)))
    case = later()
    last = retract(store, case)
    assert store.alert(last.alert_id) == last and [one.revision for one in store.revisions(last.alert_id)] == [1, 2]
    assert store.counts() == {"flagged": 2, "alert": 1, "rejected": 1, "merged": 0, "shed": 0}
    assert [dict(row.headers)["ce_type"].split(".")[-2] for row in store.outbox_pending(9)] == ["opened", "retracted"]
    assert heard == [("retracted", 2)]
    assert store.unfinished() == [] and list((store.data / "spool").iterdir()) == []
    assert store.window(last.alert_id) == sample.window(), "what replays is the alert's own window"
    for item in last.counter_evidence:
        content = counter_frame(store, last, item.frame.index_in_window)
        assert content == case.window.cut.frames[item.frame.index_in_window].jpeg
    assert len(contact_sheet(store, last)) > len(contact_sheet(store, store.revisions(last.alert_id)[0]))
    assert verify(store) == []


@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_a_changed_byte_of_counter_evidence_is_found(store: Store, at: float) -> None:
    last = retract(store, later())
    for path in sorted((store.evidence_folder(last.alert_id) / "counter").iterdir()):
        original = path.read_bytes()
        content = bytearray(original)
        content[int(len(content) * at)] ^= 1
        path.write_bytes(bytes(content))
        assert [Path(d.file) for d in verify(store)] == [path.relative_to(store.data)]
        path.unlink()
        assert "cannot be read" in verify(store)[0].problem
        path.write_bytes(original)
    (store.evidence_folder(last.alert_id) / "counter" / "frame-999.jpg").write_bytes(b"x")
    (store.evidence_folder(last.alert_id) / "stray").mkdir()
    assert {Path(d.file).name for d in verify(store)} == {"frame-999.jpg", "stray"}


@pytest.mark.parametrize("harm", ["time", "sha256", "uri"])
def test_a_changed_record_of_counter_evidence_is_found(store: Store, harm: str) -> None:
    last = retract(store, later())
    first, *others = last.counter_evidence
    wrong = {
        "time": {"time": last.time.window[0]},
        "sha256": {"image_sha256": "0" * 64},
        "uri": {"image_uri": first.image_uri.replace("counter/", "")},
    }[harm]
    forged = replace(last, counter_evidence=(replace(first, **wrong), *others))
    store._tx.change(
        lambda db: db.execute("UPDATE revision SET record = ? WHERE revision = 2", (msgspec.json.encode(forged),))
    )
    assert {d.alert_id for d in verify(store)} == {last.alert_id}


def test_a_review_in_between_wins(store: Store) -> None:
    """Decided on revision 1, but a person was quicker: nothing has changed, and the next decision sees the person."""
    case = later()
    spooled(store, case.window)
    outcome = judged(case)
    store.review(case.alert.alert_id, "confirmed", "Ana")
    with pytest.raises(RevisionConflict):
        store.retract(case.window.window_id, outcome.alert, case.verdict)
    assert store.unfinished() == [case.window.window_id] and verify(store) == []
    assert isinstance(judged(case._replace(alert=store.alerts()[0])), Rejected)


def test_what_fails_half_way_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    case = later()
    spooled(store, case.window)
    outcome = judged(case)
    with monkeypatch.context() as patched:
        patched.setattr("alerts.ledger.retract", _full)
        with pytest.raises(StoreFull):
            store.retract(case.window.window_id, outcome.alert, case.verdict)
    assert not (store.evidence_folder(case.alert.alert_id) / "counter").exists()
    assert len(store.revisions(case.alert.alert_id)) == 1 and verify(store) == []
    store.retract(case.window.window_id, outcome.alert, case.verdict)
    assert store.alert(case.alert.alert_id) == outcome.alert and verify(store) == []


def _full(*_: Any) -> None:
    raise StoreFull("no room")


def test_a_crash_before_the_rows_leaves_the_alert_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `kill -9` between the files and the transaction: the files are there, and nobody removed them."""
    case = later()
    with Store.open(tmp_path) as store:
        spooled(store, sample.window())
        store.raise_alert(sample.window().window_id, case.alert)
        spooled(store, case.window)
        monkeypatch.setattr("alerts.ledger.retract", _full)
        monkeypatch.setattr("alerts.evidence_files.EvidenceFiles.remove", lambda *_: None)
        with pytest.raises(StoreFull):
            store.retract(case.window.window_id, judged(case).alert, case.verdict)
        monkeypatch.undo()
        assert (store.evidence_folder(case.alert.alert_id) / "counter").exists() and verify(store) == []
    with Store.open(tmp_path) as store:
        names = {path.name for path in store.evidence_folder(case.alert.alert_id).iterdir()}
        assert "counter" not in names and "frame-000.jpg" in names and verify(store) == []
        assert store.unfinished() == [case.window.window_id]
