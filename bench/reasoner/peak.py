"""Memory of the card against its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.reasoner.figures import Peak
from bench.reasoner.ways import answered
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject


def peak(model: Subject, asks: Sequence[Ask], new_tokens: int, dtype: str) -> Peak:
    """Of eight callers with what is on by itself, but for what is kept between windows."""
    import torch

    from reasoner.fit import predict

    callers = 8
    backend = model.load(SpeedConfig(features_mib=0, prefix_mib=0, together=callers))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    answered(backend, (list(asks) * callers)[:callers], (), callers, "cuda")
    measured = torch.cuda.max_memory_allocated()
    weights = sum(each.numel() * each.element_size() for each in backend.model.parameters())
    height, width = asks[0][1][0].shape[-3:-1]
    size = backend.fitted(width, height)
    predicted = predict(
        backend.model.config.to_dict(), weights, windows=callers, frames=len(asks[0][1]),
        frame_pixels=size[0] * size[1], new_tokens=new_tokens, dtype=dtype, prefill_tokens=2048, images_at_once=1,
    ).tensors  # fmt: skip
    return Peak(
        callers=callers, measured_bytes=measured, predicted_bytes=predicted, ratio=predicted / measured
    )  # fmt: skip
