"""The accuracy benchmark: its counting as tables, and one small run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import jsonschema
import msgspec
import numpy as np
import pytest

from bench.accuracy.camera import EPOCH_NS, RecordedCamera, Recording
from bench.accuracy.figures import (
    SCHEMA_FILE,
    Fall,
    accuracy_given,
    box_iou,
    calibration_error,
    fall,
    figures,
    label_figures,
    review,
    risk_coverage,
    schema,
)
from bench.accuracy.plan import FIRST_SEED, LONGEST_S, SHORTEST_S, plan, scene_of, scene_seed
from bench.accuracy.row import AlertRow, Change, ClipRow, Watched, WindowRow
from bench.accuracy.sweep import Point, Thresholds, is_quiet, point, quiet_s, replay, sweep
from bench.accuracy.table import lines
from bench.accuracy.truth import matches
from deploy.config import DEMO_RULES, load_rules
from deploy.summary import SummaryAlert, Windows
from detector.config import GateConfig
from detector.folder import read_folder
from detector.rule import Rule
from detector.staged import stage_window
from ingest.config import CameraConfig, IngestConfig
from ingest.simulator.stream import encode
from ingest.simulator.world import EVENTS, EventTruth, Scene, episode_names
from reasoner.ablation import blanked, derangement, shuffled
from reasoner.boxes import Box
from reasoner.evidence import Bound
from reasoner.folder import BUNDLED, open_folder
from reasoner.grade import TrueObject
from reasoner.pictures import decode

Decision = Literal["confirmed", "needs_review", "rejected"]
ROOT = Path(__file__).parents[2]
RULES = (
    Rule(id="fall", category="fall", watch="x", question="x"),
    Rule(id="run", category="running", watch="x", question="x"),
)


def alert(
    category: str, p: float, *, true: bool, first: bool, decision: Decision = "confirmed", **more: Any
) -> AlertRow:
    said = SummaryAlert(
        alert_id="0",
        camera="c",
        rule="r",
        onset=1.0,
        confidence=p,
        decision=decision,
        claims=(),
    )
    return AlertRow(alert=said, category=category, true=true, first=first, **more)


def window(p: float, *, yes: bool | None, said: bool = True, evidence: bool | None = None) -> WindowRow:
    return WindowRow(
        rule="r", category="fall", start_s=0, end_s=6, p=p, decision="confirmed" if said else "rejected",
        reasons=(), output="", yes=yes, evidence=evidence,
    )  # fmt: skip


def watched(
    scores: list[tuple[float, float]], events: tuple[EventTruth, ...] = (), alike: tuple[EventTruth, ...] = ()
) -> Watched:
    """One coarse frame a second."""
    rows = tuple((EPOCH_NS + second * 1_000_000_000, row) for second, row in enumerate(scores))
    return Watched(seconds=float(len(scores)), events=events, alike=alike, scores=rows)


def clip(number: int, label: str | None, *, alerts: tuple[AlertRow, ...] = (), **more: Any) -> ClipRow:
    return ClipRow(
        number=number, name=f"clip-{number:03d}", scene_seed=number, label=label, kinds=(), alerts=alerts,
        ended=Windows(), work_s=1.0, **{"windows": (), "watched": watched([(0.0, 0.0)] * 30), **more},
    )  # fmt: skip


FALL = EventTruth("fall", 10.0, 11.0, 16.0, (1,))


# Which clips


@pytest.mark.parametrize("seed", [0, 1, -7, 10**30])
@pytest.mark.parametrize("clips", [2, 7, 60])
def test_half_of_the_clips_have_an_event_and_categories_come_in_turn(seed: int, clips: int) -> None:
    made = plan(seed, clips)
    counts = Counter(one.label for one in made)
    assert counts.pop(None) == clips // 2
    most = (clips - clips // 2) / len(EVENTS)
    assert set(counts) <= set(EVENTS)
    assert all(int(most) <= counts.get(label, 0) <= int(most) + 1 for label in EVENTS)
    assert all(set(one.kinds) <= set(episode_names()) - set(EVENTS) for one in made)
    assert made == plan(seed, clips)


def test_the_seed_shuffles_the_categories() -> None:
    orders = {tuple(one.label for one in plan(seed, 2 * len(EVENTS))) for seed in range(6)}
    assert len(orders) == 6


def test_most_event_free_clips_show_a_look_alike_and_some_do_not() -> None:
    free = [one.kinds for one in plan(4, 200) if one.label is None]
    ordinary = sum(set(kinds) <= {"walking", "nothing"} for kinds in free)
    assert 0.15 * len(free) <= ordinary <= 0.25 * len(free)
    alike = set(episode_names()) - set(EVENTS) - {"walking", "nothing"}
    assert {kind for kinds in free for kind in kinds} >= alike


@pytest.mark.parametrize("seed", [0, -1, 900_000, 5_000_000, 2**63, 10**40])
def test_scene_seeds_are_far_from_every_training_whatever_the_seed(seed: int) -> None:
    seeds = [scene_seed(seed, f"{number}") for number in range(200)]
    assert all(FIRST_SEED <= each < 2 * FIRST_SEED for each in seeds) and len(set(seeds)) == 200
    assert not set(seeds) & {scene_seed(seed + 1, f"{number}") for number in range(200)}


def test_an_event_can_be_told_within_its_clip() -> None:
    for one in plan(5, 2 * len(EVENTS)):
        scene, seconds = scene_of(one)
        assert SHORTEST_S <= seconds <= LONGEST_S
        assert [event.label for event in scene.events] == ([one.label] if one.label else [])
        assert all(event.evident_s + 5 <= seconds for event in scene.events)


# A recording as a camera


def test_a_recorded_camera_shows_the_scene_at_its_own_time() -> None:
    scene = Scene(scene_seed(0, "camera"), 12.0, (320, 180), ["walking"])
    stream = encode((scene.frame(number / 10) for number in range(120)), 10, 1.0)
    with Recording(stream) as recording:
        camera = RecordedCamera(CameraConfig(id="c", url="rtsp://127.0.0.1/c"), IngestConfig(), recording)
        full_to = [utc_ns - EPOCH_NS for utc_ns in camera.play()]
        cut = camera.cut(EPOCH_NS + 4_000_000_000, EPOCH_NS + 9_000_000_000)
    assert full_to == [number * 100_000_000 for number in range(120)]
    assert [frame.stamp.utc_ns - EPOCH_NS for frame in camera.seen] == [second * 10**9 for second in range(12)]
    assert [frame.stamp.utc_ns - EPOCH_NS for frame in cut.frames] == [4 * 10**9 + k * 500_000_000 for k in range(11)]
    for frame in cut.frames:
        picture, t_s = decode(frame.jpeg, "a frame").astype(int), (frame.stamp.utc_ns - EPOCH_NS) / 1e9
        off = {dt: np.abs(picture - scene.frame(t_s + dt).astype(int)).mean() for dt in (-0.3, 0.0, 0.3)}
        assert min(off, key=lambda dt: off[dt]) == 0.0


# Counting


def test_precision_and_recall_of_each_label() -> None:
    rows = [
        clip(0, "fall", alerts=(alert("fall", 0.9, true=True, first=True),), watched=watched([], (FALL,))),
        clip(1, None, alerts=(alert("fall", 0.8, true=False, first=False),)),
        clip(2, "fall", alerts=(alert("running", 0.8, true=False, first=False),), watched=watched([], (FALL,))),
        clip(3, "fall", alerts=(), watched=watched([], (FALL,))),
    ]
    found = label_figures(rows, ["fall", "running", "fight"])
    assert (found["fall"].precision, found["fall"].recall, found["fall"].n) == (0.5, 1 / 3, 3)
    assert (found["running"].precision, found["running"].recall, found["running"].alerts) == (0.0, None, 1)
    assert (found["fight"].precision, found["fight"].recall) == (None, None)


def test_a_repeated_alert_is_not_false_and_no_second_match() -> None:
    twice = (alert("fall", 0.9, true=True, first=True, onset_error_s=0.4), alert("fall", 0.7, true=True, first=False))
    row = clip(0, "fall", alerts=twice, watched=watched([(0.0, 0.0)] * 30, (FALL,)))
    found = whole([row, clip(1, None)])
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert {key: found["counts"][key] for key in ("alerts", "matched", "false", "repeated", "missed")} == {
        "alerts": 2, "matched": 1, "false": 0, "repeated": 1, "missed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("errors", "share"), [([0.2, -0.9], 1.0), ([1.0, -1.01], 0.5), ([3.0], 0.0), ([], 0.0)])
def test_onset_within_a_second(errors: list[float], share: float) -> None:
    rows = [
        clip(
            number,
            "fall",
            alerts=(alert("fall", 0.9, true=True, first=True, onset_error_s=error),),
            watched=watched([], (FALL,)),
        )
        for number, error in enumerate(errors)
    ]
    assert whole(rows)["onset_within_1s"] == share


def test_box_iou_is_a_mean_over_boxes_and_skips_what_has_no_box() -> None:
    alerts = [
        alert("fall", 0.9, true=True, first=True, boxes=3, box_iou=0.8),
        alert("fall", 0.9, true=True, first=True, boxes=1, box_iou=0.4),
        alert("tamper", 0.9, true=True, first=True, boxes=2, box_iou=None),
    ]
    mean, boxes = box_iou(alerts)
    assert mean == pytest.approx(0.7) and boxes == 4


@pytest.mark.parametrize(
    ("windows", "error"),
    [
        ([window(0.9, yes=True)] * 9 + [window(0.9, yes=False)], 0.0),
        ([window(0.9, yes=False)] * 4, 0.9),
        ([window(0.1, yes=False, said=False), window(1.0, yes=True)], 0.05),
        ([window(0.0, yes=None), window(1.0, yes=True)], 0.0),
    ],
)
def test_calibration_error_of_windows_that_can_be_told(windows: list[WindowRow], error: float) -> None:
    assert calibration_error(windows) == pytest.approx(error)


def test_accuracy_beside_matching_and_other_evidence() -> None:
    windows = [
        window(0.9, yes=True, evidence=True),
        window(0.9, yes=False, evidence=True),
        window(0.2, yes=False, said=False, evidence=False),
        window(0.9, yes=False, evidence=False),
        window(0.9, yes=False, evidence=False),
        window(0.9, yes=None, evidence=False),
        window(0.1, yes=False, said=False),
    ]
    assert accuracy_given(windows, True) == 0.5
    assert accuracy_given(windows, False) == pytest.approx(1 / 3)
    assert accuracy_given([], True) is None


def claim(t_s: float, x: float, label: str = "person") -> TrueObject:
    return TrueObject(label=label, time_s=t_s, box=Box(x, 0.2, x + 0.2, 0.6))


@pytest.mark.parametrize(
    ("claimed", "right"),
    [
        ([claim(3.0, 0.3)], True),
        ([claim(3.8, 0.35)], True),
        ([claim(5.5, 0.3)], False),
        ([claim(3.0, 0.45)], False),
        ([claim(3.0, 0.3), claim(9.0, 0.3)], False),
        ([claim(3.0, 0.3), claim(4.0, 0.3)], True),
    ],
)
def test_evidence_matches_within_a_second_and_half_the_box(claimed: list[TrueObject], right: bool) -> None:
    assert matches(claimed, [claim(3.0, 0.3), claim(4.0, 0.3)]) is right


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([(0.9, 0.2), (0.8, 0.9), (0.9, 0.6)], Fall(fell=2 / 3, median_drop=0.3, n=3)),
        ([(0.5, 0.5)], Fall(fell=0.0, median_drop=0.0, n=1)),
        ([], Fall(fell=0.0, median_drop=0.0, n=0)),
    ],
)
def test_how_confidence_fell(pairs: list[tuple[float, float]], found: Fall) -> None:
    got = fall([Change(before=before, after=after) for before, after in pairs])
    assert (got.fell, got.n) == (found.fell, found.n)
    assert got.median_drop == pytest.approx(found.median_drop)


def test_mistakes_gather_at_low_confidence() -> None:
    sure = [alert("fall", 0.95 - 0.01 * i, true=True, first=True) for i in range(8)]
    unsure = [alert("fall", 0.4, true=False, first=False, decision="needs_review") for _ in range(2)]
    curve = risk_coverage([*unsure, *sure])
    assert [(one.coverage, one.risk) for one in curve][-3:] == [(0.8, 0.0), (0.9, pytest.approx(1 / 9)), (1.0, 0.2)]
    assert risk_coverage([]) == ()
    found = review([*sure, *unsure])
    assert (found.alerts, found.wrong, found.of_wrong) == (2, 2, 1.0)


def test_blanking_fills_cited_boxes_in_cited_frames_with_the_background() -> None:
    window = stage_window(Scene(scene_seed(0, "blank"), 30.0, (320, 180), ["walking"] * 3), 12.0, 5.0, "fall")
    box = Box(0.25, 0.25, 0.5, 0.75)
    after = blanked(window, [Bound(0, 4, "person", box)])
    pairs = list(zip(window.cut.frames, after.cut.frames, strict=True))
    assert [index for index, (old, new) in enumerate(pairs) if old.jpeg != new.jpeg] == [4]
    assert all(old.stamp == new.stamp for old, new in pairs)
    old, new, still = (
        decode(jpeg, "a picture").astype(int) for jpeg in (pairs[4][0].jpeg, pairs[4][1].jpeg, window.background)
    )
    inside = np.zeros(old.shape[:2], bool)
    inside[46:134, 81:159] = True
    assert np.abs(new - still)[inside].mean() < 3 and np.abs(new - old)[~inside].mean() < 3


def test_shuffled_frames_keep_their_times() -> None:
    window = stage_window(Scene(scene_seed(0, "shuffle"), 20.0, (320, 180), ["walking"] * 2), 5.0, 5.0, "fall")
    after = shuffled(window, np.random.default_rng(1))
    pairs = list(zip(window.cut.frames, after.cut.frames, strict=True))
    assert all(old.stamp == new.stamp and old.jpeg != new.jpeg for old, new in pairs)
    assert {old.jpeg for old, _ in pairs} == {new.jpeg for _, new in pairs}


def test_shuffling_moves_every_frame() -> None:
    for seed in range(20):
        order = derangement(13, np.random.default_rng(seed))
        assert sorted(order) == list(range(13)) and all(a != b for a, b in enumerate(order))
    assert derangement(1, np.random.default_rng(0)) == [0]


# The scorer alone


def test_quiet_is_two_seconds_from_all_that_happens() -> None:
    hug = EventTruth("hug", 20.0, 20.5, 22.0, (1, 2))
    seen = watched([(0.0, 0.0)] * 40, (FALL,), (hug,))
    assert [t for t in range(40) if not is_quiet(seen, t)] == [*range(8, 19), *range(18 + 1, 25)]
    assert quiet_s(seen) == pytest.approx(40 - 10 - 6)


THRESHOLDS = Thresholds((0.5, 0.5), (0.73, 0.73))
HOT, WARM, COLD = (0.9, 0.0), (0.6, 0.0), (0.01, 0.0)


@pytest.mark.parametrize(
    ("scores", "strictness", "recall", "false"),
    [
        ([COLD] * 12 + [HOT] * 2 + [COLD] * 46, 0.0, 1.0, 0),
        ([COLD] * 12 + [(0.0, 0.9)] * 2 + [COLD] * 46, 0.0, 0.0, 0),
        ([COLD] * 40 + [HOT] * 2 + [COLD] * 18, 0.0, 0.0, 1),
        ([COLD] * 12 + [HOT] * 2 + [COLD] * 20 + [WARM] + [COLD] * 25, 0.0, 1.0, 0),
        ([COLD] * 12 + [HOT] * 2 + [COLD] * 20 + [WARM] * 2 + [COLD] * 24, 0.0, 1.0, 1),
        ([COLD] * 12 + [HOT] * 2 + [COLD] * 20 + [WARM] * 2 + [COLD] * 24, 1.0, 1.0, 0),
        ([COLD] * 12 + [HOT] * 2 + [COLD] * 20 + [WARM] * 2 + [COLD] * 24, 3.0, 0.0, 0),
    ],
)
def test_a_point_of_the_sweep(scores: list[tuple[float, float]], strictness: float, recall: float, false: int) -> None:
    seen = watched(scores, (FALL,))
    found = point([seen], RULES, THRESHOLDS, GateConfig(), strictness)
    assert found.recall == recall
    assert found.false_per_minute == pytest.approx(false / (quiet_s(seen) / 60))


def test_the_operating_point_is_the_loosest_that_is_quiet_enough() -> None:
    scores = [COLD] * 12 + [HOT] * 2 + [COLD] * 20 + [WARM] * 2 + [COLD] * 24
    at, shipped = sweep([watched(scores, (FALL,))], RULES, THRESHOLDS, GateConfig())
    assert at is not None and at.recall == 1.0 and at.false_per_minute == 0.0
    assert THRESHOLDS.at(at.strictness - 0.025)[0] < 0.6 < THRESHOLDS.at(at.strictness)[0]
    assert shipped.strictness == 0.0 and shipped.false_per_minute > 0.1
    never = [(1.0, 1.0)] * 60
    assert sweep([watched(never, (FALL,))], RULES, THRESHOLDS, GateConfig())[0] is None


@pytest.mark.parametrize(("served", "strict"), [(0.001, 0.6), (0.3, 0.99), (0.5, 0.5), (0.9, 0.2)])
def test_each_threshold_moves_along_its_own_line_of_log_odds(served: float, strict: float) -> None:
    thresholds = Thresholds((served,), (strict,))
    assert thresholds.at(0.0)[0] == pytest.approx(served) and thresholds.at(1.0)[0] == pytest.approx(strict)
    (low,), (middle,), (high,) = (thresholds.at(each) for each in (0.0, 0.5, 1.0))
    assert min(low, high) <= middle <= max(low, high)
    assert 0 < thresholds.at(3.0)[0] < 1


# What is printed


def whole(rows: list[ClipRow]) -> dict[str, Any]:
    at = Point(strictness=0.1, recall=1.0, false_per_minute=0.0)
    made = figures(
        1, rows, [], (at, at), labels=list(EVENTS), unserved=(), models={"scorer": "s", "reasoner": "r"}, seconds=2.0
    )
    found: dict[str, Any] = json.loads(msgspec.json.encode(made))
    return found


def printed(found: dict[str, Any]) -> dict[str, Any]:
    return {"bench": "accuracy", **found, "machine": {}}


def test_the_schema_file_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.accuracy.figures"


ONE = clip(
    0,
    "fall",
    alerts=(alert("fall", 1.0, true=True, first=True, onset_error_s=0.5, boxes=1, box_iou=0.6),),
    watched=watched([(0.0, 0.0)] * 30, (FALL,)),
)


@pytest.mark.parametrize("rows", [[], [clip(0, None)], [ONE]])
def test_figures_of_little_or_nothing_hold_to_the_schema(rows: list[ClipRow]) -> None:
    found = whole(rows)
    jsonschema.Draft202012Validator(schema()).validate(printed(found))
    assert all(isinstance(found[key], int | float) for key in ("precision", "recall", "ece", "box_iou"))
    assert len(list(lines(found))) > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clips", "0"], "whole number"),
        (["--labels", "flood"], "no such event"),
        (["--scorer", "/nowhere"], "there is no folder /nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    done = bench(*arguments, "--workers", "1")
    assert done.returncode != 0 and said in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_clips_for_real(tmp_path: Path) -> None:
    done = bench(
        "--clips", "2", "--seed", "11", "--quiet-minutes", "0", "--workers", "1", "--labels", "fall", "--json",
        "--save", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert (found["clips"], found["labels"]["fall"]["n"], found["counts"]["events"]) == (2, 1, 1)
    ended = found["counts"]["windows"]
    assert ended["flagged"] == sum(ended[end] for end in ("alert", "rejected", "merged", "shed")) >= 1
    assert ended["shed"] == 0 and found["counts"]["alerts"] == ended["alert"]
    rows = [msgspec.json.decode((tmp_path / f"clip-00{n}.json").read_bytes(), type=ClipRow) for n in (0, 1)]
    assert sum(len(row.windows) for row in rows) == ended["flagged"]
    assert all(len(row.watched.scores) >= row.watched.seconds - 2 for row in rows)
    known = read_folder("bundled").record.categories
    rules = [rule for rule in load_rules(DEMO_RULES) if rule.category in known and rule.category in sees()]
    thresholds = [known[rule.category].threshold for rule in rules]
    replayed = [len(replay(row.watched, rules, thresholds, GateConfig())) for row in rows]
    assert replayed == [row.ended.flagged for row in rows]
    assert "2/2" in done.stderr


def sees() -> tuple[str, ...]:
    """Categories of the bundled reasoner."""
    notes = open_folder(BUNDLED).notes
    assert notes is not None
    return notes.categories


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "accuracy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900, check=False)
