"""What the detector's tests are made of: coarse frames, pictures and rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.folder import Shape
from detector.rule import Rule
from ingest.clock import Stamp
from ingest.frame import CoarseFrame

CATEGORIES = ("abandoned_object", "fall", "fight", "running")
BASE_NS = 1_700_000_000_000_000_000


def coarse(rgb: NDArray[np.uint8], t_s: float, camera_id: str = "cam", epoch: int = 0) -> CoarseFrame:
    """A coarse frame of this picture, `t_s` seconds after some instant."""
    utc_ns = BASE_NS + round(t_s * 1e9)
    stamp = Stamp(pts=round(t_s * 90_000), time_base=(1, 90_000), utc_ns=utc_ns, source="arrival", uncertainty_ms=5.0)
    size = (rgb.shape[1], rgb.shape[0])
    return CoarseFrame(
        camera_id=camera_id, epoch=epoch, stamp=stamp, source_size=(1280, 720), size=size, rgb=rgb.tobytes()
    )


def noise(count: int, shape: Shape) -> list[NDArray[np.uint8]]:
    """Pictures uint8 (H, W, channels) to calibrate on: flat ones with grain."""
    width, height = shape.picture_size
    rng = np.random.default_rng(4)
    flat = rng.integers(0, 256, (count, 1, 1, shape.channels), dtype=np.uint8)
    return list(np.clip(flat + rng.integers(-20, 20, (count, height, width, shape.channels)), 0, 255).astype(np.uint8))


def rule(category: str = "fall", **more: object) -> Rule:
    fields = {"id": f"rule-{category}", "category": category, "watch": "somebody lies on the floor", "question": "?"}
    return Rule(**{**fields, **more})  # type: ignore[arg-type]
