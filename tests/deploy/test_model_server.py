"""A whole line whose model is on a server: side by side, in trouble, and stored once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator

import pytest

from alerts.store import Store
from deploy.check import examine
from deploy.config import Config
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from tests.deploy.scripted import RULE, ScriptedScorer, Site
from tests.deploy.test_pipeline import total, until
from tests.reasoner import vllm
from tests.reasoner.vllm import KEY, MODEL, Vllm


@pytest.fixture
def server() -> Iterator[Vllm]:
    served = Vllm(takes_s=0.4)
    yield served
    served.shutdown()
    served.server_close()


def config(server: Vllm, **more: object) -> ReasonerConfig:
    return ReasonerConfig(
        **{"model": MODEL, "backend": "openai", "base_url": server.url, "api_key": KEY, "max_requests": 3} | more  # type: ignore[arg-type]
    )


def test_windows_are_asked_about_side_by_side_and_each_verdict_is_stored_once(site: Site, server: Vllm) -> None:
    """The server resets, is busy and is too late; the answer that was given up is asked for again, under a new id."""
    server.faults = [vllm.resets, vllm.too_many, vllm.silent, vllm.half, vllm.crashed]
    asked = config(server, timeout_s=1.6)
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), lambda name, at: 2 <= at < 9), Reasoner.load(asked), asked)
        line.start()
        line.watch()
        until(lambda: line.ledger.windows().flagged >= 8)
        windows = line.stop()
        alerts = store.alerts(100)
    assert windows.flagged == total(windows) == windows.alert + windows.merged
    assert 2 <= server.most_busy <= 3 + 2, "one that was given up may still keep the server busy"
    with sqlite3.connect(site.data / "witness.db") as db:
        ends = Counter(window_id for (window_id,) in db.execute("SELECT window_id FROM terminal"))
    assert len(ends) == windows.flagged
    assert set(ends.values()) == {1}
    assert len(alerts) == windows.alert
    windows_asked = Counter(request["request_id"].rpartition("-")[0] for request in server.asked)
    assert set(windows_asked) == set(ends)
    assert max(windows_asked.values()) > 1, "some were asked about again"
    counts = line.reasoner.counts()
    assert counts["requests"] == len(server.asked)
    assert counts["retries"] >= 3


def test_a_server_that_fails_leaves_hot_windows_to_a_person(site: Site, server: Vllm) -> None:
    asked = config(server, model="gone")
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), lambda name, at: 2 <= at < 6), Reasoner.load(asked), asked)
        line.start()
        line.watch()
        until(lambda: line.ledger.windows().flagged >= 2)
        windows = line.stop()
        alerts = store.alerts(100)
    assert windows.flagged == windows.alert + windows.merged >= 2
    for alert in alerts:
        assert (alert.decision.status, alert.decision.reasons) == ("needs_review", ("model_failed",))
        assert alert.evidence[0].check.status == "unchecked"


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [(MODEL, "ok", f"serves {MODEL}"), ("gone", "FAIL", f"does not serve 'gone' but {MODEL}")],
)
def test_check_asks_the_server(server: Vllm, model: str, state: str, words: str) -> None:
    rows = examine(Config(rule=(RULE,), reasoner=config(server, model=model)), probe=True, timeout_s=2.0)
    (row,) = [row for row in rows if row.part == "reasoner"]
    assert row.state == state
    assert words in row.detail
