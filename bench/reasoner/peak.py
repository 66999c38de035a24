"""Memory of the card against its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.reasoner.figures import Peak
from bench.reasoner.ways import answered
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Subject
    from reasoner.config import ReasonerConfig

CALLERS = 8
DEVIATION = 0.1
"""Most by which prediction and memory may differ."""


def peak(model: Subject, device: str) -> Peak:
    """Of the largest windows that the settings allow, with what is on by itself; nothing is kept between windows."""
    import torch

    from bench.windows import drawn

    config, frames = settings(model)
    backend = model.load(config.speed)
    asks = [drawn(backend, frames, seed) for seed in range(CALLERS)]
    torch.cuda.reset_peak_memory_stats(device)
    answered(backend, asks, (), CALLERS, device)
    measured, foreseen = torch.cuda.max_memory_allocated(device), predicted(model, config)
    ratio = foreseen / measured
    return Peak(
        callers=CALLERS,
        measured_bytes=measured,
        predicted_bytes=foreseen,
        ratio=ratio,
        target_deviation=DEVIATION,
        within_target=abs(ratio - 1) <= DEVIATION,
    )


def settings(model: Subject) -> tuple[ReasonerConfig, int]:
    """The `[reasoner]` table that is measured, and the pictures of its largest window."""
    notes = model.folder.notes
    config = msgspec.structs.replace(
        model.config, speed=SpeedConfig(features_mib=0, prefix_mib=0, together=CALLERS)
    )  # fmt: skip
    return config, (notes.max_groups if notes is not None else None) or config.max_frames


def predicted(model: Subject, config: ReasonerConfig) -> int:
    """Bytes of tensors, as `witness check` tells them; of random weights, which lie in no file, by their own count."""
    from reasoner.device import device_of
    from reasoner.forecast import forecast, needed

    device = device_of(config.device)
    if not model.random:
        return forecast(model.folder, config, device).memory.tensors
    weights = sum(each.numel() * each.element_size() for each in model.model.parameters())
    return needed(model.folder, config, device, config.dtype, weights).tensors
