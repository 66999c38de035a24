"""Alerts on labelled recordings are counted against what people saw; mistakes in a manifest are one line."""

import argparse
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from bench.recordings import (
    SCHEMA_FILE,
    ClipFigures,
    Figures,
    LabelledClip,
    LabelledEvent,
    Told,
    _row,
    counted,
    lines,
    run,
    schema,
)
from detector.folder import read_folder


def event(start_s: float, end_s: float, alert: str) -> LabelledEvent:
    return LabelledEvent(label="something", start_s=start_s, end_s=end_s, alert=alert)


def alert(onset_s: float) -> Told:
    return Told(category="fall", onset_s=onset_s, p=0.9, decision="confirmed")


@pytest.mark.parametrize(
    ("events", "onsets", "wanted", "told", "false"),
    [
        ((), (), 0, 0, 0),
        ((), (3.0,), 0, 0, 1),
        ((event(5, 8, "yes"),), (), 1, 0, 0),
        ((event(5, 8, "yes"),), (3.1,), 1, 1, 0),
        ((event(5, 8, "yes"),), (2.9, 10.1), 1, 0, 2),
        ((event(5, 8, "yes"), event(7, 9, "yes")), (8.0,), 2, 2, 0),
        ((event(5, 8, "no"),), (6.0,), 0, 0, 1),
        ((event(5, 8, "depends"),), (6.0,), 0, 0, 0),
        ((event(5, 8, "no"), event(6, 9, "yes")), (6.0,), 1, 1, 0),
    ],
)
def test_what_is_told_and_what_is_false(
    events: tuple[LabelledEvent, ...], onsets: tuple[float, ...], wanted: int, told: int, false: int
) -> None:
    found = counted(events, [alert(onset) for onset in onsets])
    assert tuple(len(each) for each in found) == (wanted, told, false)


def test_the_schema_file_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.recordings"


ONE = ClipFigures(
    file="a.mp4", seconds=12.5, windows=2, wanted=1, told=1, false=0, events=("falls 5-8",), alerts=(alert(5.0),)
)


@pytest.mark.parametrize("clips", [(), (ONE,)])
def test_what_is_printed_holds_to_the_schema(clips: tuple[ClipFigures, ...]) -> None:
    found = msgspec.to_builtins(
        Figures(scorer="a", precision="int8", wanted=1, told=1, false=0, minutes=0.21, clips=clips)
    )
    printed = json.loads(json.dumps({"bench": "recordings", **found, "machine": {}}))
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(printed)
    assert not validator.is_valid({**printed, "more": 1}) and not validator.is_valid({**printed, "told": -1})
    assert len(list(lines(found))) == len(clips) + 1
    assert list(lines(found))[-1] == "1 of 1 told, 0 false in 0.21 minutes; scorer a in int8"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "No such file or directory; give a JSON list"),
        (b"{", "give a JSON list"),
        (b'[{"file": "\xff"}]', "give a JSON list"),
        (b'[{"file": "a.mp4", "events": [{"label": "falls"}]}]', "start_s"),
        (b'[{"file": "there.mp4"}, {"file": "gone.mp4"}]', r"clip 2: there is no .*gone\.mp4; add the file"),
    ],
)
def test_mistakes_are_one_line(manifest: bytes | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").write_bytes(b"")
    if manifest is not None:
        (tmp_path / "list.json").write_bytes(manifest)
    options = argparse.Namespace(manifest=tmp_path / "list.json", scorer="bundled", precision="auto", model="bundled")
    with pytest.raises(SystemExit, match=said) as caught:
        run(options)
    assert "\n" not in str(caught.value)


def test_a_missing_model_and_a_clip_that_is_no_video_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(b"[]")
    options = argparse.Namespace(
        manifest=tmp_path / "list.json", scorer=str(tmp_path / "none"), precision="auto", model="bundled"
    )
    with pytest.raises(SystemExit, match=r"recordings: .* there is no folder"):
        run(options)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit, match=r"recordings: .*a\.mp4: cannot be read as a video"):
        _row(LabelledClip(file="a.mp4"), tmp_path / "a.mp4", None)


def test_the_figures_name_what_ran(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(b"[]")
    options = argparse.Namespace(manifest=tmp_path / "list.json", scorer="bundled", precision="auto", model="bundled")
    found = run(options)
    assert found["scorer"] == read_folder("bundled").record.name and found["precision"] in ("fp32", "fp16")
