"""Windows of labelled scenes, cut as the live line would cut them: for calibration, accuracy figures and tests.

No camera, no network: the frames come straight from the scene, compressed like a camera's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.window import Span, Window, window_id
from ingest.clock import Stamp
from ingest.frame import Cut, FineFrame
from ingest.simulator.world import Scene

EPOCH_NS = 1_700_000_000_000_000_000
"""UTC of a staged scene's time 0."""


def stage_window(
    scene: Scene,
    start_s: float,
    length_s: float,
    rule_id: str,
    *,
    fps: float = 10.0,
    quality: int = 60,
    step_s: float = 0.5,
    peak_s: float | None = None,
    score: float = 0.9,
    sure_from: float | None = None,
) -> Window:
    """The span from `start_s` on, fine frames each `step_s` on the camera's frame grid, and its background.

    quality: JPEG quality that stands for the camera's own encoder; peak_s, score: when the scorer was surest, and how
    sure (the middle when not told); sure_from: see `Span`.
    """
    count = int(length_s / step_s + 1e-6) + 1
    ticks = [round((start_s + step_s * k) * fps) for k in range(count)]
    frames = tuple(_fine(scene, tick, fps, quality) for tick in ticks)
    earlier = np.arange(start_s - 0.5, 0.1, -3.0)[:11].tolist()
    background = b""
    if len(earlier) >= 3:
        still = np.median(np.stack([scene.frame(t) for t in earlier]), axis=0).astype(np.uint8)
        background = _jpeg(still, 95)
    start_ns, end_ns = frames[0].stamp.utc_ns, frames[-1].stamp.utc_ns
    camera_id = f"scene-{scene.seed}"
    peak_ns = (start_ns + end_ns) // 2 if peak_s is None else EPOCH_NS + round(peak_s * 1e9)
    span = Span(
        window_id=window_id(camera_id, rule_id, start_ns, end_ns),
        camera_id=camera_id,
        rule_id=rule_id,
        epoch=0,
        start_utc_ns=start_ns,
        end_utc_ns=end_ns,
        first_hot_utc_ns=peak_ns,
        peak_utc_ns=peak_ns,
        score=score,
        scores=((peak_ns, score),),
        flagged_utc_ns=end_ns,
        sure_from=sure_from,
    )
    cut = Cut(camera_id=camera_id, epoch=0, source_size=scene.size, frames=frames, clip=None, expected=count)
    return Window(span=span, cut=cut, background=background)


def _fine(scene: Scene, tick: int, fps: float, quality: int) -> FineFrame:
    t = tick / fps
    camera = cv2.imdecode(np.frombuffer(_jpeg(scene.frame(t), quality), np.uint8), cv2.IMREAD_COLOR)
    stamp = Stamp(
        pts=round(t * 90_000),
        time_base=(1, 90_000),
        utc_ns=EPOCH_NS + round(t * 1e9),
        source="file",
        uncertainty_ms=0.0,
    )
    return FineFrame(stamp=stamp, jpeg=_jpeg(cv2.cvtColor(camera, cv2.COLOR_BGR2RGB), 90), size=scene.size)


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} could not be encoded")
    return bytes(data)
