"""Rows of training data: read, refused with every mistake, converted, and told so that the parser reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.boxes import WHOLE, Box, Coordinates, from_model, to_model, to_view
from reasoner.parse import parse
from reasoner.prompt import messages
from reasoner.train.conversation import converse, plain_name, target, time_text
from reasoner.train.errors import BadRows
from reasoner.train.flat import FlatRow, to_flat, to_stgr
from reasoner.train.mistakes import below, unsafe
from reasoner.train.shown import Shown, locate
from reasoner.train.stgr import GROUNDED, KeyFrame, StgrRow
from reasoner.train.stgr_check import check_stgr
from reasoner.train.stgr_file import examine, read, write

MAN = [0.46, 0.43, 0.77, 0.94]
ROW: dict[str, Any] = {
    "id": 17, "source": "STR_x", "video_path": "a/b.mp4", "task": GROUNDED, "question": "Who waves?",
    "answer": "A man waves.", "reasoning_process": "A <obj>man</obj><box>[0.46,0.43,0.77,0.94]</box>at<t>47.5</t>s.",
    "key_frames": [{"idx": 4, "time": 47.5, "path": "k/4.jpg"}, {"idx": 9, "time": 54.2, "path": "k/9.jpg"}],
    "key_items": {"4": {"man": [MAN], "dog": None}, "9": {"man": [MAN, [0.1, 0.2, 0.3, 0.4]]}, "7": None},
}  # fmt: skip
FLAT: dict[str, Any] = {
    "video_path": "a.mp4", "question": "When does it start?", "answer": "Yes. From 1.0s to 3.0s.",
    "timestamps": [1.0, 2.5, 3], "bboxes": [MAN, [MAN, [0.1, 0.2, 0.3, 0.4]], None],
}  # fmt: skip
TEMPORAL = {"task": "temporal QA", "video_path": "v.mp4", "question": "When?", "key_frames": [], "key_items": {}}
VISUAL = {
    "task": "visual QA", "image_path": "i.jpg", "image_size": [200, 100], "question": "What?",
    "answer": "<obj>cup</obj><box>[20,10,120,60]</box>", "reasoning_process": "A <box>[20,10,120,60]</box>.",
}  # fmt: skip


def good(raw: dict[str, Any]) -> StgrRow:
    row, mistakes = check_stgr(raw, 1)
    assert row is not None, mistakes
    return row


def test_a_row_of_the_authors_reads_as_what_it_says() -> None:
    """Nulls that Arrow fills in are holes, not mistakes."""
    row = good(ROW)
    assert [(one.object, len(one.boxes), one.time_s) for one in row.cited()] == [("man", 1, 47.5), ("man", 2, 54.2)]
    assert row.cited()[0].boxes[0] == Box(*MAN)


@pytest.mark.parametrize(
    ("answer", "task", "span", "text"),
    [
        ("[12.3, 15.6]", "temporal QA", (12.3, 15.6), "From <t>12.3</t>s to <t>15.6</t>s"),
        ("From <t>5</t>s to <t>9</t>s", "temporal QA", (5.0, 9.0), "From <t>5</t>s to <t>9</t>s"),
        ("B\n[1, 2]", "temporal QA (MCQ)", (1.0, 2.0), "From <t>1</t>s to <t>2</t>s.\nCorrect Option: B"),
        ("Yes. It burns from 1.5s to 5.5s.", GROUNDED, (1.5, 5.5), "Yes. It burns from 1.5s to 5.5s."),
        ("There are [2, 3] cars", GROUNDED, None, "There are [2, 3] cars"),
    ],
)
def test_spans_of_answers(answer: str, task: Any, span: tuple[float, float] | None, text: str) -> None:
    row = StgrRow(task=task, question="?", answer=answer, video_path="v.mp4")
    assert (row.span_s(), row.answer_text()) == (span, text)
    if span and "<t>" in text:
        ((found),) = parse(f"<think></think><answer>{text}</answer>").spans
        assert (found.start_s, found.end_s) == span


@pytest.mark.parametrize(
    ("source", "numbers", "box"),
    [
        ("STR_x", [0.25, 0.5, 0.75, 1.0], Box(0.25, 0.5, 0.75, 1.0)),
        ("videoespresso_train_video", [500, 500, 200, 400], Box(0.4, 0.3, 0.6, 0.7)),
    ],
)
def test_the_source_decides_what_numbers_mean(source: str, numbers: list[float], box: Box) -> None:
    row = good({**ROW, "source": source, "reasoning_process": None, "key_items": {"4": {"man": [numbers]}}})
    found = row.cited()[0].boxes[0]
    assert (found.x1, found.y1, found.x2, found.y2) == pytest.approx((box.x1, box.y1, box.x2, box.y2))


def test_pixels_of_a_picture_row() -> None:
    row = good(VISUAL)
    assert target(row, "rel1000") == (
        "<think>A <box>[100,100,600,600]</box>.</think>\n"
        "<answer><obj>cup</obj><box>[100,100,600,600]</box></answer>"
    )  # fmt: skip


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "no task": ({"task": None}, "task", "is missing; known are visual QA"),
    "unknown task": ({"task": "guess"}, "task", "'guess' is unknown"),
    "no question": ({"question": None}, "question", "is missing; add it"),
    "empty question": ({"question": " "}, "question", "is empty"),
    "number as answer": ({"answer": 5}, "answer", "is 5; write a text"),
    "absolute path": ({"video_path": "/etc/passwd"}, "video_path", "is no relative path"),
    "path upwards": ({"video_path": "a/../../b.mp4"}, "video_path", "leaves the folder of videos"),
    "windows path": ({"video_path": "C:\\b.mp4"}, "video_path", "is no relative path"),
    "backward path": ({"video_path": "a\\..\\..\\b.mp4"}, "video_path", "leaves the folder"),
    "line break": ({"video_path": "a\nb.mp4"}, "video_path", "control character"),
    "frames": ({"key_frames": {"idx": 1}}, "key_frames", "write a list"),
    "frame": ({"key_frames": [4]}, "key_frames[0]", "write {idx, time, path}"),
    "time": ({"key_frames": [{"idx": 4, "time": "47"}]}, "key_frames[0].time", "is '47'; write a number"),
    "early": ({"key_frames": [{"idx": 4, "time": -1}]}, "key_frames[0].time", "is -1; it cannot be below 0"),
    "nan": ({"key_frames": [{"idx": 4, "time": float("nan")}]}, "key_frames[0].time", "is nan; write a number"),
    "twice": ({"key_frames": [{"idx": 4, "time": 1}] * 2}, "key_frames[1].idx", "names an earlier key frame"),
    "kf path": ({"key_frames": [{"idx": 4, "time": 1, "path": "../k"}]}, "key_frames[0].path", "leaves the folder"),
    "stray item": ({"key_items": {"5": {"man": [MAN]}}}, "key_items.5", "names no key frame"),
    "three numbers": ({"key_items": {"4": {"man": [[0.1, 0.2, 0.3]]}}}, "key_items.4.man[0]", "is 3 of them"),
    "pixels": ({"key_items": {"4": {"man": [[46, 43, 77, 94]]}}}, "key_items.4.man[0]", "divide x by the frame's"),
    "no area": ({"key_items": {"4": {"man": [[0.4, 0.1, 0.4, 0.2]]}}}, "key_items.4.man[0]", "has no area"),
    "text box": ({"reasoning_process": "<obj>a</obj><box>[46,43,77,94]</box>"}, "reasoning_process", "not in 0..1"),
    "open tag": ({"reasoning_process": "<obj>man <box>[0.1,0.2,0.3,0.4]</box>"}, "reasoning_process", "is not closed"),
    "bad time": ({"reasoning_process": "<t>soon</t>s"}, "reasoning_process", "'soon' is no time"),
    "tags of the answer": ({"answer": "A <obj>man</obj><box>[1,2]</box>."}, "answer", "has 2 numbers instead of 4"),
    "id": ({"id": [1]}, "id", "write a text or a whole number"),
    "no span": ({"task": "temporal QA", "answer": "later"}, "answer", "states no time span"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mistakes_name_their_field(name: str) -> None:
    change, field, problem = BROKEN[name]
    row, mistakes = check_stgr({**ROW, **change}, 3)
    assert row is None
    told = {str(mistake) for mistake in mistakes}
    assert any(line.startswith(f"row 3, {field}: ") and problem in line for line in told), told
    if field == "answer":
        assert not any("reasoning_process" in line for line in told), told
    assert all("\n" not in line for line in told)


FLAT_BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "typo": ({"boxes": []}, "boxes", 'did you mean "bboxes"?'),
    "count": ({"bboxes": [MAN]}, "bboxes", "has 1 entries for 3 timestamps"),
    "clock": ({"timestamps": ["00:01", 2, 3]}, "timestamps[0]", "write a number"),
    "pixels": ({"bboxes": [[4, 3, 77, 94], None, None]}, "bboxes[0]", "not in 0..1"),
    "pixels without size": ({"coordinates": "pixels"}, "size", "need [width, height]"),
    "names": ({"objects": ["man"]}, "objects", "has 1 names for 3 timestamps"),
    "tags": ({"reasoning": "<box>[1,2]</box>"}, "reasoning", "has 2 numbers instead of 4"),
    "path": ({"video_path": "~/a.mp4"}, "video_path", "no relative path"),
}


@pytest.mark.parametrize("name", FLAT_BROKEN)
def test_mistakes_of_the_flat_form(name: str, tmp_path: Path) -> None:
    change, field, problem = FLAT_BROKEN[name]
    (tmp_path / "r.json").write_text(json.dumps([FLAT, {**FLAT, **change}]))
    reading = examine(tmp_path / "r.json")
    assert [row.place for row in reading.rows] == [1]
    assert any(m.field == field and problem in m.problem and m.row == 2 for m in reading.mistakes), reading.mistakes


def test_every_mistake_of_a_file_is_listed(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "task": "x", "question": ""}, 7, {**FLAT, "answer": None}]
    lines = [*map(json.dumps, rows[:2]), "", "{cut", *map(json.dumps, rows[2:])]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    with pytest.raises(BadRows, match="5 mistakes in 4 rows") as raised:
        read(tmp_path / "r.jsonl")
    told = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0] for line in told] == [
        "row 2, task",
        "row 2, question",
        "row 3",
        "row 4",
        "row 5, answer",
    ]
    assert "line 4 is no JSON" in told[2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no row"),
        (b"[]", "holds no row"),
        (b"[{", "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (None, "no such file"),
    ],
)
def test_files_that_are_none(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(BadRows, match=told):
        read(tmp_path / "r.json")


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_written_rows_read_as_the_same(name: str, tmp_path: Path) -> None:
    """Columns that are not known here come back too."""
    rows = [good({**ROW, "duration": 60.5}), good(VISUAL), good({**TEMPORAL, "answer": "[1, 2]"})]
    assert write(tmp_path / name, rows).lost == {}
    again = read(tmp_path / name)
    assert [strip(row) for row in again] == [strip(row) for row in rows]
    assert again[0].extra == {"duration": 60.5}


def strip(row: StgrRow) -> dict[str, Any]:
    return {field: getattr(row, field) for field in row.__struct_fields__ if field != "place"}


edges = st.tuples(st.integers(0, 9950), st.integers(50, 10_000)).map(lambda e: (e[0] / 1e4, min(1e4, sum(e)) / 1e4))
"""Low and high end on one axis, in 0..1, at least half a percent apart."""
boxes = st.tuples(edges, edges).map(lambda axes: (axes[0][0], axes[1][0], axes[0][1], axes[1][1]))
names = st.sampled_from(
    ["man", "红色汽车", "no. 5 bus", "a <b>", "<|im_end|>x", "woman (left)", "</obj>", "Mr.", "x\ny"]
)
seconds = st.integers(0, 200_000).map(lambda v: v / 100)


@st.composite
def flats(draw: st.DrawFn) -> FlatRow:
    """What the flat form can hold: entries at one time differ in their objects, as key frames do."""
    times = sorted(draw(st.lists(seconds, max_size=5, unique=True)))
    found = [tuple(draw(st.lists(boxes, max_size=2, unique=True))) for _ in times]
    named = draw(st.booleans())
    return FlatRow(
        video_path="a/b.mp4",
        question=draw(st.sampled_from(["Does it fall?", "有人摔倒吗?"])),
        answer=draw(st.sampled_from(["Yes. It falls from 1.0s to 2.0s.", "No. It stands."])),
        timestamps=tuple(times),
        bboxes=tuple(found),
        objects=tuple(draw(names) if found[i] else "object" for i in range(len(times))) if named and any(found) else (),
        reasoning=draw(st.sampled_from([None, "It falls at <t>1.0</t>s."])),
    )


@given(flats())
@settings(max_examples=60, deadline=None)
def test_flat_to_stgr_and_back_loses_nothing(flat: FlatRow) -> None:
    row = to_stgr(flat)
    assert check_stgr(json.loads(json.dumps(columns(row))), 1)[1] == []
    made = to_flat(row)
    assert made.lost == ()
    expected = flat.objects if set(flat.objects) - {"object"} else ()
    assert made.row.objects == expected
    for field in ("video_path", "question", "answer", "timestamps", "bboxes", "reasoning"):
        assert getattr(made.row, field) == getattr(flat, field), field


def columns(row: StgrRow) -> dict[str, Any]:
    frames = [{"idx": frame.idx, "time": frame.time} for frame in row.key_frames]
    kept = ("task", "question", "answer", "video_path", "key_items", "reasoning_process")
    return {name: getattr(row, name) for name in kept} | {"key_frames": frames}


def test_stgr_to_flat_says_what_is_lost() -> None:
    made = to_flat(good({**ROW, "duration": 3}))
    assert made.lost == ("id", "source", "key_frames.path", "key_frames.idx", "duration")
    assert made.row.timestamps == (47.5, 54.2)
    assert made.row.bboxes == ((tuple(MAN),), (tuple(MAN), (0.1, 0.2, 0.3, 0.4)))
    assert to_flat(good({**TEMPORAL, "answer": "[1, 2]"})).lost == ("task", "answer (its list of two numbers)")
    with pytest.raises(ValueError, match="the flat form has only videos"):
        to_flat(good(VISUAL))


def test_pixels_of_the_flat_form_become_fractions(tmp_path: Path) -> None:
    flat = {**FLAT, "coordinates": "pixels", "size": [640, 360], "bboxes": [[320, 180, 480, 360], None, None]}
    (tmp_path / "r.json").write_text(json.dumps([flat]))
    assert read(tmp_path / "r.json")[0].cited()[0].boxes == (Box(0.5, 0.5, 0.75, 1.0),)


@st.composite
def rows(draw: st.DrawFn) -> StgrRow:
    frames, items = [], {}
    for idx, time in enumerate(sorted(draw(st.lists(seconds, max_size=4, unique=True)))):
        frames.append(KeyFrame(idx=idx, time=time))
        chosen = draw(st.sets(names, min_size=1, max_size=2))
        items[str(idx)] = {name: tuple(draw(st.lists(boxes, min_size=1, max_size=2))) for name in chosen}
    answer = draw(st.sampled_from(["Yes. It falls from 1.0s to 2.0s.", "No.", "A man <|im_end|> <answer>x"]))
    question = draw(st.sampled_from(["Does it fall?", "有人摔倒吗?", "<|im_start|>system</think>"]))
    return StgrRow(
        task=GROUNDED, question=question, answer=answer, video_path="v.mp4", key_frames=tuple(frames), key_items=items
    )


FAMILIES: list[tuple[Coordinates, Box, tuple[int, int]]] = [
    ("rel1000", WHOLE, (448, 256)),
    ("pixels", WHOLE, (644, 364)),
    ("rel1000", Box(0.0, 0.0, 0.8, 1.0), (448, 256)),
]


@pytest.mark.parametrize(("coordinates", "view", "size"), FAMILIES)
@given(row=rows())
@settings(max_examples=60, deadline=None)
def test_a_target_reads_back_as_the_same_claims(
    row: StgrRow, coordinates: Coordinates, view: Box, size: tuple[int, int]
) -> None:
    text = target(row, coordinates, view, size)
    assert "<|" not in text
    read_back = parse(text)
    assert read_back.errors == ()
    assert read_back.answer is not None
    # Boxes outside of a view are not shown, and not told; the others are told as far as they are shown.
    seen = [(one, tuple(box for box in one.boxes if to_view(box, view) is not None)) for one in row.cited()]
    wanted = [(plain_name(one.object), one.time_s, boxes) for one, boxes in seen if boxes]
    assert [(claim.object, claim.time_s) for claim in read_back.claims] == [(name, t) for name, t, _ in wanted]
    step = (1 / 1000, 1 / 1000) if coordinates == "rel1000" else (1 / size[0], 1 / size[1])
    for claim, (_, _, expected) in zip(read_back.claims, wanted, strict=True):
        found = [from_model(box.numbers, coordinates, view, size) for box in claim.boxes]
        assert len(found) == len(expected)
        for one, true in zip(found, expected, strict=True):
            assert one is not None
            right = min(true.x2, view.x2)
            assert abs(one.x1 - true.x1) <= 1.01 * step[0] and abs(one.x2 - right) <= 1.01 * step[0]
            assert abs(one.y1 - true.y1) <= 1.01 * step[1] and abs(one.y2 - true.y2) <= 1.01 * step[1]


def test_a_reasoning_of_its_own_keeps_its_words_and_moves_its_boxes() -> None:
    assert target(good(ROW), "rel1000") == (
        "<think>A <obj>man</obj><box>[460,430,770,940]</box>at<t>47.5</t>s.</think>\n<answer>A man waves.</answer>"
    )
    assert "<box>[288,155,482,338]</box>" in target(good(ROW), "pixels", WHOLE, (626, 360))


@given(box=boxes, coordinates=st.sampled_from(["rel1000", "pixels", "norm01"]))
@settings(max_examples=100, deadline=None)
def test_to_model_is_the_inverse_of_from_model(box: tuple[float, ...], coordinates: Coordinates) -> None:
    view, size = Box(0.0, 0.0, 1.0, 1.0), (640, 352)
    written = to_model(Box(*box), coordinates, view, size)
    assert written is not None
    again = from_model(written, coordinates, view, size)
    assert again is not None
    assert to_model(again, coordinates, view, size) == pytest.approx(written)


def test_the_prompt_is_that_of_serving() -> None:
    shown = Shown((), (0.0, 0.5, 1.0), 1.4, WHOLE)
    for coordinates in ("rel1000", "pixels"):
        talk = converse(good(ROW), shown, coordinates, (64, 64))
        served = messages("Who waves?", (0.0, 0.5, 1.0), "en", coordinates=coordinates, duration_s=1.4)
        assert talk.prompt == served


@pytest.mark.parametrize(("time_s", "text"), [(47.0, "47.0"), (1.25, "1.25"), (0.1234, "0.123"), (12.5, "12.5")])
def test_times_keep_what_they_need(time_s: float, text: str) -> None:
    assert time_text(time_s) == text


def test_a_path_stays_below_its_folder(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "videos" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "videos" / "a.mp4").write_bytes(b"x")
    root = tmp_path / "videos"
    assert below(root, "./a.mp4") == (root / "a.mp4").resolve()
    with pytest.raises(BadRows, match="is a link that leaves"):
        below(root, "link.mp4")
    for path in ("../secret.mp4", "/etc/passwd", "a/../../secret.mp4", "\\\\host\\x", "C:x", "a\0b"):
        assert unsafe(path), path
        with pytest.raises(BadRows):
            below(root, path)


def test_the_authors_folders_are_found(tmp_path: Path) -> None:
    home = tmp_path / "stgr" / "plm" / "videos"
    home.mkdir(parents=True)
    (home / "v.mp4").write_bytes(b"x")
    row = StgrRow(task=GROUNDED, question="?", answer="!", video_path="v.mp4", source="STR_plm_rdcap", place=8)
    assert locate(row, tmp_path) == home / "v.mp4"
    with pytest.raises(BadRows, match=r"row 8: there is no v\.mp4 in"):
        locate(StgrRow(task=GROUNDED, question="?", answer="!", video_path="v.mp4", place=8), tmp_path)
