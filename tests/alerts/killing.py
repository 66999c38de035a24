"""Runs a store in child processes that are killed, and looks at what they leave. Started by test_store_kill.py.

usage: killing.py DATA SEED STEPS TIMES BEGUN; BEGUN windows are ended and one more is stored in peace (0: none), then
a child dies at each of STEPS points of its file work, then after each of TIMES random pauses. Prints one JSON object;
exits 1 with the first broken invariant.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from functools import cache
from pathlib import Path

from alerts.policy import Merged, New, Retracted, decide
from alerts.store import Store
from alerts.verify import verify
from detector.window import Window
from tests.alerts import sample

FILE_WORK = ("open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree", "sqlite3.connect")
AGAIN = (1, 3)
"""Windows, of each six, that look again at what the one before them saw, and say no."""


@cache
def window(number: int) -> Window:
    """Far enough apart for a new alert every third time, near enough to merge otherwise; every third sees all that the
    window before it saw, and more."""
    if number % 6 in AGAIN:
        before = window(number - 1).span
        return sample.window((before.start_utc_ns - sample.START_NS) / 1e9 + 0.5, frames=8, clip=False)
    return sample.window(20.0 * number + 100.0 * (number // 3), frames=6, clip=number % 2 == 0)


def number_of(store: Store, window_id: str) -> int:
    """Windows are flagged in order of their numbers."""
    query = "SELECT rowid - 1 FROM flagged WHERE window_id = ?"
    return int(store._tx.read(lambda db: db.execute(query, (window_id,)).fetchone()[0]))


def end(store: Store, number: int, of: Window) -> None:
    if number % 5 == 4:
        store.shed(of.window_id, "queue_full")
        return
    verdict = sample.no(of) if number % 5 == 3 or number % 6 in AGAIN else sample.verdict(of, p=0.7)
    latest = store.latest_alert("gate-1", "bag-left")
    outcome = decide(verdict, of, sample.RULE, sample.CAMERA, sample.ORIGIN, latest, verdict.reasoned_utc_ns)
    if isinstance(outcome, New):
        store.raise_alert(of.window_id, outcome.alert, verdict)
    elif isinstance(outcome, Merged):
        store.merge(of.window_id, outcome.alert, verdict)
    elif isinstance(outcome, Retracted):
        store.retract(of.window_id, outcome.alert, verdict)
    else:
        store.reject(of.window_id, verdict, outcome.reason)


def live(data: Path, acknowledged: int, last: int | None = None) -> None:
    """What a run does: recover, finish, go on. Each ending that was acknowledged is told to the parent."""
    with Store.open(data) as store:
        store.recover()
        for window_id in store.unfinished():
            end(store, number_of(store, window_id), store.load_window(window_id))
            os.write(acknowledged, f"{window_id}\n".encode())
        for number in range(store.counts()["flagged"], 400 if last is None else last):
            of = window(number)
            store.flag(of.span)
            store.put_window(of)
            end(store, number, of)
            os.write(acknowledged, f"{of.window_id}\n".encode())


def die_at(step: int) -> None:
    seen = 0

    def hook(event: str, arguments: object) -> None:
        nonlocal seen
        if event in FILE_WORK:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def check(data: Path, acknowledged: Path) -> dict[str, int]:
    with Store.open(data, read_only=True) as store:
        db = store._tx._db
        flagged, ended, both = (
            {row[0] for row in db.execute(sql)}
            for sql in (
                "SELECT window_id FROM flagged",
                "SELECT window_id FROM terminal",
                "SELECT window_id FROM flagged WHERE spooled = 1",
            )
        )
        assert ended <= flagged, "an ending without a flagged window"
        told = set(acknowledged.read_text().split())
        assert told <= ended, f"an acknowledged ending is lost: {told - ended}"
        assert set(store.unfinished()) == both - ended, "a stored window is neither ended nor unfinished"
        for window_id in store.unfinished():
            assert store.load_window(window_id).window_id == window_id
        revisions = db.execute("SELECT count(*) FROM revision").fetchone()[0]
        assert store.outbox_counts().pending == revisions, "a revision is not in the outbox"
        endings = store.counts()
        alerts = store.alerts(limit=1000)
        retracted = sum(alert.state == "retracted" for alert in alerts)
        assert revisions == endings["alert"] + endings["merged"] + retracted, "revisions and endings differ"
        ids = [alert.alert_id for alert in alerts]
        assert len(ids) == len(set(ids)) == endings["alert"]
        assert verify(store) == [], verify(store)[0]
        return endings | {"retracted": retracted}


def child(data: Path, told: int, step: int | None) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            if step is not None:
                die_at(step)
            live(data, told)
        finally:
            os._exit(1)
    return pid


def main() -> None:
    data, acknowledged = Path(sys.argv[1]), Path(sys.argv[1]) / "acknowledged.txt"
    rng, steps, times = random.Random(int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    with Store.open(data):
        pass
    told = os.open(acknowledged, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    list(map(window, range(60)))
    if begun := int(sys.argv[5]):
        live(data, told, last=begun)
        with Store.open(data) as store:
            store.flag(window(begun).span)
            store.put_window(window(begun))
    kills = 0
    for step in [*range(1, 2 * steps, 2), *([None] * times)]:
        pid = child(data, told, step)
        if step is None:
            time.sleep(rng.uniform(0.005, 0.35))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the child ended by itself"
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
        check(data, acknowledged)
    with Store.open(data) as store:
        total = store.counts()["flagged"] + 3
    live(data, told, last=total)
    endings = check(data, acknowledged)
    assert sum(endings[k] for k in ("alert", "rejected", "merged", "shed")) == endings["flagged"]
    left = [path.name for path in (data / "spool").iterdir()]
    assert left == [], f"left in the spool: {left}"
    sys.stdout.write(json.dumps({"kills": kills, **endings}) + "\n")


if __name__ == "__main__":
    main()
