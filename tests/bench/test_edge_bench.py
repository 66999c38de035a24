"""Limits are the published ones, parts that fail or take too long cost no other, and the report is whole by itself."""

import argparse
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import numpy as np
import pytest
from av.codec import CodecContext

import bench.edge
from bench import latency
from bench.edge import cameras, limits, nvdec, power, sessions, vit
from bench.edge.limits import QWEN3_VL_8B, RTX_4090, peaks_of
from bench.edge.page import page
from bench.edge.part import _ended, run_part, told
from bench.edge.plot import decades, number, ticks
from bench.edge.record import Ask, Box, Figure, Figures, Limit, Part, Power, Status
from bench.edge.reference import rows
from bench.edge.schema import SCHEMA_FILE, schema
from bench.edge.ways import Way
from bench.roofline import PEAKS, published, text_parameters
from bench.watched import told as told_of_demo
from deploy.inbox import Fifo
from deploy.summary import Windows, summarise
from detector import compilation
from detector.cost import tower_flops
from detector.engines import Engine
from detector.engines import compiled as compiled_engines
from detector.engines.ort import OnnxEngine
from detector.engines.shelf import Shelf
from detector.errors import EngineUnavailable
from detector.folder import BUNDLED, ScorerFolder, read_folder
from ingest.simulator.stream import Stream, StreamCodec, encode

B16, SO400M = (768, 12, 3072), (1152, 27, 4304)


@pytest.mark.parametrize(
    ("tower", "at_165", "at_330"),
    [
        ((224, 16, *B16), 4699, 9394),
        ((256, 16, *B16, "pool"), 3524, 7046),
        ((256, 16, *SO400M, "pool"), 749, 1497),
        ((384, 14, *SO400M, "pool"), 246, 492),
    ],
)
def test_pictures_a_second_at_the_peak_are_the_published_ones(tower: Any, at_165: float, at_330: float) -> None:
    flops = limits.vit_flops(*tower)
    assert limits.images_per_s(flops, RTX_4090.flops("fp16")) == pytest.approx(at_165, rel=2.5e-3)
    assert limits.images_per_s(flops, RTX_4090.flops("fp8")) == pytest.approx(at_330, rel=2.5e-3)


@pytest.mark.parametrize(
    ("size", "tokens", "bf16_ms", "fp8_ms"),
    [((448, 256), 1410, 148, 87), ((448, 448), 2250, 246, 147), ((768, 448), 3650, 418, 253)],
)
def test_a_window_s_first_token_is_the_published_one(
    size: tuple[int, int], tokens: int, bf16_ms: float, fp8_ms: float
) -> None:
    assert limits.window_tokens(QWEN3_VL_8B, *size, 20) == tokens
    flops = limits.window_flops(QWEN3_VL_8B, *size, 20)
    assert 1000 * limits.prefill_s(flops, RTX_4090) == pytest.approx(bf16_ms, abs=0.6)
    assert 1000 * limits.prefill_s(flops, RTX_4090, "fp8") == pytest.approx(fp8_ms, abs=0.6)


@pytest.mark.parametrize(
    ("weights", "alone", "with_keys", "eight"),
    [("bf16", 67, 65, 453), ("fp8", 133, 128, 789), ("int4", 251, 232, 1208)],
)
def test_further_tokens_are_the_published_ones(weights: str, alone: float, with_keys: float, eight: float) -> None:
    found = [
        batch / limits.step_s(QWEN3_VL_8B, RTX_4090, tokens, batch, weights)
        for tokens, batch in ((0, 1), (2250, 1), (2250, 8))
    ]
    assert found == pytest.approx([alone, with_keys, eight], abs=0.6)


def test_the_rest_of_the_published_limits() -> None:
    assert text_parameters(QWEN3_VL_8B) == pytest.approx(6.946e9, rel=1e-3)
    flops = limits.window_flops(QWEN3_VL_8B, 448, 448, 20)
    assert sum(flops) / 1e12 == pytest.approx(40.6, abs=0.05)
    for weights, verdict, together in (("bf16", 4.1, 2.6), ("fp8", 6.8, 4.5)):
        read = limits.prefill_s(flops, RTX_4090, weights)  # type: ignore[arg-type]
        step = limits.step_s(QWEN3_VL_8B, RTX_4090, 2250, 8, weights)
        assert limits.windows_per_s(read, 0, 1) == pytest.approx(verdict, abs=0.05)
        assert limits.windows_per_s(read, step, 60, 8) == pytest.approx(together, abs=0.05)
    box: dict[str, float] = {"cores": 8, "cameras_per_core": 108, "images_s": 3300, "interval_s": 5, "windows_s": 3.1}
    for hourly, reasoned, least in ((12, 930, 864), (60, 186, 186)):
        found = limits.capacity(**box, windows_per_camera_hour=hourly, fetch_core_s=0.8)
        assert (round(found.reason), round(found.cameras)) == (reasoned, least)
    read, write = 0.155, 0.47
    assert limits.alert_floor_s(5, read, write) == pytest.approx(3.6, abs=0.05)
    assert limits.alert_floor_s(2, read, write) == pytest.approx(2.1, abs=0.05)
    assert limits.alert_floor_s(2, read, 0) == pytest.approx(1.6, abs=0.05)


def test_peaks_are_those_of_the_card_and_of_no_other() -> None:
    cards = {
        "NVIDIA GeForce RTX 4090": RTX_4090,
        "NVIDIA GeForce RTX 4090 Laptop GPU": None,
        "NVIDIA GeForce RTX 4090 D": None,
        "NVIDIA H100 PCIe": None,
        "NVIDIA H100 NVL": None,
        "NVIDIA GH200 480GB": None,
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb": None,
        "NVIDIA GeForce RTX 3060": None,
    }
    assert {name: peaks_of(name) for name in cards} == cards
    assert [name for name in cards if published(name)] == ["NVIDIA GeForce RTX 4090"]
    a100 = ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe")
    assert [published(name) for name in a100] == [PEAKS["A100"], None, None, None]
    for name in ("H100", "H200", "RTX 4090"):
        known = peaks_of(f"NVIDIA {name}")
        assert known is not None
        assert (known.fp16, known.bandwidth) == pytest.approx(PEAKS[name], rel=1e-3)
    with pytest.raises(ValueError, match="fp4"):
        RTX_4090.flops("fp4")


def small(codec: StreamCodec) -> Stream:
    """Two seconds of a moving picture."""
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (180, 320, 3), np.uint8)
    return encode((np.roll(picture, 4 * index, axis=1) for index in range(50)), 25, 1.0, codec=codec)


def software(stream: Stream) -> Any:
    """A decoder of the CPU."""
    context = CodecContext.create(stream.codec, "r")
    context.extradata = stream.extradata
    return context


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_decoding_is_measured_for_real(codec: StreamCodec) -> None:
    stream = small(codec)
    keys, everything = nvdec.on_cpu(stream, "a camera", 0.1)
    assert keys.value is not None
    assert everything.value is not None
    assert keys.value > everything.value > 0
    assert sessions.frames_per_s(lambda: software(stream), stream, 2, 0.3) > 25
    assert sessions.most_held(lambda: software(stream), stream, 2, 0.5)[0] in (1, 2)
    (absent,) = nvdec.on_card(stream, "a camera", 0.1, "no card")
    assert (absent.value, absent.not_run) == (None, "no card")


def test_sessions_that_fall_behind_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LATE_S", 0.2)
    stream, turn = small("h264"), threading.Lock()

    class Narrow:
        """A hundred pictures a second, whoever asks: four cameras at 25."""

        def decode(self, packet: object) -> list[object]:
            with turn:
                time.sleep(0.01)
            return [packet]

    held, behind_s = sessions.most_held(Narrow, stream, 6, 1.0)
    assert 1 <= held <= 4
    assert behind_s <= sessions.LATE_S


@pytest.mark.parametrize("most", [0, 1, 2, 7, 31, 63, 64])
def test_the_most_sessions_are_found_however_far_the_first_guess_is(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind by as many seconds as there are sessions too many."""
    tried: list[int] = []

    def together(count: int, work: object) -> list[float]:
        tried.append(count)
        return [0.01, float(max(0, count - most))]

    monkeypatch.setattr(sessions, "_together", together)
    held, behind_s = sessions.most_held(object, small("h264"), 64, 1.0)
    assert held == most
    assert behind_s == (0.01 if most else 1.0)
    assert len(tried) == len(set(tried)) <= 8


def test_a_card_that_holds_no_camera_has_a_reason_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = small("h264")
    monkeypatch.setattr(nvdec, "_card", software)
    monkeypatch.setattr(sessions, "LATE_S", -1.0)
    figures = list(nvdec.on_card(stream, "a camera", 0.1, ""))
    (paced,) = (figure for figure in figures if figure.series == nvdec.PACED)
    assert (paced.at, paced.value) == (1, None)
    assert paced.not_run.startswith("fewer than 1: one session is ")
    assert all(figure.value for figure in figures if figure is not paced)


def test_an_error_in_a_session_is_raised() -> None:
    class Broken:
        def decode(self, packet: object) -> list[object]:
            raise RuntimeError("no more surfaces")

    with pytest.raises(RuntimeError, match="surfaces"):
        sessions.frames_per_s(Broken, small("h264"), 3, 0.1)


def test_engines_are_measured_for_real_and_what_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, ask = read_folder("bundled"), Ask(device="cpu", quick=True)
    monkeypatch.setattr(vit, "SPEND_S", {True: 0.05})
    monkeypatch.setattr(vit, "CALL_LIMIT_S", {True: 0.0})
    way = Way("ONNX Runtime, CPU, fp32", "fp32", "cpu", OnnxEngine)
    one, eight, many = vit._measured(folder, way, ask, {"cpu": {"fp32": 1e12}})
    assert one.value is not None
    assert one.limit is not None
    assert (one.at, one.unit) == (1, "images/core-s")
    assert one.value == pytest.approx(1000 / float(one.details["ms_per_call"]), rel=0.01)
    assert one.limit.value == pytest.approx(1e12 / tower_flops(folder.record.shape))
    for left, batch in ((eight, 8), (many, 32)):
        assert (left.at, left.value) == (batch, None)
        assert left.not_run.endswith("--quick leaves it out")

    def absent(folder: ScorerFolder) -> Engine:
        raise EngineUnavailable("no such card")

    def broken(folder: ScorerFolder) -> Engine:
        raise TypeError("an argument\nis missing")

    for opened, said in ((absent, "no such card"), (broken, "failed: TypeError: an argument is missing")):
        (figure,) = vit._measured(folder, way._replace(open=opened), ask, {"cpu": {"fp32": 1e12}})
        assert (figure.value, figure.not_run) == (None, said)


def test_the_search_finds_the_most_cameras_in_few_tries() -> None:
    rng = random.Random(5)
    for most in [0, 1, 3, 4, 5, 127, 128, 129, *(rng.randrange(200) for _ in range(40))]:
        tried: list[cameras.Tried] = []
        while (count := cameras.next_count(tried)) is not None:
            assert 1 <= count <= cameras.MOST
            assert count not in {one.cameras for one in tried}
            tried.append(cameras.Tried(count, count <= most))
        best = max((one.cameras for one in tried if one.held), default=0)
        assert best <= most
        assert min(most, cameras.MOST) - best <= max(1, cameras.NEAR * most + 1)
        assert len(tried) <= 10


@pytest.mark.parametrize(
    ("changed", "first_told", "why_not"),
    [
        ({}, None, ""),
        ({}, 1.0, ""),
        ({"p95_s": 3.01}, None, "p95 3.01 s"),
        ({"windows": {"shed": 2}}, None, "2 windows shed"),
        ({"p95_s": None, "matched": 0}, None, "no event was told"),
        ({"matched": 1}, None, "1 of 40 events told, 50 % wanted"),
        ({"matched": 1}, 0.025, "1 of 40 events told, 50 % wanted"),
        ({"matched": 20}, None, ""),
        ({"matched": 31}, 1.0, "31 of 40 events told, 80 % wanted"),
        ({"matched": 31}, 0.8, "31 of 40 events told, 80 % wanted"),
        ({"matched": 28}, 0.7, ""),
        ({"matched": 27}, 0.7, "27 of 40 events told, 70 % wanted"),
        ({"dropped_frames": 3, "unscored_frames": 1}, 1.0, "4 coarse frames dropped"),
        ({"p95_s": 4.0, "dropped_frames": 1}, None, "p95 4.00 s, 1 coarse frames dropped"),
    ],
)
def test_when_a_count_of_cameras_holds(changed: dict[str, Any], first_told: float | None, why_not: str) -> None:
    """Missed events and dropped frames leave the latency of the others as it is: they count by themselves."""
    found: dict[str, Any] = {"p95_s": 3.0, "events": 40, "matched": 32, "dropped_frames": 0, "unscored_frames": 0}
    found |= {"windows": {"shed": 0}, **changed}
    assert cameras.holds(found, first_told) == (not why_not, why_not)


def test_what_the_summary_does_not_tell_is_told_beside_it() -> None:
    score = Fifo[int](2, "drop_oldest")
    for item in range(5):
        score.put(item)
    links = [SimpleNamespace(name="score", inboxes=[score]), SimpleNamespace(name="fetch", inboxes=[])]
    line: Any = SimpleNamespace(runner=SimpleNamespace(links=links), engine="onnx (CPU)", unscored=1)
    found = told_of_demo(line, summarise(1.0, 1, [], [], Windows()))
    assert (found.engine, found.dropped_frames, found.unscored_frames) == ("onnx (CPU)", 3, 1)


def test_cameras_are_watched_with_the_benchmark_s_own_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a GPU the scorer is compiled first and the demo is shown where; the details name what ran."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shelves: list[str] = []

    def run(options: argparse.Namespace, engines: str = "") -> dict[str, Any]:
        shelves.append(engines)
        return {
            "events": 4, "matched": 4, "false": 0, "p50_s": 1.0, "p95_s": 5.0 if options.cameras > 4 else 2.0,
            "windows": {"flagged": 4, "shed": 0}, "dropped_frames": 0, "unscored_frames": 0,
            "engine": "tensorrt fp16",
        }  # fmt: skip

    monkeypatch.setattr(latency, "run", run)
    compiled: list[Any] = []
    monkeypatch.setattr(compilation, "here", lambda folder, precision: (folder.path, precision))
    monkeypatch.setattr(Shelf, "find", lambda self, wanted: None)
    monkeypatch.setattr(
        compiled_engines, "current", lambda folder, wanted, shelf, found, build: compiled.append(wanted)
    )
    found = list(cameras.figures(Ask(device="cuda", quick=True), lambda text: None))
    assert compiled == [(BUNDLED, "fp16")]
    assert set(shelves) == {str(tmp_path / "witness" / "bench-engines" / "shipped")}
    assert found[-1].details["engine"] == "tensorrt fp16"
    assert "passed_over" not in found[-1].details
    assert all(one.details["engine"] == "tensorrt fp16" for one in found if one.series.endswith("p95"))

    def absent(folder: object, precision: object) -> None:
        raise EngineUnavailable("no TensorRT")

    monkeypatch.setattr(compilation, "here", absent)
    assert (
        list(cameras.figures(Ask(device="cuda"), lambda text: None))[-1].details["passed_over"]
        == "TensorRT (no TensorRT)"
    )


def test_memory_of_a_process_and_its_children_is_seen() -> None:
    held = "import time; block = bytearray(b'x') * (48 << 20); time.sleep(30)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    with subprocess.Popen([sys.executable, "-c", outer]) as child:
        try:
            with power.Meter(child.pid, "no card") as meter:
                end_s = time.monotonic() + 10
                while meter.power().memory_peak_mib < 48 and time.monotonic() < end_s:
                    time.sleep(0.1)
        finally:
            for pid in list(power.family(child.pid)):
                subprocess.run(["kill", str(pid)], check=False)
    found = meter.power()
    assert 48 < found.memory_peak_mib < 400
    assert (found.source, found.watts_mean, found.vram_peak_mib) == ("not run: no card", None, None)


def test_nvidia_smi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "nvidia-smi"
    asked.write_text(
        "#!/bin/sh\ncase $* in *driver*) echo 'Card, with a number 4090, 600.1, 24564, 450.00';;\n"
        "*) echo '1024, 212.50, 40';; esac\n"
    )
    asked.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ValueError, match="answers"):
        power._smi()
    asked.write_text(asked.read_text().replace("Card, with a number 4090", "Card"))
    found = power._smi()
    assert (found.name, found.driver, found.power_limit_w) == ("Card", "600.1", 450.0)
    card = found.read()
    assert card == power.Card(1024.0, 212.5, 0.4)
    drawn = power.summed([10.0, 30.0], [card, power.Card(2048.0, None, None)], "nvidia-smi")
    assert (drawn.vram_peak_mib, drawn.vram_before_mib, drawn.watts_peak, drawn.busy_mean) == (2048, 1024, 212.5, 0.4)
    assert power.card_of(["10", "[N/A]", "[N/A]"]) == power.Card(10.0, None, None)
    with pytest.raises(ValueError, match="no memory"):
        power.card_of(["[N/A]", "1", "1"])


@pytest.mark.parametrize(
    ("device", "limit_s", "status", "reason"),
    [("cpu", 0.7, "stopped", "1 s were up"), ("cuda", 60.0, "failed", r"^status 1: .*(CUDA|NVIDIA|GPU)")],
)
def test_a_part_that_fails_or_takes_too_long_is_told(
    device: Any, limit_s: float, status: Status, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = run_part("reasoner", Ask(device=device, quick=True), limit_s, "no card", lambda text: None)
    assert (found.status, found.figures) == (status, ())
    assert re.search(reason, found.reason)
    assert "\n" not in found.reason


LEFT_OUT = Figure(group="a", series="slow", unit="s", not_run="no card")
BROKEN = Figure(group="a", series="odd", unit="s", not_run="failed: TypeError: x")
MEASURED = Figure(group="a", series="fast", unit="s", value=1.0)


@pytest.mark.parametrize(
    ("code", "timed_out", "figures", "status", "reason"),
    [
        (0, False, [MEASURED, LEFT_OUT], "ran", ""),
        (0, False, [LEFT_OUT], "not run", "no card"),
        (0, False, [], "not run", "nothing to measure"),
        (0, False, [MEASURED, BROKEN], "failed", "1 of 2 figures; odd: failed: TypeError: x"),
        (-11, False, [MEASURED], "failed", "signal 11: last words"),
        (-9, True, [MEASURED], "stopped", "7 s were up"),
    ],
)
def test_how_a_part_has_ended(code: int, timed_out: bool, figures: list[Figure], status: Status, reason: str) -> None:
    found, why = _ended(code, timed_out, 7.0, deque(["first", "last words"]), figures)
    assert found == status
    assert reason in why


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.edge, "sensor", lambda: "no nvidia-smi")
    with pytest.raises(SystemExit, match=r"--device cuda: no GPU answers \(no nvidia-smi\); use"):
        bench.edge.run(argparse.Namespace(device="cuda", quick=True))


def test_files_are_there_when_a_run_is_cut_short(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "edge", "--quick", "--device", "cpu", "--only", "nvdec"]
    command += ["--part-limit", "0.5", "--json", str(tmp_path / "edge.json"), "--html", str(tmp_path / "edge.html")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    record = json.loads((tmp_path / "edge.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema()).validate(record)
    assert [part["status"] for part in record["parts"]] == ["stopped"]
    assert "stopped" in out.stdout
    assert "[1/1] nvdec" in out.stderr
    assert "--part-limit gives it more" in (tmp_path / "edge.html").read_text("utf-8")


def limit(value: float, **more: Any) -> Limit:
    return Limit(value=value, of="RTX 4090", formula="165.2 TFLOP/s / 46.9 GFLOP", **more)


def part(name: Any, axis: str, figures: tuple[Figure, ...], status: Status = "ran", reason: str = "") -> Part:
    drawn = Power(
        samples=3, memory_peak_mib=2100.0, source="NVML", vram_peak_mib=9000.0, watts_mean=200, watts_peak=310
    )
    return Part(
        name=name, title=f"Part {name}", about="Measured <so>.", axis=axis, status=status, reason=reason, seconds=12.0,
        load=0.2, command="python -m bench edge --only it", figures=figures, power=drawn,
    )  # fmt: skip


def sample(finished: bool = True) -> Figures:
    """A run with a figure of each kind."""
    scored = tuple(
        Figure(group="a model", series=series, at=batch, value=rate * batch**0.3, unit="images/s", limit=limit(3524))
        for series, rate in (("TensorRT, fp16", 700.0), ("torch, CUDA, fp32", 150.0))
        for batch in (1, 8, 32)
    )
    absent = Figure(
        group="a model", series="TensorRT, fp8", unit="images/s", not_run="it has <no> kernels", limit=limit(7046)
    )
    floor = limit(1.6, here=False, floor=True)
    watched = tuple(
        Figure(group="90 s", series=f"event to alert, {name}", at=count, value=base + count / 16, unit="s", limit=floor)
        for count in (4, 8, 16, 32)
        for name, base in (("p50", 1.1), ("p95", 1.8))
    )
    best = Figure(group="90 s", series="most cameras", value=16, unit="cameras", details={"tried": "4, 8, 16, 32"})
    decoded = (
        Figure(group="H.264", series="CPU, key frames", at=1, value=110.0, unit="streams/core"),
        Figure(
            group="H.264", series="CPU, every frame", at=1, value=9.0, unit="streams/core", details={"cpu_ms": 111.5}
        ),
    )
    box = Box(
        memory_gib=64,
        gpu="NVIDIA GeForce RTX 4090",
        driver="600.1",
        vram_gib=24.0,
        power_limit_w=450,
        versions={"x": "-"},
    )
    return Figures(
        device="cuda", quick=False, busy=True, started_utc="2026-01-01T00:00:00+00:00", finished=finished,
        command="python -m bench edge", box=box,
        parts=(
            part("nvdec", "sessions", decoded),
            part("vit", "batch", (*scored, absent)),
            part("reasoner", "callers", (), "failed", "signal 11: no more <memory>"),
            part("cameras", "cameras", (*watched, best)),
        ),
    )  # fmt: skip


MACHINE = {"cpu": "A <fast> one", "cores": 8, "gpu": None, "python": "3.11", "packages": {"av": "18"}, "commit": "abc"}


def record(run: Figures) -> dict[str, Any]:
    return {"bench": "edge", **msgspec.to_builtins(run), "machine": MACHINE}


def test_the_schema_file_is_that_of_the_code_and_what_is_written_holds_to_it() -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == schema(), "write it anew: python -m bench.edge.schema"
    validator = jsonschema.Draft202012Validator(schema())
    written = json.loads(json.dumps(record(sample())))
    validator.validate(written)
    assert not validator.is_valid({**written, "more": 1})
    assert not validator.is_valid({**written, "device": "tpu"})


def test_what_is_decoded_in_real_time_is_what_was_fed_at_the_cameras_pace() -> None:
    """A card decodes more when nobody waits for a camera; the tile must not say so."""
    fast = Figure(group="H.264", series="NVDEC, every frame", at=32, value=77.0, unit="streams")
    paced = Figure(group="H.264", series=nvdec.PACED, at=61, value=61.0, unit="streams")
    run = sample()
    for figures, shown in (((fast, paced), "61"), ((paced, fast), "61"), ((fast,), "not run")):
        parts = (part("nvdec", "sessions", figures), *run.parts[1:])
        text = page(record(msgspec.structs.replace(run, parts=parts)))
        tile = next(one for one in text.split("<div class='tile'>") if "decoded in real time" in one)
        assert f">{shown} <" in tile or f">{shown}<" in tile
        assert "77" not in tile


@pytest.mark.parametrize("finished", [True, False])
def test_the_report_is_whole_by_itself(finished: bool) -> None:
    run = sample(finished)
    text = page(record(run))
    for outside in ("http:", "https:", "src=", "<script", "<link", "@import", "url("):
        assert outside not in text
    assert "<so>" not in text
    assert "<no>" not in text
    for said in ("it has &lt;no&gt; kernels", "signal 11: no more &lt;memory&gt;", "165.2 TFLOP/s / 46.9 GFLOP"):
        assert said in text
    assert ("not finished" in text) is not finished
    for each in run.parts:
        assert f"<h2>{each.title}</h2>" in text
    assert all(row.value in text for row in rows())
    plots = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]
    assert len(plots) == 3
    for plot in plots:
        width, height = (float(side) for side in plot.attrib["viewBox"].split()[2:])
        for shape in plot.iter():
            for name, most in (
                ("cx", width),
                ("x", width),
                ("x2", width),
                ("cy", height),
                ("y", height),
                ("y2", height),
            ):
                assert 0 <= float(shape.attrib.get(name, 0)) <= most, (shape.tag, shape.attrib)


def test_a_report_of_nothing_yet_can_be_looked_at() -> None:
    assert "this part was not asked for" in page(record(msgspec.structs.replace(sample(), parts=())))


def test_a_figure_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either a value or the reason"):
        Figure(group="a", series="b", unit="s")
    with pytest.raises(ValueError, match="either a value or the reason"):
        Figure(group="a", series="b", unit="s", value=1.0, not_run="it did")
    fast = Figure(group="a", series="b", unit="images/s", value=50.0, limit=limit(200))
    slow = Figure(group="a", series="b", unit="s", value=4.0, limit=limit(1, floor=True))
    far = Figure(group="a", series="b", unit="s", value=4.0, limit=limit(1, here=False))
    assert (fast.share, slow.share, far.share) == (0.25, 0.25, None)
    assert told(fast) == "a, b: 50 images/s, 25 % of the limit"


def test_axes_hold_their_values() -> None:
    rng = random.Random(7)
    for _ in range(200):
        low = 10 ** rng.uniform(-3, 5)
        high = low * 10 ** rng.uniform(0, 4)
        first, last = decades(low, high)
        marks = ticks(first, last)
        assert first <= low <= high <= last
        assert marks == sorted(marks)
        assert all(first * 0.99 <= mark <= last * 1.01 for mark in marks)
    values = (0, 0.00123, 0.5, 1, 2.346, 99.96, 1234.5)
    assert [number(value) for value in values] == ["0", "0.00123", "0.5", "1", "2.35", "100", "1,234"]
