"""Rendering of the training clips: the same whether it was killed or not, and sure to end; and what a folder says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pytest

from detector.folder import BUNDLED, WEIGHTS, sha256
from ingest.simulator.world import VERSION, Scene
from reasoner.train import clips
from reasoner.train.about import About
from reasoner.train.album import Album
from reasoner.train.config import Render
from reasoner.train.errors import BadClips, TrainFailed

WHAT = Render(rows=150, validation=20, first_seed=900_000, flagged_share=0.0, workers=1)
FILES = ("about.json", "clips.jsonl", "pictures.npy")


class Here:
    """The pool's part in rendering, without its processes."""

    def __init__(self, workers: int, mp_context: Any) -> None:
        assert mp_context.get_start_method() == "spawn"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, of: Callable[[int], Any], seeds: Iterable[int], chunksize: int) -> Iterator[Any]:
        return map(of, seeds)


def drawn(seed: int, flagged_share: float = 0.0, scorer: str = "bundled", closer_share: float = 0.0) -> list[Any]:
    """None to two windows of a seed, quickly."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.integers(0, 255, (2, 2, 96, 160, 3), dtype=np.uint8),
            {"groups": 2, "times": [0.0, 1.0], "category": "fall", "question": "?", "answer": False, "kind": "walking",
             "start": None, "end": None, "objects": [[], []], "seed": seed},
        )
        for _ in range(int(rng.integers(0, 3)))
    ]  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(clips, "windows", drawn)


class Killed(Exception):
    pass


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("at", [3, 64, 100, 129])
def test_a_killed_rendering_goes_on_to_the_same_clips(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Album.render(tmp_path / "whole", WHAT)
    seen: list[int] = []

    def until(seed: int, **more: Any) -> list[Any]:
        seen.append(seed)
        if len(seen) == at + 1:
            raise Killed
        return drawn(seed)

    monkeypatch.setattr(clips, "windows", until)
    with pytest.raises(Killed):
        Album.render(tmp_path / "cut", WHAT)
    assert not (tmp_path / "cut").exists()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        Album.render(tmp_path / "cut", WHAT)
    told = "begins anew" if at < 64 else f"scene {WHAT.first_seed + at // 64 * 64}"
    assert told in caplog.text and "rendered 170 of 170 clips" in caplog.text
    assert min(seen[at + 1 :]) == WHAT.first_seed + at // 64 * 64
    assert sorted(file.name for file in (tmp_path / "cut").iterdir()) == list(FILES)
    assert all((tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in FILES)
    album = Album.open(tmp_path / "cut")
    assert (len(album.val), len(album.train)) == (20, 150)


@pytest.mark.usefixtures("quick")
def test_other_settings_do_not_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    partial, other = tmp_path / "clips.partial", msgspec.structs.replace(WHAT, first_seed=5)
    clips.write(partial, WHAT)
    with caplog.at_level(logging.INFO):
        clips.write(partial, other)
    assert "begins anew" in caplog.text
    assert json.loads((partial / "clips.jsonl").read_text().splitlines()[0])["seed"] < 900_000


@pytest.mark.usefixtures("quick")
def test_scenes_without_windows_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def none_after(seed: int, **more: Any) -> list[Any]:
        seen.append(seed)
        return drawn(seed) if seed < 900_070 else []

    monkeypatch.setattr(clips, "windows", none_after)
    with pytest.raises(TrainFailed, match=r"scorer 'bundled' flags nothing") as caught:
        clips.write(tmp_path, WHAT)
    assert "\n" not in str(caught.value) and len(seen) == 3 * 64


def test_fresh_processes_render_what_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "BLOCK", 1)
    what = msgspec.structs.replace(WHAT, rows=2, validation=1)
    clips.write(tmp_path, what)
    pictures = np.load(tmp_path / "pictures.npy")
    first = next(windows for seed in range(900_000, 900_064) if (windows := clips.windows(seed)))
    picture, row = first[0]
    assert np.array_equal(pictures[0, : len(picture)], picture)
    assert json.loads((tmp_path / "clips.jsonl").read_text().splitlines()[0])["seed"] == row["seed"]


@pytest.mark.usefixtures("quick")
def test_what_a_folder_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, what = tmp_path / "clips", msgspec.structs.replace(WHAT, flagged_share=0.5)
    Album.render(folder, what)
    about = About.read(folder)
    assert about == About(render=what, world=VERSION, scorer_sha256=sha256(BUNDLED / WEIGHTS))
    assert len(Album.open(folder, msgspec.structs.replace(what, workers=7)).rows) == 170
    (folder / "about.json").unlink()
    assert len(Album.open(folder, Render()).rows) == 170, "those of earlier versions say nothing"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": 9}, "rows 150, not 9"),
        ({"validation": 9}, "validation 20, not 9"),
        ({"first_seed": 1}, "first_seed 900000, not 1"),
        ({"flagged_share": 0.5}, "flagged_share 0.0, not 0.5"),
    ],
)
def test_clips_of_other_settings_are_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    clips.write(tmp_path, WHAT)
    Album.open(tmp_path, WHAT)
    with pytest.raises(BadClips, match=told) as caught:
        Album.open(tmp_path, msgspec.structs.replace(WHAT, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_clips_of_another_world_and_of_another_scorer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips.write(tmp_path, WHAT)
    about = About.of(msgspec.structs.replace(WHAT, flagged_share=0.5))
    msgspec.structs.replace(about, scorer_sha256="0" * 64).write(tmp_path)
    Album.open(tmp_path, about.render)
    assert "another scorer" in caplog.text
    msgspec.structs.replace(about, world=VERSION - 1).write(tmp_path)
    with pytest.raises(BadClips, match=f"version {VERSION - 1} of the simulated scenes, not {VERSION}"):
        Album.open(tmp_path, about.render)
    (tmp_path / "about.json").write_text("{}")
    with pytest.raises(BadClips, match=r"about\.json"):
        Album.open(tmp_path)


@pytest.mark.parametrize("label", ["hug", "lights_out"])
def test_a_row_names_what_its_view_shows(label: str) -> None:
    """What nobody acts in is seen everywhere; of the rest somebody must be in the view."""
    scene = next(
        scene
        for scene in (Scene(seed, 60.0, kinds=[label] * 3) for seed in range(900_000, 900_020))
        if any(each.label == label for each in scene.lookalikes)
    )
    truth = next(each for each in scene.lookalikes if each.label == label)
    there = set(truth.actors)
    assert clips._kind(scene, truth.start_s, truth.end_s, there) == label
    elsewhere = clips._kind(scene, truth.start_s, truth.end_s, {999})
    assert elsewhere == (label if not there else "walking")


def test_a_closer_row_shows_what_a_claim_would_cite() -> None:
    """Beside the plain rows, which stay as they are: the same moments and truth, who acts fills more of the view."""
    closer = grown = 0
    for seed in range(900_000, 900_006):
        plain, both = clips.windows(seed), clips.windows(seed, closer_share=1.0)
        rows = [row for _, row in both]
        assert [row for _, row in plain] == [row for row in rows if row in [other for _, other in plain]]
        before: dict[str, Any] = {}
        for row in rows:
            if row in [other for _, other in plain]:
                before = row
                continue
            closer += 1
            same = ("groups", "times", "category", "answer", "start", "end", "seed")
            assert [row[name] for name in same] == [before[name] for name in same]
            assert row["view"] != before["view"]
            x1, y1, x2, y2 = row["view"]
            assert x2 - x1 == pytest.approx(y2 - y1, abs=1e-3) and 0 <= x1 < x2 <= 1
            there = [thing for group in row["objects"] for thing in group if thing["actor"] or not row["answer"]]
            assert any(thing["visible"] > 0.3 for thing in there)
            grown += (x2 - x1) < before["view"][2] - before["view"][0]
    assert closer >= 10 and grown >= closer / 3
