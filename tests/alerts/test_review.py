"""Reviews: appended revisions, told to the bus, also beside a running node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from alerts.alert import decode
from alerts.errors import RevisionConflict, StoreBusy, StoreMissing, UnknownRecord
from alerts.policy import merge
from alerts.review import Said, reviewed
from alerts.store import Store
from alerts.verify import verify
from deploy.cli import main
from tests.alerts import sample

NOW_NS = sample.START_NS + 10**12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def raised(store: Store, offset_s: float = 0.0, **options: Any) -> str:
    window = sample.window(offset_s, **options)
    store.flag(window.span)
    store.put_window(window)
    alert = sample.alert(window)
    store.raise_alert(window.window_id, alert, sample.verdict(window))
    return alert.alert_id


@pytest.mark.parametrize("said", get_args(Said))
def test_a_review_is_the_next_revision_and_nothing_else(said: Said) -> None:
    before = sample.alert(sample.window())
    after = reviewed(before, said, NOW_NS, by="  Li\nWei ", note="a cyclist\x1b[31m\u202e")
    assert (after.revision, after.review.status, after.review.by) == (2, said, "Li Wei")
    assert after.review.at is not None and after.review.at.endswith("Z")
    assert after.review.reason == "a cyclist[31m"
    assert replace(after, revision=1, review=before.review) == before


def test_long_words_are_cut_and_empty_ones_are_none() -> None:
    after = reviewed(sample.alert(sample.window()), "unsure", NOW_NS, by="n" * 500, note="t" * 5000)
    assert (len(after.review.by or ""), len(after.review.reason or "")) == (120, 400)
    assert reviewed(after, "unsure", NOW_NS, by=" ").review.by is None


def test_reviews_are_appended(store: Store) -> None:
    alert_id = raised(store)
    store.review(alert_id, "claimed", "ann")
    store.review(alert_id, "confirmed", "ann")
    store.review(alert_id, "rejected", "bob", "it was a cleaner")
    assert [one.revision for one in store.revisions(alert_id)] == [1, 2, 3, 4]
    statuses = [one.review.status for one in store.revisions(alert_id)]
    assert statuses == ["none", "claimed", "confirmed", "rejected"]
    assert verify(store) == []


def test_a_review_goes_to_the_bus_as_such(store: Store) -> None:
    told: list[str] = []
    store.watch(lambda alert: told.append(alert.review.status))
    store.review(raised(store), "confirmed")
    first, second = store.outbox_pending(10)
    assert dict(second.headers)["ce_type"].endswith(".alert.reviewed.v1")
    assert dict(second.headers)["ce_sequence"] == "00000002"
    assert decode(second.value).review.status == "confirmed"
    assert (first.revision, second.revision, told[-1]) == (1, 2, "confirmed")


def test_an_unknown_alert(store: Store) -> None:
    with pytest.raises(UnknownRecord, match="no alert nothing in the store"):
        store.review("nothing", "confirmed")


def test_a_review_beside_the_node_makes_it_read_again(store: Store) -> None:
    """Another process adds a review between the node's look and its write."""
    alert_id = raised(store)
    window = sample.window(5.0)
    store.flag(window.span)
    store.put_window(window)
    seen = store.alert(alert_id)
    assert seen is not None
    with Store.open(store.data, beside=True) as other:
        other.review(alert_id, "rejected", "bob")
    with pytest.raises(RevisionConflict):
        store.merge(window.window_id, merge(seen, sample.verdict(window), window, NOW_NS))
    now = store.alert(alert_id)
    assert now is not None
    store.merge(window.window_id, merge(now, sample.verdict(window), window, NOW_NS))
    last = store.alert(alert_id)
    assert last is not None
    assert (last.revision, last.occurrences, last.review.status) == (3, 2, "rejected")


def test_the_line_decides_again_when_a_review_came_between(store: Store) -> None:
    from deploy.ledger import Ledger
    from deploy.stages import Decide, Judgement

    alert_id = raised(store)
    window = sample.window(5.0)
    store.flag(window.span)
    store.put_window(window)
    ledger = Ledger()
    ledger.flag(window.window_id)

    class Hasty(Store):
        """Reviews right after the line has looked, once."""

        done = False

        def latest_alert(self, camera_id: str, rule_id: str) -> Any:
            found = super().latest_alert(camera_id, rule_id)
            if not Hasty.done:
                Hasty.done = True
                with Store.open(self.data, beside=True) as other:
                    other.review(alert_id, "confirmed")
            return found

    store.__class__ = Hasty
    cameras = {"gate-1": sample.CAMERA}
    decide = Decide(cameras, {sample.RULE.id: sample.RULE}, lambda: sample.ORIGIN, store, ledger, lambda _: None)
    decide([Judgement(window, sample.verdict(window))])
    assert ledger.windows().merged == 1
    last = store.alert(alert_id)
    assert last is not None and (last.revision, last.review.status) == (3, "confirmed")


def test_beside_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        Store.open(tmp_path / "none", beside=True)
    assert not (tmp_path / "none").exists()


def test_the_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """While this process holds the folder as a node does."""
    alert_id = raised(store)
    with pytest.raises(StoreBusy):
        Store.open(store.data)
    where = ["--data", str(store.data)]
    assert main(["alerts", "review", alert_id[:30], "false", "--by", "ann", "--note", "a bin", *where, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["revision"], printed["review"]["status"], printed["review"]["by"]) == (2, "rejected", "ann")
    assert main(["alerts", "review", alert_id, "confirm", *where]) == 0
    assert "(confirmed)" in capsys.readouterr().out
    assert main(["alerts", "show", alert_id, *where]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any("rejected by ann at 20" in line and line.endswith(": a bin") for line in shown)
    assert main(["alerts", "review", "zzz", "confirm", *where]) == 2
