"""The scorer's engines against torch eager: same weights, same pictures, same process, one thread each.

Two models: the bundled scorer with its own weights, and the shape of the released SigLIP 2 B/16-256 with random ones (a
figure of speed; its text tower is left small, it runs once per rule). CPU figures are CPU time per picture, taken in
turns, medians; compare ratios, not milliseconds. On a GPU TensorRT has two peers, torch eager in fp32 and in fp16, and
beside them a large square matrix product in fp16, whose rate is what the card reaches. What 8 bits cost is told as the
recall of events: the bundled scorer, its shipped thresholds, through Scorer and Gate, on scenes that no training saw,
fp32 and int8 on the same frames.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from detector.folder import ScorerFolder


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each engine at batch 1 (default 9)")
    parser.add_argument("--scenes", type=int, default=24, help="scenes for the recall, 0: none (default 24)")
    parser.add_argument("--bundled-only", action="store_true", help="leave the released shape out")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import os

    import torch

    from bench.detector.figures import Figures
    from bench.detector.models import bundled_folder, released_folder
    from bench.detector.recall import recall
    from bench.detector.speed import compare
    from bench.detector.targets import judged
    from bench.detector.watching import watching

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        bundled = bundled_folder(Path(place) / "bundled")
        makers: list[Callable[[], ScorerFolder]] = [lambda: bundled]
        if not options.bundled_only:
            makers.append(lambda: released_folder(Path(place) / "released"))
        speeds = tuple(compare(make(), options.rounds) for make in makers)
        lost = recall(bundled, options.scenes) if options.scenes else None
    figures = Figures(
        load=os.getloadavg()[0],
        targets=tuple(judged(speeds, lost)),
        models=speeds,
        recall=lost,
        watching=tuple(watching()),
    )
    return dict(msgspec.to_builtins(figures))


def lines(figures: dict[str, Any]) -> Iterable[str]:
    """The table that is printed without --json."""
    from bench.detector.figures import lines as table

    return table(figures)
