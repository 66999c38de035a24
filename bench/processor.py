"""Pictures to tensors for Qwen3-VL: ours against transformers' video processor on the same window.

Twenty frames of 448x448, no resizing in either. Ours cuts uint8 patches and leaves their scaling to the device that
runs the model; what that scaling costs on this CPU is told beside. The two are timed in turns in one process with one
thread, by CPU time, and the largest difference of their float32 outputs is part of the result.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=20, help="frames of the window (default 20)")
    parser.add_argument("--side", type=int, default=448, help="side of a frame in px (default 448)")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds of each (default 15)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    from reasoner.pixels import PatchSpec, cut_patches, patchify

    frames = np.random.default_rng(0).integers(0, 256, (options.frames, options.side, options.side, 3), np.uint8)
    spec = PatchSpec(patch_px=16, temporal=2, merge=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    groups = frames.reshape(-1, 2, *frames.shape[1:])

    def ours() -> Any:
        return cut_patches(groups, spec)

    def scaled() -> Any:
        return patchify(groups, spec)

    figures: dict[str, Any] = {"frames": options.frames, "side_px": options.side, "target_ratio": 10.0}
    try:
        theirs = _transformers(frames)
    except ImportError as error:
        ours_ms = _median_ms(ours, options.rounds)
        return figures | {"ours_ms": ours_ms, "transformers": f"not run: {' '.join(str(error).split())[:120]}"}
    difference = float((scaled() - theirs()).abs().max())
    own, own_scaled, peer = [], [], []
    for _ in range(options.rounds):
        own.append(_median_ms(ours, 1))
        own_scaled.append(_median_ms(scaled, 1))
        peer.append(_median_ms(theirs, 1))
    return figures | {
        "ours_ms": statistics.median(own),
        "ours_scaled_here_ms": statistics.median(own_scaled),
        "transformers_ms": statistics.median(peer),
        "ratio": statistics.median(peer) / statistics.median(own),
        "ratio_scaled_here": statistics.median(peer) / statistics.median(own_scaled),
        "max_difference": difference,
    }


def _transformers(frames: np.ndarray[Any, Any]) -> Callable[[], Any]:
    import torch
    from transformers import Qwen3VLVideoProcessor

    processor: Any = Qwen3VLVideoProcessor(
        size={"shortest_edge": 4096, "longest_edge": 25_165_824}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    metadata = [{"fps": 2.0, "total_num_frames": len(frames), "frames_indices": list(range(len(frames)))}]

    def call() -> Any:
        out = processor(videos=[video], video_metadata=metadata, do_sample_frames=False, return_tensors="pt")
        return out["pixel_values_videos"]

    return call


def _median_ms(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append((time.process_time() - start) * 1000)
    return statistics.median(times)
