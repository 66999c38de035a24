"""An engine whose device is lost after so many calls: the only thing that a test cannot ask of a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.engines import Engine
from detector.errors import EngineUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.engines import PassedOver

NEVER = 1_000_000


class BreakingEngine:
    """A real engine until `calls` batches are done; from then on each fails, until `mended`."""

    def __init__(self, engine: Engine, calls: int = NEVER, name: str = "") -> None:
        self._engine = engine
        self._left = calls
        self.name = name or engine.name
        self.precision, self.sha256, self.max_batch = engine.precision, engine.sha256, engine.max_batch
        self.passed_over: tuple[PassedOver, ...] = engine.passed_over
        self.failed, self.closed = 0, False

    def image(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._left <= 0:
            self.failed += 1
            raise EngineUnavailable(f"{self.name} failed (the device is lost); see nvidia-smi")
        tokens = self._engine.image(pictures)
        self._left -= 1
        return tokens

    def text(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._engine.text(ids)

    def close(self) -> None:
        self.closed = True
        self._engine.close()

    def mended(self) -> None:
        self._left = NEVER
