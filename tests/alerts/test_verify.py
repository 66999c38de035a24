"""A flipped byte in any stored file is found and named; so is everything else that no longer agrees."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerts.store import Store
from alerts.verify import verify
from tests.alerts import sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        for offset_s in (0.0, 200.0):
            window = sample.window(offset_s)
            opened.flag(window.span)
            opened.put_window(window)
            opened.raise_alert(window.window_id, sample.alert(window))
        yield opened


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(bytes(content))


def files(store: Store) -> list[Path]:
    return sorted(path for path in (store.data / "evidence").rglob("*") if path.is_file())


def test_an_untouched_store_agrees(store: Store) -> None:
    assert verify(store) == []
    assert len(files(store)) == 2 * 8


@pytest.mark.parametrize("at", [0.0, 0.3, 2 / 3, 0.999])
def test_a_flipped_byte_is_found_and_named_in_every_file(store: Store, at: float) -> None:
    for path in files(store):
        original = path.read_bytes()
        flip(path, at)
        found = verify(store)
        assert [Path(d.file) for d in found] == [path.relative_to(store.data)], path
        assert path.name in str(found[0])
        path.write_bytes(original)
    assert verify(store) == []


def test_missing_and_surplus_files_are_named(store: Store) -> None:
    first = files(store)[0]
    first.unlink()
    (first.parent / "frame-999.jpg").write_bytes(sample.picture(1))
    (store.data / "evidence" / "stray").mkdir()
    named = {d.file.rsplit("/", 1)[1]: d.problem for d in verify(store)}
    assert "cannot be read" in named[first.name]
    assert "not in the alert's manifest" in named["frame-999.jpg"]
    assert "belongs to no alert" in named["stray"]


def _box(record: dict[str, Any]) -> None:
    record["evidence"][0]["boxes"][0]["box"] = [0.1, 0.1, 0.9, 0.9]


def _time(record: dict[str, Any]) -> None:
    record["evidence"][0]["time"] = record["time"]["window"][0]


def _window(record: dict[str, Any]) -> None:
    record["time"]["window"] = ["2001-01-01T00:00:00.000Z", "2001-01-01T00:00:01.000Z"]


def _frame(record: dict[str, Any]) -> None:
    record["evidence"][0]["frame"]["sha256"] = "0" * 64


def _pts(record: dict[str, Any]) -> None:
    record["evidence"][0]["frame"]["pts"] += 1


def _keyframe(record: dict[str, Any]) -> None:
    record["media"]["keyframes"][0]["sha256"] = "0" * 64


def _size(record: dict[str, Any]) -> None:
    record["media"]["keyframes"][0]["w"] += 1


def _clip(record: dict[str, Any]) -> None:
    record["media"]["clip"]["sha256"] = "0" * 64


def _uri(record: dict[str, Any]) -> None:
    record["evidence"][0]["image_uri"] = "evidence/../../etc/passwd"


def _broken(record: dict[str, Any]) -> None:
    del record["summary"]


@pytest.mark.parametrize(
    "harm", [_box, _time, _window, _frame, _pts, _keyframe, _size, _clip, _uri, _broken], ids=lambda f: f.__name__
)
def test_a_changed_record_is_found(store: Store, harm: Any) -> None:
    alert_id = store.alerts()[0].alert_id
    record = json.loads(store.records(alert_id)[0])
    harm(record)
    db = sqlite3.connect(store.data / "witness.db")
    with db:
        db.execute("UPDATE revision SET record = ? WHERE alert_id = ?", (json.dumps(record).encode(), alert_id))
    db.close()
    found = verify(store)
    assert {d.alert_id for d in found} == {alert_id}


def test_a_changed_manifest_is_found(store: Store) -> None:
    alert_id = store.alerts()[0].alert_id
    db = sqlite3.connect(store.data / "witness.db")
    with db:
        db.execute("UPDATE evidence_file SET width = 99 WHERE alert_id = ? AND name = 'frame-001.jpg'", (alert_id,))
    db.close()
    assert [d.file for d in verify(store)] == [f"evidence/{alert_id}/frame-001.jpg"]


def test_a_store_that_is_being_written_to_agrees_with_itself(store: Store) -> None:
    with Store.open(store.data, read_only=True) as reader:
        window = sample.window(400.0)
        store.flag(window.span)
        store.put_window(window)
        assert verify(reader) == []
