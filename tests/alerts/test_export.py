"""A site's verdicts as training rows: what is told, what is copied, and that training reads it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from alerts.birth import from_verdict
from alerts.export import export, usable
from alerts.film import film
from alerts.review import Said
from alerts.schema.documents import export_schema
from alerts.store import Store
from deploy.cli import main
from ingest.frame import Clip
from reasoner.boxes import Box
from reasoner.parse import parse
from reasoner.train.conversation import target
from reasoner.train.shown import Pick, show
from reasoner.train.stgr_file import read
from tests.alerts import sample
from tests.reasoner.conftest import save_tiny


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def kept(
    store: Store, offset_s: float, said: Said | None, *, clip_s: int = 5, checks: Any = None, rule: Any = sample.RULE
) -> str:
    """A raised alert whose clip starts one second before its first frame; clip_s = 0: without one."""
    window = sample.window(offset_s, clip=False)
    if clip_s:
        start = window.cut.frames[0].stamp.utc_ns - 10**9
        clip = Clip(mp4=sample.mp4(clip_s), start_utc_ns=start, end_utc_ns=start + clip_s * 10**9, codec="h264")
        window = replace(window, cut=replace(window.cut, clip=clip))
    store.flag(window.span)
    store.put_window(window)
    options = {"checks": checks} if checks else {}
    verdict = sample.verdict(window, **options)
    alert = from_verdict(verdict, window, rule, sample.camera("gate-1"), sample.ORIGIN, verdict.reasoned_utc_ns + 10**7)
    store.raise_alert(window.window_id, alert, verdict)
    if said:
        store.review(alert.alert_id, said, "ann")
    return alert.alert_id


def test_verdicts_become_rows(store: Store, tmp_path: Path) -> None:
    yes, no, none = kept(store, 0, "confirmed"), kept(store, 100, "rejected"), kept(store, 200, None)
    kept(store, 300, "unsure")
    out = tmp_path / "rows"
    made = export(store, out)
    assert (made.rows, made.yes, made.no, made.undecided, made.left_out) == (2, 1, 1, 2, ())
    first, second = read(out / "stgr.json")
    assert (first.id, second.id) == (yes, no)
    assert first.question == second.question == "Is a bag left?"
    # Person in frame 2, bag in frame 4 of a window whose clip starts a second before it, frames half a second apart.
    assert [(one.object, one.time_s, one.boxes) for one in first.cited()] == [
        ("person", 2.0, (Box(0.2, 0.1, 0.31, 0.48),)),
        ("bag", 3.0, (Box(0.4, 0.5, 0.5, 0.62),)),
    ]
    assert first.answer == "Yes. Object left behind from 2.0s to 3.0s."
    assert first.span_s() == (2.0, 3.0)
    assert (second.cited(), second.key_items) == ((), {})
    assert parse(target(second, "rel1000")).yes is False
    assert none not in (out / "stgr.json").read_text()
    assert "ann" not in (out / "stgr.json").read_text()


def test_a_target_of_an_exported_row_is_read_as_its_evidence(store: Store, tmp_path: Path) -> None:
    kept(store, 0, "confirmed")
    export(store, tmp_path / "rows")
    (row,) = read(tmp_path / "rows" / "stgr.json")
    said = parse(target(row, "rel1000"))
    assert said.yes is True
    assert [(claim.object, claim.time_s, claim.boxes[0].numbers) for claim in said.claims] == [
        ("person", 2.0, (200, 100, 310, 480)),
        ("bag", 3.0, (400, 500, 500, 620)),
    ]


def test_media_are_the_stores_own(store: Store, tmp_path: Path) -> None:
    alert_id = kept(store, 0, "confirmed")
    out = tmp_path / "rows"
    export(store, out)
    assert (out / "videos" / f"{alert_id}.mp4").read_bytes() == store.clip_path(alert_id).read_bytes()
    frames = sorted((out / "kfs" / alert_id).iterdir())
    assert [frame.name for frame in frames] == ["frame-002.jpg", "frame-004.jpg"]
    assert frames[0].read_bytes() == store.frame_path(alert_id, 2).read_bytes()
    (row,) = read(out / "stgr.json")
    assert all((out / frame.path).is_file() for frame in row.key_frames)


@pytest.mark.parametrize("clip_s", [5, 0])
def test_rows_can_be_shown_for_training(store: Store, tmp_path: Path, clip_s: int) -> None:
    """With the camera's clip, and with a film of the frames where there is none."""
    kept(store, 0, "confirmed", clip_s=clip_s)
    kept(store, 100, "rejected", clip_s=clip_s)
    out = tmp_path / "rows"
    export(store, out)
    for row in read(out / "stgr.json"):
        shown = show(row, out, Pick(step_s=0.5, most=12), 1)
        assert shown.pictures[0].shape == (96, 160, 3)
        assert {frame.time for frame in row.key_frames} <= {round(t, 1) for t in shown.times_s}


def test_exported_rows_train_a_model(store: Store, tmp_path: Path) -> None:
    from reasoner.train.finetune import finetune
    from reasoner.train.finetune_config import FinetuneConfig

    kept(store, 0, "confirmed")
    kept(store, 100, "rejected", clip_s=0)
    out = tmp_path / "rows"
    export(store, out)
    settings = FinetuneConfig(
        model=str(save_tiny(tmp_path / "tiny")), rows=str(out / "stgr.json"), videos=str(out), steps=1, batch=2,
        max_frames=4, min_frame_pixels=1024, max_frame_pixels=4096, workers=0, threads=1,
    )  # fmt: skip
    finetune(settings, tmp_path / "run", resume=False)
    (line,) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert line["loss"] > 0
    assert line["grounded"] > 0


def test_the_film_is_the_stored_frames(store: Store) -> None:
    frames = sample.window().cut.frames
    with av.open(io.BytesIO(film(frames)), "r") as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        assert [hashlib.sha256(bytes(p)).hexdigest() for p in packets] == [frame.sha256() for frame in frames]
        assert [float((p.pts or 0) * (p.time_base or 0)) for p in packets] == [0.5 * k for k in range(6)]
    with pytest.raises(ValueError, match="no frames"):
        film(())


def test_contradicted_evidence_is_not_learnt(store: Store, tmp_path: Path) -> None:
    half = kept(store, 0, "confirmed", checks=("supported", "contradicted"))
    nothing = kept(store, 100, "confirmed", checks=("contradicted", "contradicted"))
    made = export(store, tmp_path / "rows")
    alert = store.alert(half)
    assert alert is not None and [item.boxes[0].label for item in usable(alert)] == ["person"]
    (row,) = read(tmp_path / "rows" / "stgr.json")
    assert [one.object for one in row.cited()] == ["person"]
    assert [one.alert_id for one in made.left_out] == [nothing]
    assert "contradict every piece" in made.left_out[0].reason


def test_changed_evidence_is_left_out_by_name(store: Store, tmp_path: Path) -> None:
    bad, gone, good = (kept(store, 100 * k, "confirmed") for k in range(3))
    store.frame_path(bad, 2).write_bytes(sample.picture(7))
    store.clip_path(gone).unlink()
    made = export(store, tmp_path / "rows")
    assert [row.id for row in read(tmp_path / "rows" / "stgr.json")] == [good]
    reasons = {one.alert_id: one.reason for one in made.left_out}
    assert f"frame-002.jpg of alert {bad} has changed" in reasons[bad]
    assert f"clip.mp4 of alert {gone} cannot be read" in reasons[gone]


def test_chinese_rules_give_chinese_rows(store: Store, tmp_path: Path) -> None:
    rule = replace(sample.RULE, language="zh", question="有人遗留物品吗?")
    kept(store, 0, "confirmed", rule=rule)
    kept(store, 100, "rejected", rule=rule)
    export(store, tmp_path / "rows")
    yes, no = read(tmp_path / "rows" / "stgr.json")
    assert yes.answer == "Yes. 遗留物品，从2.0秒到3.0秒。"
    assert yes.span_s() == (2.0, 3.0)
    assert [parse(target(row, "rel1000")).yes for row in (yes, no)] == [True, False]
    assert len(parse(target(yes, "rel1000")).claims) == 2


def test_the_flat_form_says_what_it_lost(store: Store, tmp_path: Path) -> None:
    kept(store, 0, "confirmed")
    made = export(store, tmp_path / "rows", "flat")
    (raw,) = json.loads((tmp_path / "rows" / "flat.json").read_text())
    assert {"video_path", "question", "answer", "timestamps", "bboxes"} <= raw.keys()
    assert raw["timestamps"] == [2.0, 3.0]
    assert made.lost["id"] == 1
    assert len(read(tmp_path / "rows" / "flat.json")[0].cited()) == 2


def test_the_command_and_its_schema(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(store, 0, "confirmed")
    where = ["--data", str(store.data), "--out", str(tmp_path / "rows")]
    assert main(["alerts", "export", *where, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    check = Draft202012Validator(export_schema())
    assert list(check.iter_errors(printed)) == []
    for change in ({"rows": -1}, {"format": "csv"}, {"extra": 1}, {"left_out": [{"alert_id": "x"}]}):
        assert list(check.iter_errors({**printed, **change})) != []
    bad = kept(store, 100, "confirmed")
    store.clip_path(bad).unlink()
    assert main(["alerts", "export", *where, "--format", "flat"]) == 1
    told = capsys.readouterr().out
    assert "1 rows, 1 confirmed and 0 false alarms" in told
    assert f"left out: clip.mp4 of alert {bad}" in told
