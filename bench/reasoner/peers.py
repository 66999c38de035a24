"""What stands beside our own: transformers' video processor and, where it is installed, vLLM."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.reasoner.trial import NotHere
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from bench.windows import Ask, Subject


class Questions(NamedTuple):
    """Windows as vLLM takes them, made while our model is there, for the two do not share a card."""

    model: str
    limit: int
    """Tokens of an answer."""
    images: int
    """Most of one window."""
    given: list[dict[str, Any]]


def preprocessing() -> float:
    """Raises NotHere without transformers' own."""
    from bench import processor

    figures = processor.run(argparse.Namespace(frames=20, side=448, rounds=5))
    if "ratio" not in figures:
        raise NotHere(str(figures["transformers"]).removeprefix("not run: "))
    return float(figures["ratio"])


def questions(model: Subject, asks: Sequence[Ask]) -> Questions:
    """Raises NotHere: random weights lie in no folder that vLLM could read, and a motion picture is no image to it."""
    if importlib.util.find_spec("vllm") is None:
        raise NotHere("not installed")
    if model.random or model.folder.notes is not None:
        raise NotHere("it needs a folder of a released checkpoint; give --model one")
    from PIL import Image

    render = model.load(SpeedConfig(plain=True)).processor.render
    given = [
        {"prompt": render(said), "multi_modal_data": {"image": [Image.fromarray(picture) for picture in shown]}}
        for said, shown in asks
    ]
    most = max(len(shown) for _, shown in asks)
    return Questions(str(model.folder.path), model.config.max_new_tokens, most, given)


def vllm(asked: Questions) -> float:
    """Windows/s, all given at once. Raises whatever vLLM does."""
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    engine = LLM(model=asked.model, limit_mm_per_prompt={"image": asked.images}, max_model_len=16384)
    limit = SamplingParams(temperature=0.0, max_tokens=asked.limit)
    engine.generate(asked.given[:1], limit)
    start = time.perf_counter()
    engine.generate(asked.given, limit)
    return len(asked.given) / (time.perf_counter() - start)
