"""What watching costs a GPU, by calculation."""

from __future__ import annotations

from collections.abc import Iterator

from bench.detector.figures import Watching
from bench.detector.models import released_shape

SHARE = 0.01
CAMERAS = 100


def watching() -> Iterator[Watching]:
    """The calculation for both shapes, at usual distances of key frames."""
    from detector.cost import RTX_4090_FP16_FLOPS, gpu_share, tower_flops
    from detector.folder import read_folder

    shapes = {"bundled": read_folder("bundled").record.shape, "SigLIP 2 B-16-256": released_shape()}
    for name, shape in shapes.items():
        for precision, faster in (("fp16", 1.0), ("fp8", 2.0)):
            for interval_s in (1.0, 2.0, 5.0):
                share = gpu_share(CAMERAS, interval_s, tower_flops(shape), peak_flops=faster * RTX_4090_FP16_FLOPS)
                yield Watching(
                    model=name,
                    interval_s=interval_s,
                    precision=precision,
                    share=share,
                    share_target=SHARE,
                    verdict="met" if share <= SHARE else "missed",
                )
