"""What is unusual is unusual for one camera."""

from __future__ import annotations

import numpy as np

from detector.config import DetectorConfig
from detector.scorer import Scorer
from tests.detector.material import coarse, rule


def test_what_is_usual_is_known_of_each_camera_alone(small: DetectorConfig) -> None:
    """Camera b begins after a has settled: nothing is unusual there yet, however much it differs from a."""
    rng = np.random.default_rng(2)
    ours, theirs = (rng.integers(0, 256, (72, 128, 3), dtype=np.uint8) for _ in range(2))

    def first_of_b(frames_of_a: int) -> float:
        scorer = Scorer.load(small, [rule()])
        try:
            for step in range(frames_of_a):
                scorer.score([coarse(ours, step, "a")])
            return float(scorer.score([coarse(theirs, 12, "b")])[0, 0])
        finally:
            scorer.close()

    assert first_of_b(12) == first_of_b(0)
