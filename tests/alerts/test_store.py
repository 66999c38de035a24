"""The store: one outcome for each window, evidence before rows, one writer, clear refusals."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alerts.config import StoreConfig
from alerts.errors import (
    EvidenceLost,
    RevisionConflict,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreUnusable,
    UnknownRecord,
    WindowEnded,
)
from alerts.policy import Merged, decide
from alerts.store import Store
from alerts.verify import verify
from detector.window import Window
from tests.alerts import sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def stored(store: Store, offset_s: float = 0.0, **options: Any) -> Window:
    """A window that was flagged and whose evidence is spooled."""
    window = sample.window(offset_s, **options)
    assert store.flag(window.span)
    store.put_window(window)
    return window


def raised(store: Store, offset_s: float = 0.0, **options: Any) -> str:
    window = stored(store, offset_s, **options)
    alert = sample.alert(window)
    store.raise_alert(window.window_id, alert, sample.verdict(window))
    return alert.alert_id


def test_a_window_is_flagged_once(store: Store) -> None:
    span = sample.window().span
    assert (store.flag(span), store.flag(span)) == (True, False)


def test_a_spooled_window_comes_back_as_it_was(store: Store) -> None:
    window = stored(store)
    assert store.unfinished() == [window.window_id]
    assert store.load_window(window.window_id) == window


def test_raising_moves_the_evidence_and_empties_the_spool(store: Store) -> None:
    alert_id = raised(store)
    names = {path.name for path in store.evidence_folder(alert_id).iterdir()}
    assert names == {*(f"frame-{i:03d}.jpg" for i in range(6)), "clip.mp4", "background.jpg"}
    assert store.window(alert_id) == sample.window()
    assert list((store.data / "spool").iterdir()) == []
    assert [alert.alert_id for alert in store.alerts()] == [alert_id]
    assert store.outbox_counts().pending == 1


ENDINGS: dict[str, Any] = {
    "alert": lambda s, w: s.raise_alert(w.window_id, sample.alert(w)),
    "rejected": lambda s, w: s.reject(w.window_id, sample.verdict(w, decision="rejected", p=0.1)),
    "shed": lambda s, w: s.shed(w.window_id, "queue_full"),
}


@pytest.mark.parametrize("first", ENDINGS)
@pytest.mark.parametrize("second", ENDINGS)
def test_a_window_ends_once(store: Store, first: str, second: str) -> None:
    window = stored(store)
    ENDINGS[first](store, window)
    with pytest.raises((WindowEnded, EvidenceLost)):
        ENDINGS[second](store, window)
    counts = store.counts()
    assert counts == {"flagged": 1, "alert": 0, "rejected": 0, "merged": 0, "shed": 0} | {first: 1}
    assert store.unfinished() == []
    assert list((store.data / "spool").iterdir()) == []
    assert verify(store) == []


def test_merging_makes_the_next_revision(store: Store) -> None:
    alert_id = raised(store)
    window = stored(store, 5.0)
    latest = store.latest_alert("gate-1", "bag-left")
    outcome = decide(sample.verdict(window), window, sample.RULE, sample.CAMERA, sample.ORIGIN, latest, 0)
    assert isinstance(outcome, Merged)
    store.merge(window.window_id, outcome.alert)
    assert [(a.revision, a.occurrences) for a in store.revisions(alert_id)] == [(1, 1), (2, 2)]
    assert store.alert(alert_id) == outcome.alert == store.latest_alert("gate-1", "bag-left")
    assert store.counts()["merged"] == 1
    assert [row.revision for row in store.outbox_pending(9)] == [1, 2]
    assert verify(store) == []


def test_a_stale_revision_changes_nothing(store: Store) -> None:
    alert_id = raised(store)
    window = stored(store, 5.0)
    first = store.revisions(alert_id)[0]
    with pytest.raises(RevisionConflict):
        store.merge(window.window_id, replace(first, revision=3))
    assert store.unfinished() == [window.window_id]
    assert len(store.revisions(alert_id)) == 1


def test_one_alert_cannot_be_raised_for_two_windows(store: Store) -> None:
    alert_id = raised(store)
    other = stored(store, 5.0)
    taken = store.alerts()[0]
    with pytest.raises(RevisionConflict):
        store.raise_alert(other.window_id, taken)
    assert store.window(alert_id) == sample.window()
    assert store.unfinished() == [other.window_id]


def test_unknown_windows_are_refused(store: Store) -> None:
    window = sample.window()
    with pytest.raises(UnknownRecord):
        store.put_window(window)
    with pytest.raises(UnknownRecord):
        store.shed(window.window_id, "x")
    with pytest.raises(UnknownRecord):
        store.window("01987c1e-7a52-7c3e-9a10-3f0a1b2c3d4e")
    assert store.alert("01987c1e-7a52-7c3e-9a10-3f0a1b2c3d4e") is None


def test_pages_are_newest_first(store: Store) -> None:
    ids = [raised(store, 100.0 * i) for i in range(5)]
    first = store.alerts(limit=2)
    assert [a.alert_id for a in first] == ids[:2:-1]
    assert [a.alert_id for a in store.alerts(limit=9, before=first[-1].alert_id)] == ids[2::-1]
    assert store.alerts(before="unknown") == []


def test_an_open_alert_closes_once_no_window_of_its_rule_is_awaited(store: Store) -> None:
    alert_id = raised(store)
    others = [stored(store, 5.0, camera_id="gate-2"), stored(store, 6.0, rule_id="other")]
    mine = stored(store, 7.0)
    assert store.close_alert(alert_id) is None
    store.review(alert_id, "claimed")
    store.shed(mine.window_id, "queue_full")
    over = store.close_alert(alert_id)
    assert over is not None and over == store.alert(alert_id)
    assert (over.state, over.revision, over.review.status) == ("closed", 3, "claimed")
    assert store.close_alert(alert_id) is None and len(store.revisions(alert_id)) == 3
    assert len(store.outbox_pending(9)) == 3 and len(store.unfinished()) == len(others)
    with pytest.raises(UnknownRecord):
        store.close_alert("01987c1e-7a52-7c3e-9a10-3f0a1b2c3d4e")
    assert verify(store) == []


def test_open_alerts_are_those_whose_last_revision_is(store: Store) -> None:
    ids = [raised(store, 100.0 * i) for i in range(4)]
    store.close_alert(ids[1])
    store.review(ids[2], "confirmed", note='"state":"open"')
    assert [alert.alert_id for alert in store.open_alerts()] == [ids[0], ids[2], ids[3]]


def test_watchers_hear_of_each_revision(store: Store) -> None:
    heard: list[tuple[str, int]] = []
    store.watch(lambda alert: heard.append((alert.alert_id, alert.revision)))
    alert_id = raised(store)
    store.revise(replace(store.alerts()[0], revision=2), "reviewed")
    assert heard == [(alert_id, 1), (alert_id, 2)]
    assert dict(store.outbox_pending(9)[1].headers)["ce_type"].endswith("reviewed.v1")


def test_a_restart_finishes_what_was_stored(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        kept, lost = stored(store), sample.window(50.0)
        store.flag(lost.span)
    with Store.open(tmp_path) as store:
        assert store.recover() == 1
        assert store.unfinished() == [kept.window_id]
        store.raise_alert(kept.window_id, sample.alert(store.load_window(kept.window_id)))
        everything = {"flagged": 2, "alert": 1, "rejected": 0, "merged": 0, "shed": 1}
        assert store.counts() == store.counts(this_run=True) == everything
    with Store.open(tmp_path) as store:
        assert store.recover() == 0
        assert store.counts() == everything
        assert set(store.counts(this_run=True).values()) == {0}


def test_recovery_leaves_the_running_windows_alone(store: Store) -> None:
    store.flag(sample.window().span)
    assert store.recover() == 0


def test_damaged_spooled_evidence_is_shed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        window = stored(store)
    path = next((tmp_path / "spool").iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with Store.open(tmp_path) as store:
        with pytest.raises(EvidenceLost, match="damaged"):
            store.load_window(window.window_id)
        assert store.recover() == 1
        assert store.counts()["shed"] == 1


def test_the_second_writer_is_refused_by_name(store: Store) -> None:
    code = "import sys; from pathlib import Path; from alerts.store import Store; Store.open(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.data)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "StoreBusy" in done.stderr
    assert "in use by process" in done.stderr
    with pytest.raises(StoreBusy):
        Store.open(store.data)


def test_readers_look_on_while_a_run_writes(store: Store) -> None:
    with Store.open(store.data, read_only=True) as reader:
        assert reader.alerts() == []
        alert_id = raised(store)
        assert [alert.alert_id for alert in reader.alerts()] == [alert_id]
        with pytest.raises(StoreError, match="reading only"):
            reader.shed("x", "y")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        Store.open(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


def _garbage(data: Path) -> None:
    (data / "witness.db").write_bytes(b"no database at all, " * 500)


def _foreign(data: Path) -> None:
    with sqlite3.connect(data / "witness.db") as other:
        other.execute("CREATE TABLE recipe (name TEXT)")
    other.close()


def _newer(data: Path) -> None:
    other = sqlite3.connect(data / "witness.db")
    other.execute("PRAGMA user_version = 99")
    other.close()


def _torn(data: Path) -> None:
    path = data / "witness.db"
    content = bytearray(path.read_bytes())
    content[4096:20480] = bytes(len(content[4096:20480]))
    path.write_bytes(bytes(content))


def _gone(data: Path) -> None:
    (data / "witness.db").unlink()


@pytest.mark.parametrize("harm", [_garbage, _foreign, _newer, _torn, _gone], ids=lambda f: f.__name__)
def test_a_database_that_cannot_be_trusted_is_refused(tmp_path: Path, harm: Any) -> None:
    if harm is not _foreign:
        with Store.open(tmp_path) as store:
            raised(store)
    harm(tmp_path)
    with pytest.raises(StoreUnusable) as refused:
        Store.open(tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_the_spool_is_bounded(tmp_path: Path) -> None:
    with Store.open(tmp_path, StoreConfig(spool_mib=1)) as store:
        big = sample.window()
        frames = tuple(replace(frame, jpeg=frame.jpeg + bytes(100_000)) for frame in big.cut.frames)
        big = replace(big, cut=replace(big.cut, frames=frames))
        store.flag(big.span)
        store.put_window(big)
        other = sample.window(50.0)
        other = replace(other, cut=replace(other.cut, frames=frames))
        store.flag(other.span)
        with pytest.raises(StoreFull, match="spool"):
            store.put_window(other)
        store.shed(other.window_id, "store_full")
        store.put_window(big)


def test_no_evidence_is_taken_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    with Store.open(tmp_path, StoreConfig(min_free_mib=1 << 40)) as store:
        window = sample.window()
        store.flag(window.span)
        with pytest.raises(StoreFull, match="must stay free"):
            store.put_window(window)


def test_the_last_rows_of_a_full_database_are_written_from_the_reserve(store: Store) -> None:
    """A page limit makes SQLite report a full disk; giving up the reserve is what lifts it on a real one."""
    windows = [stored(store, 100.0 * i) for i in range(3)]
    pages = store._tx._db.execute("PRAGMA page_count").fetchone()[0]
    store._tx._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull):
        for window in windows:
            store.raise_alert(window.window_id, sample.alert(window))
    assert not (store.data / "reserve").exists()
    kept = store.counts()["alert"]
    assert store.unfinished() == [window.window_id for window in windows[kept:]]
    store._tx._db.execute("PRAGMA max_page_count = 100000")
    for window in windows[kept:]:
        store.raise_alert(window.window_id, sample.alert(window))
    assert store.counts()["alert"] == 3
    assert verify(store) == []


def test_a_failed_write_of_evidence_leaves_no_file_and_no_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    window = stored(store)
    calls = iter(range(100))

    def full(handle: int) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreFull):
            store.raise_alert(window.window_id, sample.alert(window))
    assert list((store.data / "evidence").iterdir()) == []
    assert store.unfinished() == [window.window_id]
    store.raise_alert(window.window_id, sample.alert(window))
    assert verify(store) == []


def test_many_threads_end_every_window_once(store: Store) -> None:
    windows = [stored(store, 100.0 * i, clip=False) for i in range(12)]
    errors: list[BaseException] = []

    def work(order: list[Window]) -> None:
        for window in order:
            try:
                ENDINGS["alert"](store, window)
            except (WindowEnded, EvidenceLost, RevisionConflict):
                continue
            except (StoreError, OSError) as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(windows[i:] + windows[:i],)) for i in (0, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.counts()["alert"] == 12
    assert verify(store) == []
