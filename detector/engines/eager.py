"""PyTorch, eager: the reference that every other engine is compared with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detector.config import Precision
from detector.engines.check import check_ids, check_pictures
from detector.errors import EngineClosed, EngineMismatch, EngineUnavailable
from detector.folder import WEIGHTS, ScorerFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import PassedOver
    from detector.model import ScorerModel
    from detector.pair import PairModel
    from detector.vision import VisionModel

    Towers: TypeAlias = ScorerModel | PairModel | VisionModel

MAX_BATCH = 64


class TorchEngine:
    """Keeps the contract of `detector.engines.Engine`, on the CPU or, where there is one, the GPU.

    The number of threads stays as it is: torch has one for the whole process, and the reasoner uses it too.
    """

    max_batch = MAX_BATCH
    precision = "fp32"
    passed_over: tuple[PassedOver, ...] = ()

    def __init__(self, folder: ScorerFolder, *, device: str | None = None, precision: Precision = "auto") -> None:
        check_precision(precision)
        try:
            import torch
            from safetensors import SafetensorError
        except ImportError as error:
            raise EngineUnavailable(f'detector.engine "torch": {error}; install torch and safetensors') from None
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.name = f"torch ({self.device.upper()})"
        self.sha256 = folder.record.sha256[WEIGHTS]
        self._shape = folder.record.shape
        try:
            model = _towers(folder)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EngineMismatch(
                f"{folder.file(WEIGHTS)} does not fit scorer.json ({reason}); train it again"
            ) from None
        width, height = self._shape.picture_size
        with self._on_device():
            self._model: Towers | None = model.to(self.device)
        self.image(np.zeros((1, height, width, self._shape.channels), np.uint8))

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        model = self._open()
        check_pictures(pictures, self._shape, self.max_batch)
        with self._on_device(), torch.inference_mode(), full_products(self.device):
            tokens = model.image(torch.tensor(pictures, device=self.device)).cpu()
        return np.array(tokens.numpy(), np.float32)

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        import torch

        model: Any = self._open()  # one without text tower takes no ids
        check_ids(ids, self._shape)
        with self._on_device(), torch.inference_mode(), full_products(self.device):
            texts = model.text(torch.tensor(ids, device=self.device)).cpu()
        return np.array(texts.numpy(), np.float32)

    def close(self) -> None:
        self._model = None

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """What torch raises of a GPU (no room, lost) becomes EngineUnavailable; on the CPU it is a fault of ours."""
        try:
            yield
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            raise EngineUnavailable(
                f"{self.name} failed ({' '.join(str(error).split())[:200]}); see nvidia-smi"
            ) from error

    def _open(self) -> Towers:
        if self._model is None:
            raise EngineClosed(f"{self.name} is closed")
        return self._model


def check_precision(precision: Precision) -> None:
    """Raises EngineUnavailable for what torch does not compute in."""
    if precision not in ("auto", "fp32"):
        raise EngineUnavailable(f'detector.precision "{precision}": torch runs "fp32" here; set it or "auto"')


_SWITCHES = threading.Lock()


@contextmanager
def full_products(device: str) -> Iterator[None]:
    """Convolutions and products of 24-bit mantissas, as fp32 promises: on a GPU torch's convolutions take TF32 unless
    told otherwise. The switches are the process's, so they are set back, and by one thread at a time."""
    if device == "cpu":
        yield
        return
    import torch

    cudnn = torch.backends.cudnn
    with _SWITCHES:
        products = torch.get_float32_matmul_precision()
        with cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(products)


def _towers(folder: ScorerFolder) -> Towers:
    """The classes that the folder's weights belong to, ready to run."""
    if not folder.record.shape.has_text:
        from detector import vision

        return vision.load_weights(folder)
    if folder.record.architecture:
        from detector import pair

        return pair.load_weights(folder)
    from detector import model

    return model.load_weights(folder.record.shape, folder.file(WEIGHTS))
