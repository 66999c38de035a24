"""How far an engine may be from the fp32 graph on the CPU, in one place, and the check at each start.

The measure is the distance of two token vectors of unit length: by the Cauchy-Schwarz inequality no cosine with any
text changes by more, whatever the rules say.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from detector.errors import EngineMismatch
from detector.folder import ScorerFolder, Shape
from detector.precision import GraphPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detector.engines import Engine

log = logging.getLogger(__name__)

TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-4, "fp16": 4e-3, "fp8": 0.1, "int8": 0.3}
"""Largest distance allowed. The 8-bit ones are wide because the probe is not one of the pictures that the ranges were
calibrated on; what they cost in recall is measured on scenes, not here."""
GRAIN_PX = 16


def probe(shape: Shape) -> NDArray[np.uint8]:
    """One deterministic picture uint8 (1, H, W, channels): soft blotches, and planes of change mostly still."""
    import cv2

    width, height = shape.picture_size
    rng = np.random.default_rng(20)
    size = (max(height // GRAIN_PX, 1), max(width // GRAIN_PX, 1))
    planes = [rng.integers(0, 256, size).astype(np.float32) for _ in range(min(shape.channels, 3))]
    planes += [
        rng.integers(0, 256, size).astype(np.float32) * (rng.random(size) < 0.1) for _ in range(shape.channels - 3)
    ]
    large = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in planes]
    return np.asarray(np.stack(large, axis=-1)[None], np.uint8)


def distance(tokens: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Largest distance of two token vectors; infinite when there is no number."""
    worst = float(np.linalg.norm(tokens.astype(np.float64) - reference, axis=-1).max())
    return worst if np.isfinite(worst) else float("inf")


def check(engine: Engine, folder: ScorerFolder, precision: GraphPrecision) -> None:
    """Runs the probe here and on the CPU. Raises EngineMismatch when they are further apart than the tolerance."""
    from detector.engines.ort import OnnxEngine

    picture = probe(folder.record.shape)
    cpu = OnnxEngine(folder, device="cpu", precision="fp32")
    try:
        found = distance(engine.image(picture), cpu.image(picture))
    finally:
        cpu.close()
    allowed = TOLERANCE[precision]
    if found > allowed:
        raise EngineMismatch(
            f"{engine.name} is {found:.1e} from the CPU's tokens, more than the {allowed:.0e} of {precision}; "
            "compile it again, or set detector.precision to a wider one or detector.engine to another"
        )
    log.info("%s: %.1e from the CPU's tokens (%s, at most %.0e)", engine.name, found, precision, allowed)
