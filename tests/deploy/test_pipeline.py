"""Every flagged window ends exactly once, in this run or the next; real cameras, scripted scores and answers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

import pytest

from alerts.store import Store
from deploy.summary import Windows
from tests.deploy.scripted import RULE, ScriptedReasoner, ScriptedScorer, Site


def total(windows: Windows) -> int:
    return windows.alert + windows.rejected + windows.merged + windows.shed


def until(holds: Callable[[], bool], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def reasons(site: Site) -> dict[str, str]:
    with sqlite3.connect(site.data / "witness.db") as db:
        return dict(db.execute("SELECT window_id, reason FROM terminal WHERE outcome = 'shed'"))


def hot(seconds_from: float, seconds_to: float, camera: str = "a") -> Callable[[str, float], bool]:
    return lambda name, at: name == camera and seconds_from <= at < seconds_to


def test_alert_rejection_failure_and_merge_add_up(site: Site) -> None:
    rule = (RULE,)
    with Store.open(site.data) as store:
        scorer = ScriptedScorer(rule, hot(2, 60))
        reasoner = ScriptedReasoner(["yes", "no", "fail", "yes"])
        line = site.line(store, scorer, reasoner)
        line.start()
        line.watch()
        until(lambda: len(reasoner.seen) >= 4)
        windows = line.stop()
        assert windows.flagged == total(windows) >= 4
        assert windows.alert >= 1
        assert windows.rejected == 1
        assert windows.shed == 1
        assert windows.alert + windows.merged == windows.flagged - 2
        assert store.counts(this_run=True) == {name: getattr(windows, name) for name in windows.__struct_fields__}
        assert len(site.published) == windows.alert == len(store.alerts(100))
    assert list(reasons(site).values()) == ["failed: RuntimeError: the model gave up"]
    assert all(one.of_this_run for one in site.published)
    published = site.published[0]
    assert published.committed_utc_ns >= scorer.zero_ns
    assert published.alert.camera.id == "a"


def test_what_the_deadline_leaves_is_shed_with_its_reason(site: Site) -> None:
    with Store.open(site.data) as store:
        scorer = ScriptedScorer((RULE,), lambda name, at: at >= 2)
        reasoner = ScriptedReasoner(["hang"])
        line = site.line(store, scorer, reasoner, drain_s=1.0)
        line.start()
        line.watch()
        until(lambda: len(reasoner.seen) >= 1 and len(line.admission) >= 1)
        windows = line.stop()
        reasoner.released = True
        assert windows.flagged == total(windows) == windows.shed >= 2
        assert store.unfinished() == []
        time.sleep(0.5)
        assert line.ledger.windows() == windows, "a late answer changes nothing"
        assert line.ledger.late == len(reasoner.seen), "and is counted"
    assert set(reasons(site).values()) == {"stopped"}
    assert site.published == []


def test_the_next_start_finishes_what_was_stored(site: Site) -> None:
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), hot(2, 60)), ScriptedReasoner(["hang"]), drain_s=0.0)
        line.start()
        line.watch()
        until(lambda: len(store.unfinished()) >= 2)
        for camera in line.cameras.values():
            camera.stop()
        left = store.unfinished()
    with Store.open(site.data) as store:
        assert set(left) <= set(store.unfinished())
        again = site.line(store, ScriptedScorer((RULE,), hot(0, 0)), ScriptedReasoner(["yes", "no"]))
        again.start()
        taken_over = again.resume()
        assert taken_over >= 2
        assert again.ledger.wait_until_done(30)
        assert again.stop() == Windows()
        assert store.unfinished() == []
        assert sum(again.ledger.finished_earlier.values()) == taken_over
        assert [one.of_this_run for one in site.published] == [False]
        assert len(store.alerts(100)) == 1


def test_a_window_whose_rule_is_gone_is_shed_at_the_next_start(site: Site) -> None:
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), hot(2, 60)), ScriptedReasoner(["hang"]), drain_s=0.0)
        line.start()
        line.watch()
        until(lambda: len(store.unfinished()) >= 1)
        for camera in line.cameras.values():
            camera.stop()
    site.cameras = site.cameras[1:]
    with Store.open(site.data) as store:
        again = site.line(store, ScriptedScorer((RULE,), hot(0, 0)), ScriptedReasoner())
        again.start()
        again.resume()
        again.stop()
        assert store.unfinished() == []
    assert "camera_or_rule_gone" in reasons(site).values()


def test_a_dead_camera_harms_no_other(site: Site) -> None:
    import msgspec

    dead = msgspec.structs.replace(site.cameras[1], url="rtsp://127.0.0.1:9/none")
    site.cameras = (site.cameras[0], dead)
    with Store.open(site.data) as store:
        scorer = ScriptedScorer((RULE,), lambda name, at: at >= 2)
        line = site.line(store, scorer, ScriptedReasoner())
        line.start()
        line.watch()
        until(lambda: bool(site.published))
        states = {status.camera_id: (status.state, bool(status.reason)) for status in line.statuses()}
        windows = line.stop()
    assert states["a"] == ("online", False)
    assert states["b"][0] in {"offline", "connecting"}
    assert windows.flagged == total(windows) >= 1


@pytest.mark.parametrize("waiting", [1, 3])
def test_more_windows_than_can_be_looked_at_are_shed_and_counted(site: Site, waiting: int) -> None:
    with Store.open(site.data) as store:
        scorer = ScriptedScorer((RULE,), lambda name, at: at >= 2)
        reasoner = ScriptedReasoner(["hang"])
        line = site.line(store, scorer, reasoner, waiting_windows=waiting)
        line.start()
        line.watch()
        until(lambda: line.admission.dropped >= 2)
        assert len(line.admission) <= waiting
        reasoner.released = True
        windows = line.stop()
        assert windows.flagged == total(windows)
        assert windows.shed >= 2
        assert store.counts(this_run=True)["shed"] == windows.shed
    assert all(reason == "overload" or reason.startswith("merged_into=") for reason in reasons(site).values())
