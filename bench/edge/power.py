"""Watts, memory of the card and of the processes while a part runs: NVML, else nvidia-smi, and /proc."""

from __future__ import annotations

import importlib
import re
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from bench.edge.record import Power

EVERY_S = 0.5
QUERY = ("memory.used", "power.draw", "utilization.gpu")
MIB = 1 << 20
ERRORS = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
"""Of a question to the driver."""


class Card(NamedTuple):
    """One moment of the GPU."""

    vram_mib: float
    watts: float | None
    busy: float | None


class Sensor(NamedTuple):
    """What tells of the first GPU, and how to read it."""

    source: str
    name: str
    driver: str
    vram_gib: float | None
    power_limit_w: float | None
    read: Callable[[], Card]


def sensor() -> Sensor | str:
    """Of the first GPU; a str says why there is none."""
    reasons = []
    for way in (_nvml, _smi):
        try:
            return way()
        except (ImportError, *ERRORS) as error:
            reasons.append(" ".join(str(error).split())[:100])
    return "; ".join(reasons)


def _nvml() -> Sensor:
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        raise ImportError("NVML: nvidia-ml-py is not installed") from None
    try:
        nvml.nvmlInit()
        card = nvml.nvmlDeviceGetHandleByIndex(0)
        name, driver = nvml.nvmlDeviceGetName(card), nvml.nvmlSystemGetDriverVersion()
        total = nvml.nvmlDeviceGetMemoryInfo(card).total
    except nvml.NVMLError as error:
        raise RuntimeError(f"NVML: {error}") from None

    def asked(question: Callable[[], float]) -> float | None:
        try:
            return question()
        except nvml.NVMLError:
            # Not every card tells of its power.
            return None

    def read() -> Card:
        used = asked(lambda: nvml.nvmlDeviceGetMemoryInfo(card).used / MIB)
        if used is None:
            raise RuntimeError("NVML tells no memory")
        return Card(
            used,
            asked(lambda: nvml.nvmlDeviceGetPowerUsage(card) / 1000),
            asked(lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100),
        )

    limit_w = asked(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000)
    return Sensor("NVML", _text(name), _text(driver), total / (1 << 30), limit_w, read)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _smi() -> Sensor:
    name, driver, total, limit = _asked_smi(("name", "driver_version", "memory.total", "power.limit"))
    total_mib = _number(total)
    return Sensor(
        "nvidia-smi", name, driver, total_mib / 1024 if total_mib else None, _number(limit), lambda: card_of(_smi_now())
    )


def _smi_now() -> list[str]:
    return _asked_smi(QUERY)


def _asked_smi(fields: tuple[str, ...]) -> list[str]:
    command = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except FileNotFoundError:
        raise OSError("no nvidia-smi") from None
    values = [value.strip() for value in out.strip().splitlines()[0].split(",")] if out.strip() else []
    if len(values) != len(fields):
        raise ValueError(f"nvidia-smi answers {out.strip()[:80]!r}")
    return values


def card_of(values: list[str]) -> Card:
    """Of nvidia-smi's words for `QUERY`; what a card does not tell is `[N/A]`. Raises ValueError without memory."""
    vram_mib, watts, percent = (_number(value) for value in values)
    if vram_mib is None:
        raise ValueError(f"nvidia-smi tells no memory: {values}")
    return Card(vram_mib, watts, None if percent is None else percent / 100)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def told(power: Power) -> str:
    """In a line."""
    card = f"GPU {power.source}"
    if power.vram_peak_mib is not None:
        card = f"VRAM {power.vram_peak_mib / 1024:.2f} GiB at most"
        if power.watts_mean is not None:
            card += f", {power.watts_mean:.0f} W, {power.watts_peak:.0f} W at most"
    return f"memory {power.memory_peak_mib / 1024:.2f} GiB at most; {card}"


class Meter:
    """Samples a process with all its descendants, and the GPU, until it is left."""

    def __init__(self, pid: int, gpu: Sensor | str) -> None:
        self._pid, self._gpu = pid, gpu
        self._memory_mib: list[float] = []
        self._cards: list[Card] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="power", daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self._memory_mib.append(sum(map(proportional_mib, family(self._pid))))
            if isinstance(self._gpu, Sensor):
                # A card that does not answer once is asked again.
                with suppress(*ERRORS):
                    self._cards.append(self._gpu.read())
            if self._stop.wait(EVERY_S):
                return

    def power(self) -> Power:
        return summed(self._memory_mib, self._cards, self._gpu if isinstance(self._gpu, str) else self._gpu.source)


def summed(memory_mib: list[float], cards: list[Card], source: str) -> Power:
    watts = [card.watts for card in cards if card.watts is not None]
    busy = [card.busy for card in cards if card.busy is not None]
    return Power(
        samples=len(memory_mib),
        memory_peak_mib=round(max(memory_mib, default=0.0), 1),
        source=source if cards else f"not run: {source}",
        vram_peak_mib=max((card.vram_mib for card in cards), default=None),
        vram_before_mib=cards[0].vram_mib if cards else None,
        watts_mean=round(statistics.fmean(watts), 1) if watts else None,
        watts_peak=max(watts, default=None),
        busy_mean=round(statistics.fmean(busy), 3) if busy else None,
    )


def family(pid: int) -> Iterable[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                # It has ended.
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, ())
    return found


def proportional_mib(pid: int) -> float:
    """Resident memory, a page that n processes share counted as 1/n (proc_pid_smaps(5), `Pss`); 0 of an ended one."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
