"""The memory of the device that a model would run on."""

from __future__ import annotations

import os
from typing import NamedTuple

from reasoner.errors import ModelFailed


class Device(NamedTuple):
    """A GPU, or this machine's RAM."""

    kind: str
    """`cuda` or `cpu`."""
    name: str
    total: int
    """Bytes."""
    free: int
    """Bytes that no other program holds now."""
    capability: tuple[int, int] | None
    """Of a CUDA GPU."""


def device_of(wanted: str) -> Device:
    """`auto`, `cpu`, `cuda` or `cuda:N`. Raises ModelFailed for a GPU that is not there, or is and fails."""
    from reasoner.checkpoint import resolved

    device = resolved(wanted)
    if not device.startswith("cuda"):
        total, free = _ram()
        return Device("cpu", "this machine's RAM", total, free, None)
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
        return Device("cuda", torch.cuda.get_device_name(device), total, free, torch.cuda.get_device_capability(device))
    except RuntimeError as error:
        line = " ".join(str(error).split())[:120]
        raise ModelFailed(f"device {device!r} does not answer: {line}; `nvidia-smi` says who holds it") from error


def _ram() -> tuple[int, int]:
    """Total and available bytes; a container's limit counts where it is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _available() or total
    limit, used = (_number(f"/sys/fs/cgroup/memory.{what}") for what in ("max", "current"))
    if limit is not None and limit < total:
        return limit, min(free, limit - (used or 0))
    return total, free


def _available() -> int | None:
    """What Linux could give to a new program without swapping; other systems do not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), None)
    except OSError:
        return None


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
