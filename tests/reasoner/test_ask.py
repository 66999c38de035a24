"""`witness ask`: the exact shape, frame numbers, and files good and bad."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from reasoner.answer import AskEvidence, AskResult, band, frame_number, render
from reasoner.ask import ask, promise, windows_over
from reasoner.config import ReasonerConfig
from reasoner.errors import VideoUnreadable
from reasoner.folder import Notes
from reasoner.numerals import shifted
from reasoner.phrases import sentence
from reasoner.reason import Reasoner
from reasoner.recording import Coarse, Recording, every
from reasoner.verdict import ModelRecord

MODEL = ModelRecord(name="m", weights_sha256="", prompt_sha256="", tokens_in=1, tokens_out=1)


def result(
    confidence: float, evidence: tuple[AskEvidence, ...] = (), answer: str = "视频中12.3-15.6秒出现红色汽车。"
) -> AskResult:
    return AskResult(
        video="v.mp4", question="q", lang="zh", answer=answer, yes=True, span_s=None, evidence=evidence,
        confidence=confidence, band=band(confidence, 0.6), decision="confirmed", reasons=(), duration_s=20.0, fps=25.0,
        size_px=(640, 360), windows=1, model=MODEL, output="",
    )  # fmt: skip


def seen(time_s: float, box: tuple[int, int, int, int]) -> AskEvidence:
    return AskEvidence(object="car", time_s=time_s, frame=frame_number(time_s, 25.0), box_px=box, check="supported")


def test_the_chinese_shape_is_exact() -> None:
    shown = render(result(0.87, (seen(12.3, (320, 200, 450, 280)), seen(14.5, (350, 210, 480, 290)))), "zh")
    assert shown == (
        "答案:视频中12.3-15.6秒出现红色汽车。\n"
        "证据:\n"
        "- 时间戳:12.3秒(对应第308帧),边界框:(x1=320, y1=200, x2=450, y2=280)\n"
        "- 时间戳:14.5秒(对应第363帧),边界框:(x1=350, y1=210, x2=480, y2=290)\n"
        "置信度:0.87(高)"
    )


def test_without_evidence_and_unsure() -> None:
    assert render(result(0.41), "zh").splitlines()[1:] == ["证据:无", "置信度:0.41(低,需人工核实)"]
    assert render(result(0.41, answer="No."), "en") == (
        "Answer:No.\nEvidence:none\nConfidence:0.41(low,needs human review)"
    )


@pytest.mark.parametrize(
    ("seconds", "fps", "frame"),
    [
        (12.3, 25, 308), (14.5, 25, 363), (0.0, 25, 0), (0.02, 25, 1), (1.0, 29.97, 30), (0.5, 29.97, 15),
        (2.5, 1, 3), (3.5, 1, 4), (100.1, 12.5, 1251),
    ],
)  # fmt: skip
def test_frames_are_rounded_half_up(seconds: float, fps: float, frame: int) -> None:
    assert frame_number(seconds, fps) == frame


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.0, "0.00(低,需人工核实)"), (0.59, "0.59(低,需人工核实)"), (0.597, "0.59(低,需人工核实)"), (0.6, "0.60(中)"),
     (0.8, "0.80(中)"), (0.803, "0.81(高)"), (0.81, "0.81(高)"), (1.0, "1.00(高)")],
)  # fmt: skip
def test_bands(confidence: float, words: str) -> None:
    assert render(result(confidence), "zh").endswith(f"置信度:{words}")


@pytest.mark.parametrize(
    ("answer", "lang", "category", "span", "expected"),
    [
        ("Yes. A person falls from 1.5s to 5.5s.", "zh", "fall", (11.5, 15.5), "视频中11.5-15.5秒有人摔倒。"),
        ("No. A person sits down.", "zh", "fall", None, "视频中未发现有人摔倒:有人坐下。"),
        ("No. Something new.", "zh", "fall", None, "视频中未发现有人摔倒。"),
        ("Yes. A red car from 1.5s to 5.5s.", "zh", None, (11.5, 15.5), "是。A red car from 11.5s to 15.5s."),
        ("Yes. 2.3-5.6秒出现2辆红色汽车。", "zh", "fall", (12.3, 15.6), "是。12.3-15.6秒出现2辆红色汽车。"),
        ("Yes. A person falls from 1.5s to 5.5s.", "en", "fall", (11.5, 15.5),
         "Yes. A person falls from 11.5s to 15.5s."),
        ("", "zh", "fall", None, "没有回答。"),
        ("a\x0b\x1b[2Jb\nc", "en", None, None, "a [2Jb c"),
    ],
)  # fmt: skip
def test_answers_in_the_asked_language(
    answer: str, lang: str, category: str | None, span: tuple[float, float] | None, expected: str
) -> None:
    assert sentence(answer, lang, category, span, 10.0) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at 3.0s and 4 seconds", "at 13.0s and 14.0s"), ("3 cars", "3 cars"), ("00:03-00:05", "13.0s-15.0s"),
        ("2-3 cars at 1s", "2-3 cars at 11.0s"), ("From 1.0 to 2.0s", "From 11.0 to 12.0s"), ("1分钟", "70.0秒"),
    ],
)  # fmt: skip
def test_only_times_are_shifted(text: str, expected: str) -> None:
    assert shifted(text, 10.0) == expected


def test_windows_cover_a_file() -> None:
    for duration in (0.4, 7.0, 7.5, 40.0, 3600.0):
        spans = windows_over(duration, 7.0)
        assert spans[0][0] == 0.0
        assert spans[-1][1] == pytest.approx(max(duration, 0.5))
        assert all(b[0] <= a[1] - 3.4 for a, b in itertools.pairwise(spans))


def test_a_span_with_movement_promises_more() -> None:
    pictures = np.full((12, 90, 160, 3), 100, np.uint8)
    pictures[6, 20:60, 40:70] = 220
    coarse = Coarse([5.0 * k for k in range(12)], pictures)
    scores = promise(coarse, [(0.0, 10.0), (26.0, 34.0), (45.0, 55.0)])
    assert scores[1] > 2 * max(scores[0], scores[2])


@pytest.mark.parametrize(
    ("keys", "duration", "expected"),
    [
        ([0.0, 4.9, 9.8], 12.0, {0.0, 4.9, 9.8}),
        ([float(k) for k in range(12)], 12.0, {0.0, 5.0, 10.0}),
        ([0.0, 8.0], 10.0, None),
        ([0.0], 3.0, {0.0}),
        ([], 3.0, None),
    ],
)
def test_key_frames_serve_where_they_are_dense_enough(
    keys: list[float], duration: float, expected: set[float] | None
) -> None:
    chosen = every(keys, 5.0, duration)
    if expected is None:
        assert chosen is None
    else:
        assert chosen is not None
        times = sorted(chosen)
        assert times[0] == min(expected)
        assert all(b - a <= 5.001 for a, b in zip(times, [*times[1:], duration], strict=True))
        assert len(times) <= len(expected)


def write_video(path: Path, times_s: list[float], size: tuple[int, int] = (320, 180)) -> Path:
    """An MP4 whose frames lie at these seconds; a patch moves across it and tells the time by its place."""
    rng = np.random.default_rng(0)
    still = np.asarray(
        cv2.resize(rng.integers(60, 160, (9, 16, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC), np.uint8
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = size
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 50
        for t in times_s:
            picture: NDArray[np.uint8] = still.copy()
            x = int(10 + 25 * t)
            picture[80:130, x : x + 24] = (250, 240, 20)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(t * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_pts_decide_the_seconds_of_a_variable_rate(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.4, 0.55, 1.1, 1.2, 1.9, 2.05, 2.6, 3.0, 3.1, 3.95, 4.0]
    video = write_video(tmp_path / "vfr.mp4", times)
    with Recording(video) as recording:
        window = recording.window(0.0, 4.0, 0.5, None)
    found = [frame.stamp.utc_ns / 1e9 for frame in window.cut.frames]
    assert found == pytest.approx([0.0, 0.55, 1.1, 1.2, 2.05, 2.6, 3.0, 3.1, 4.0], abs=0.0015)
    assert found == sorted(set(found))


def test_a_window_of_the_middle_begins_where_it_should(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", [0.05 * k for k in range(200)])
    with Recording(video) as recording:
        assert recording.duration_s == pytest.approx(10.0, abs=0.05)
        window = recording.window(4.0, 7.0, 0.5, None)
        coarse = recording.coarse(5.0)
    assert [round(f.stamp.utc_ns / 1e9, 2) for f in window.cut.frames] == [4.0 + 0.5 * k for k in range(7)]
    assert coarse.times_s[0] == 0.0
    assert coarse.pictures.shape[2] == 320


def test_ask_runs_the_whole_path(tiny: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", [0.04 * k for k in range(150)])
    config = ReasonerConfig(
        model=str(tiny),
        max_new_tokens=12,
        max_frames=4,
        min_frame_pixels=16_384,
        max_frame_pixels=32_768,
        threads=1,
        device="cpu",
    )
    reasoner = Reasoner.load(config)
    answered = ask(video, "有人摔倒吗?", config, "zh", reasoner=reasoner)
    shape = re.compile(
        r"答案:.+\n证据:(?:无|(?:\n- 时间戳:\d+(?:\.\d+)?秒\(对应第\d+帧\),"
        r"边界框:\(x1=\d+, y1=\d+, x2=\d+, y2=\d+\))+)\n置信度:[01]\.\d\d\((?:高|中|低,需人工核实)\)"
    )
    assert shape.fullmatch(render(answered, "zh"))
    assert answered.windows > 1
    assert (answered.duration_s, answered.fps, answered.size_px) == (6.0, 25.0, (320, 180))
    assert msgspec.json.decode(msgspec.json.encode(answered), type=AskResult) == answered
    with pytest.raises(ValueError, match="question is empty"):
        ask(video, "  ", config)


@pytest.mark.parametrize(("question", "foreign"), [("有人摔倒吗?", False), ("画面里有几辆车?", True)])
def test_a_question_outside_the_categories_is_never_sure(
    tiny: Path, tmp_path: Path, question: str, foreign: bool
) -> None:
    """A model that knows falls alone is asked about cars: it may say what it likes, a person has to look."""
    video = write_video(tmp_path / "v.mp4", [0.04 * k for k in range(50)])
    config = ReasonerConfig(model=str(tiny), max_new_tokens=8, max_frames=4, threads=1, device="cpu")
    reasoner = Reasoner.load(config)
    reasoner.backend.notes = Notes(categories=("fall",), questions={"fall": "Why?"}, keywords={"fall": ("摔",)})
    answered = ask(video, question, config, "zh", reasoner=reasoner)
    assert ("unknown_question" in answered.reasons) is foreign
    if foreign:
        assert answered.confidence <= 0.5
        assert render(answered, "zh").endswith("(低,需人工核实)")


@pytest.mark.parametrize("kind", ["random", "empty", "missing", "text", "folder", "audio"])
def test_what_is_no_video_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "audio":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    elif kind != "missing":
        content = {"random": np.random.default_rng(0).bytes(4000), "empty": b"", "text": b"hello\n" * 100}[kind]
        path.write_bytes(content)
    with pytest.raises(VideoUnreadable) as caught:
        ask(path, "Anything?", ReasonerConfig(model=str(tmp_path)))
    assert "x.mp4" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_end_shows_what_there_is(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mkv", [0.04 * k for k in range(250)])
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 6 // 10])
    with Recording(video) as recording:
        assert 2.0 < recording.duration_s < 10.0
        assert len(recording.window(0.0, 10.0, 0.5, None).cut.frames) > 3
