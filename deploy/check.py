"""`witness check`: one screen that tells an integrator what works, what does not, and the way out."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from alerts.errors import AlertsError
from deploy.config import Config
from deploy.errors import DeployError, one_line
from detector.errors import DetectorError
from ingest.config import CameraConfig
from ingest.errors import IngestError
from reasoner.errors import ReasonerError

State = Literal["ok", "warn", "FAIL"]
ROOM_ERRORS = (IngestError, DetectorError, ReasonerError, AlertsError, DeployError, OSError)
SAFE_SQLITE = (3, 51, 3)
"""Earlier releases can corrupt a WAL database that is written while it is checkpointed (sqlite.org/wal.html)."""
SAFE_FFMPEG = (8, 1, 3)
"""Fixes published in November 2026; older libraries parse hostile streams with known holes."""
PROBES_AT_ONCE = 8
SMALL_WEIGHTS = 256 << 20
"""Bytes; a model with less fits anywhere."""


class Row(NamedTuple):
    """One line of the table."""

    state: State
    part: str
    detail: str

    def cells(self) -> tuple[str, str, str]:
        return (self.state, self.part, self.detail)


def examine(config: Config, *, probe: bool, timeout_s: float) -> list[Row]:
    """Every part of a configuration that has been read without error. probe: open them all for real."""
    rows = [*_libraries(), *_cameras(config, probe, timeout_s), *_models(config, probe)]
    rows.append(_data(config))
    rows.append(_attempt("kafka", lambda: _kafka(config, probe)))
    rows.append(_attempt("console", lambda: _console(config, probe)))
    return rows


def _attempt(part: str, look: Callable[[], str]) -> Row:
    try:
        return Row("ok", part, look())
    except ROOM_ERRORS as error:
        return Row("FAIL", part, one_line(error))


def _libraries() -> Iterator[Row]:
    yield _at_least("sqlite", sqlite3.sqlite_version, SAFE_SQLITE, "upgrade Python or its SQLite")
    try:
        import av
    except ImportError as error:
        yield Row("FAIL", "ffmpeg", f"PyAV cannot be loaded ({one_line(error)}); install the project again")
        return
    yield _at_least("ffmpeg", str(av.ffmpeg_version_info), SAFE_FFMPEG, "upgrade av when a wheel has it")
    from detector.engines.ort import clash

    if two := clash():
        yield Row("warn", "onnxruntime", two)


def _at_least(part: str, found: str, safe: tuple[int, ...], way_out: str) -> Row:
    numbers = re.search(r"\d+(?:\.\d+)+", found)
    version = tuple(int(number) for number in numbers[0].split(".")) if numbers else ()
    if version >= safe:
        return Row("ok", part, found)
    return Row("warn", part, f"{found} has known faults, {'.'.join(map(str, safe))} mends them: {way_out}")


def _cameras(config: Config, probe: bool, timeout_s: float) -> list[Row]:
    from ingest.source import redact

    if not probe:
        return [Row("ok", f"camera {camera.id}", redact(camera.url)) for camera in config.camera]
    with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
        return list(pool.map(lambda camera: _camera(camera, config, timeout_s), config.camera))


def _camera(camera: CameraConfig, config: Config, timeout_s: float) -> Row:
    from ingest.supervisor import probe

    def look() -> str:
        report = probe(camera, config.ingest, timeout_s)
        width, height = report.size
        return (
            f"{report.codec} {width}x{height}, first picture after {report.first_picture_s:.1f} s, "
            f"clock {report.clock_source}"
        )

    return _attempt(f"camera {camera.id}", look)


def _models(config: Config, probe: bool) -> list[Row]:
    if not probe:
        scorer = _attempt("scorer", lambda: _scorer_folder(config))
        engine = [_attempt("engine", lambda: _engine(config))] if scorer.state == "ok" else []
        return [scorer, *engine, *_reasoner_folder(config)]
    return [_attempt("scorer", lambda: _scorer(config)), *_reasoner(config)]


def _scorer_folder(config: Config) -> str:
    from detector.errors import RuleNotServed
    from detector.folder import read_folder
    from detector.scorer import sees, unserved

    folder = read_folder(config.detector.model)
    for rule in config.rule:
        if reason := unserved(rule, folder):
            raise RuleNotServed(reason)
    record = folder.record
    return f"{record.name}, {sees(record)}"


def _engine(config: Config) -> str:
    """Which one would run, from what is installed and compiled."""
    from detector.engines.outlook import outlook
    from detector.folder import read_folder

    wanted = config.detector
    folder = read_folder(wanted.model)
    found = outlook(wanted.engine, folder, precision=wanted.precision, engines=wanted.engines)
    return f"{wanted.engine}: {found}; --probe starts it" if wanted.engine == "auto" else f"{found}; --probe starts it"


def _scorer(config: Config) -> str:
    from detector.scorer import Scorer

    scorer = Scorer.load(config.detector, config.rule)
    try:
        return scorer.describe()
    finally:
        scorer.close()


def _reasoner_folder(config: Config) -> list[Row]:
    """What can be known of a reasoner from its folder alone."""
    from reasoner.backends import apart
    from reasoner.checkpoint import locate
    from reasoner.folder import open_folder

    settings = config.reasoner
    if settings.backend != "local":
        return [Row("ok", "reasoner", f"{settings.model}, {settings.base_url}; --probe opens it")]
    try:
        folder = open_folder(locate(settings.model))
        runs = "in a process of its own" if apart(settings) else "in this process"
    except ReasonerError as error:
        return [Row("FAIL", "reasoner", one_line(error))]
    memory = _memory(config)
    if any(row.part == "reasoner" for row in memory):
        return memory
    notes = folder.notes
    known = notes.categories if notes else ()
    unserved = [rule for rule in config.rule if known and rule.category not in known]
    sees = ", ".join(sorted(known)) or "any question"
    return [
        Row("ok", "reasoner", f"{folder.name} {runs}, answers {sees}"),
        *memory,
        *(
            Row(
                "FAIL",
                f"rule {rule.id}",
                f'the reasoner was not trained on "{rule.category}"; use one of {sees}, or set [reasoner] model '
                'to a general one such as "Qwen/Qwen3-VL-8B-Instruct"',
            )
            for rule in unserved
        ),
    ]


def _memory(config: Config) -> list[Row]:
    """Whether a local model will fit, from its folder and its device alone, and where the kernel that its weights need
    comes from; a small one is not worth a word."""
    from reasoner.checkpoint import locate
    from reasoner.folder import open_folder

    settings = config.reasoner
    if settings.backend != "local":
        return []
    try:
        folder = open_folder(locate(settings.model))
        if sum(file.stat().st_size for file in folder.weights) < SMALL_WEIGHTS:
            return []
        from reasoner.checkpoint import require
        from reasoner.device import device_of
        from reasoner.forecast import forecast
        from reasoner.hub_kernel import fp8_kernel
        from reasoner.quantised import quantisation

        device, packed = device_of(settings.device), quantisation(folder.config)
        if packed is not None:
            require(packed, folder, device.capability)
        found = forecast(folder, settings, device)
    except ReasonerError as error:
        return [Row("FAIL", "reasoner", one_line(error))]
    rows = [Row("warn" if found.crowded else "ok" if found.fits else "FAIL", "memory", found.text)]
    if packed is not None and packed.kernels and packed.stays_packed(device.capability):
        local, text = fp8_kernel()
        rows.append(Row("ok" if local else "warn", "FP8 kernel", text))
    return rows


def _reasoner(config: Config) -> list[Row]:
    from reasoner.reason import Reasoner

    memory = _memory(config)
    if any(row.state == "FAIL" for row in memory):
        return memory
    try:
        reasoner = Reasoner.load(config.reasoner)
    except ROOM_ERRORS as error:
        return [Row("FAIL", "reasoner", one_line(error))]
    try:
        reasons = ((rule, reasoner.supports(rule)) for rule in config.rule)
        unserved = [Row("FAIL", f"rule {rule.id}", reason) for rule, reason in reasons if reason]
        return [_attempt("reasoner", reasoner.probe), *memory, *unserved]
    finally:
        reasoner.close()


def _data(config: Config) -> Row:
    """The store's folder: it need not exist, but must be creatable and writable."""
    import os

    folder = Path(config.data).absolute()
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Row("FAIL", "data", f"{folder} cannot be written; set data to a folder that can")
    return Row("ok", "data", str(folder))


def _kafka(config: Config, probe: bool) -> str:
    if config.kafka is None:
        return "not configured: alerts stay in the store"
    if not probe:
        return f"{config.kafka.bootstrap}; --probe reaches for it"
    from alerts.kafka_bus import probe as reach

    return reach(config.kafka)


def _console(config: Config, probe: bool) -> str:
    settings = config.console
    if not settings.enabled:
        return "switched off"
    if probe and settings.port:
        try:
            with socket.create_server((settings.host, settings.port)):
                pass
        except OSError as error:
            from deploy.errors import PortInUse

            raise PortInUse(
                f"port {settings.port} on {settings.host} cannot be opened ({error.strerror}); "
                "choose another [console] port"
            ) from None
    return f"http://{settings.host}:{settings.port}/" + ("" if settings.port else " (any free port)")
