"""What a run of the edge benchmark leaves: parts, and in each of them figures with the limits beside them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PartName = Literal["nvdec", "vit", "reasoner", "cameras"]
Status = Literal["ran", "not run", "failed", "stopped"]
"""`stopped`: its time was up; what it had measured until then is kept."""
FAILED = "failed: "
"""How the reason begins where something was not foreseen."""
Amount = Annotated[float, Meta(ge=0)]


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a part is asked to measure."""

    device: Literal["cpu", "cuda"]
    quick: bool = False
    """Fewer rounds and shorter spans."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What cannot be beaten, in the figure's unit."""

    value: Amount
    of: str
    """Whose limit, as `RTX 4090`."""
    formula: str
    """With its numbers filled in."""
    here: bool = True
    """Of the device that was measured; else of the card that the product is meant for."""
    floor: bool = False
    """A smallest value (a time) instead of a largest one."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number, or why there is none."""

    group: str
    """What was measured, as a stream or a model: figures of one group are compared with each other."""
    series: str
    """By what, as an engine and its precision."""
    at: Amount | None = None
    """Place on the axis that the part's figures are drawn over: a batch size, a number of sessions or of cameras."""
    value: Amount | None = None
    unit: str
    limit: Limit | None = None
    not_run: str = ""
    """The reason, where there is no value."""
    details: dict[str, float | int | str | bool] = {}
    """More of the same measurement; units in the names."""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.not_run):
            raise ValueError(f"{self.group}, {self.series}: either a value or the reason why there is none")

    @property
    def share(self) -> float | None:
        """Of the limit of the device that was measured, 0..1."""
        if self.value is None or self.limit is None or not self.limit.here or not self.value or not self.limit.value:
            return None
        return self.limit.value / self.value if self.limit.floor else self.value / self.limit.value


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """Sampled while a part ran, all its processes together."""

    samples: Annotated[int, Meta(ge=0)]
    memory_peak_mib: Amount
    """Resident memory, pages shared by several processes counted once."""
    source: str
    """Of the figures of the GPU: `NVML`, `nvidia-smi`, or why there are none."""
    vram_peak_mib: Amount | None = None
    """Of the whole card."""
    vram_before_mib: Amount | None = None
    """Held by others before the part began."""
    watts_mean: Amount | None = None
    watts_peak: Amount | None = None
    busy_mean: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of the time in which a kernel ran."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the run, in a process of its own."""

    name: PartName
    title: str
    about: str
    """How it was measured, in a sentence or two."""
    axis: str
    """What `Figure.at` counts."""
    status: Status
    reason: str = ""
    """One line, unless it ran."""
    seconds: Amount
    load: Amount
    """Programs that wanted a core when it began, mean of a minute."""
    command: str
    """By which this part runs alone."""
    figures: tuple[Figure, ...]
    power: Power | None


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, beyond what every benchmark says of it."""

    memory_gib: Amount
    gpu: str
    """Name; empty: none."""
    driver: str
    vram_gib: Amount | None
    power_limit_w: Amount | None
    versions: dict[str, str]
    """Of what decides about a GPU's speed; `-` for what is not installed."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A run of `python -m bench edge`, finished or not."""

    format: Literal[1] = 1
    device: Literal["cpu", "cuda"]
    quick: bool
    busy: bool
    """Other programs wanted the cores as well: figures of time are upper bounds."""
    started_utc: str
    finished: bool
    command: str
    box: Box
    parts: tuple[Part, ...]
