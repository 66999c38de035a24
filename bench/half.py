"""torch in half precision: the peer that a compiled fp16 engine has to beat, beside eager fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.engines.eager import TorchEngine

if TYPE_CHECKING:
    import torch

    from detector.folder import ScorerFolder


class HalfTorchEngine(TorchEngine):
    """Eager, weights and activations in fp16 (or `dtype`), pictures in and tokens out as every engine has them."""

    precision = "fp16"

    def __init__(self, folder: ScorerFolder, *, device: str = "cuda", dtype: torch.dtype | None = None) -> None:
        import torch

        super().__init__(folder, device=device)
        wanted = dtype or torch.float16
        model = self._open().to(wanted)
        for layer in model.modules():
            # The towers turn pixels into float32 before their first convolution.
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_pre_hook(lambda layer, given: _cast(given, wanted))
        self.name = f"torch {str(wanted).removeprefix('torch.')} ({device.upper()})"


def _cast(given: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return tuple(one.to(dtype) for one in given)
