"""What stands beside our own: transformers' video processor and, where it is installed, vLLM."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject


def preprocessing() -> float | None:
    from bench import processor

    found = processor.run(argparse.Namespace(frames=20, side=448, rounds=5)).get("ratio")
    return None if found is None else float(found)


def vllm(model: Subject, asks: Sequence[Ask]) -> str:
    """Random weights lie in no folder that vLLM could read, and the bundled model's pictures are pairs."""
    if importlib.util.find_spec("vllm") is None:
        return "not run: not installed"
    if model.random is not None or model.name == "bundled":
        return "not run: it needs a folder of a released checkpoint; give --model one"
    import time

    from PIL import Image
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    backend = model.load(SpeedConfig(plain=True))
    engine = LLM(model=model.config.model, limit_mm_per_prompt={"image": len(asks[0][1])}, max_model_len=16384)
    questions = [
        {"prompt": backend.processor.render(said), "multi_modal_data": {"image": [Image.fromarray(p) for p in shown]}}
        for said, shown in asks
    ]
    limit = SamplingParams(temperature=0.0, max_tokens=model.config.max_new_tokens)
    engine.generate(questions[:1], limit)
    start = time.perf_counter()
    engine.generate(questions, limit)
    return f"{len(asks) / (time.perf_counter() - start):.3f} windows/s, all given at once"
