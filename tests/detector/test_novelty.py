"""What is unusual is unusual for one camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.config import DetectorConfig
from detector.scorer import Scorer
from tests.detector.material import coarse, rule


def test_a_camera_that_changes_is_news_there_and_nowhere_else(small: DetectorConfig) -> None:
    rng = np.random.default_rng(2)
    still, other = (rng.integers(0, 256, (72, 128, 3), dtype=np.uint8) for _ in range(2))

    def run(last: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (cameras,): scores of the last frames, of which the first camera's is given."""
        scorer = Scorer.load(small, [rule()])
        try:
            for step in range(12):
                scorer.score([coarse(still, step, "a"), coarse(still, step, "b")])
            return scorer.score([coarse(last, 12, "a"), coarse(still, 12, "b")])[:, 0]
        finally:
            scorer.close()

    quiet, changed = run(still), run(other)
    assert quiet[0] == quiet[1], "both show the same"
    assert changed[1] == quiet[1], "b has seen nothing new"
    assert changed[0] > quiet[0] + 0.001
