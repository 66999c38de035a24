"""Models and windows of the reasoner's benchmark: bundled, a real folder, or random weights of a true shape."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasoner.backends.local import LocalBackend
from reasoner.config import ReasonerConfig
from reasoner.prompt import Message, messages
from reasoner.speed import SpeedConfig

if TYPE_CHECKING:
    from reasoner.folder import ModelFolder
    from reasoner.processor import Processor

Dtype = Literal["float32", "bfloat16", "float16"]
Ask = tuple[list[Message], Sequence[NDArray[np.uint8]]]

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-vl-2b": {"layers": 28, "hidden": 2048, "mlp": 6144, "heads": 16, "tied": True},
    "qwen3-vl-4b": {"layers": 36, "hidden": 2560, "mlp": 9728, "heads": 32, "tied": True},
    "qwen3-vl-8b": {"layers": 36, "hidden": 4096, "mlp": 12288, "heads": 32, "tied": False},
}
"""As the released config.json files have them."""
QUESTIONS = ("Does somebody fall to the ground?", "Is somebody running?")
SIDE = 448
"""Width and height of a frame for a model without an input size of its own, px."""


class Subject(NamedTuple):
    """One model in memory, to be run in several ways."""

    name: str
    config: ReasonerConfig
    model: Any
    folder: ModelFolder
    processor: Processor
    random: bool
    """Whether the weights mean nothing."""

    def load(self, speed: SpeedConfig, *, early_exit: bool = False) -> LocalBackend:
        """A backend of its own on the same weights, so that two ways can be timed in turns and one costs no more memory
        than what it allocates itself."""
        config = msgspec.structs.replace(self.config, speed=speed, early_exit=early_exit)
        return LocalBackend(_apart(self.model), self.processor, self.folder, config)


def subject(name: str, device: str, dtype: Dtype, new_tokens: int) -> Subject:
    """`bundled`, a shape of SHAPES, a folder or a pulled name. Raises as `LocalBackend.load` does."""
    from reasoner.checkpoint import load_model, locate
    from reasoner.folder import BUNDLED, ModelFolder, open_folder
    from reasoner.processor import Processor

    config = ReasonerConfig(
        model="bundled" if name in SHAPES else name, device=device, dtype=dtype, max_new_tokens=new_tokens,
        threads=1 if device == "cpu" else 0,
    )  # fmt: skip
    if name not in SHAPES:
        folder = open_folder(locate(config.model))
        processor = Processor.load(folder, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels)
        return Subject(name, config, load_model(folder, config), folder, processor, False)
    from reasoner.family import FAMILIES
    from reasoner.pixels import PatchSpec

    model = _random(SHAPES[name], device, dtype)
    made = ModelFolder(
        path=BUNDLED, family=FAMILIES["qwen3_vl"], config=model.config.to_dict(), notes=None, weights=()
    )  # fmt: skip
    words = Processor.load(BUNDLED)
    return Subject(name, config, model, made, Processor(words.tokenizer, PatchSpec(), template=words.template), True)


def _apart(model: Any) -> Any:
    """The same weights under objects of its own, down to the vision tower, whose first layer a switch replaces."""
    made, inner, tower = (_shallow(each) for each in (model, model.model, model.model.visual))
    made.model, inner.visual = inner, tower
    return made


def _shallow(module: Any) -> Any:
    made = copy.copy(module)
    made._modules = dict(module._modules)
    return made


def _random(shape: dict[str, Any], device: str, dtype: str) -> Any:
    import torch
    import transformers

    from reasoner.folder import BUNDLED
    from reasoner.processor import Processor

    words = Processor.load(BUNDLED)
    large = shape["layers"] == 36 and shape["hidden"] == 4096
    text = {
        "vocab_size": 151936, "hidden_size": shape["hidden"], "intermediate_size": shape["mlp"], "head_dim": 128,
        "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"], "num_key_value_heads": 8,
        "max_position_embeddings": 262144, "tie_word_embeddings": shape["tied"],
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True,
        },
    }  # fmt: skip
    vision = {
        "depth": 27 if large else 24, "hidden_size": 1152 if large else 1024, "num_heads": 16, "patch_size": 16,
        "intermediate_size": 4304 if large else 4096, "out_hidden_size": shape["hidden"],
        "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24] if large else [5, 11, 17],
    }  # fmt: skip
    made: Any = transformers
    ids = {
        "image_token_id": words.image_id,
        "video_token_id": words.video_id,
        "vision_start_token_id": words.tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": words.tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    config = made.Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=shape["tied"], attn_implementation="sdpa", **ids
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            return made.Qwen3VLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def staged(backend: LocalBackend, count: int) -> list[Ask]:
    """Windows of different unseen scenes, events and look-alikes in turn, for a model with motion pictures."""
    from detector.rule import Rule
    from detector.staged import stage_window
    from ingest.simulator.episode import EVENTS, LOOKALIKES
    from ingest.simulator.world import Scene
    from reasoner.pictures import look
    from reasoner.reason import Reasoner

    reasoner = Reasoner(backend, ReasonerConfig())
    asks: list[Ask] = []
    for number in range(count):
        category = sorted(EVENTS)[number // 2 % len(EVENTS)]
        kind = category if number % 2 else LOOKALIKES[category][number // 2 % 2].__name__
        scene = Scene(8_300_000 + number, 40.0, kinds=["nothing", kind])
        truth = (scene.events + scene.lookalikes)[0]
        window = stage_window(scene, max(0.0, truth.evident_s - 2.5), 6.0, category)
        rule = Rule(id=category, category=category, watch=category, question="?")  # type: ignore[arg-type]
        seen = look(window, reasoner.target())
        asks.append((reasoner.prompt(seen, reasoner.question(rule), "en", ""), seen.pictures))
    return asks


def at_once(callers: int) -> list[int]:
    """Numbers of windows to warm up with before `callers` of them are timed together, the largest first.

    As windows end, fewer are written together; with graphs a step is captured for each power of two
    (`reasoner.backends.graphs`), and again when the keys' buffers grow, which the largest number sees to at once.
    """
    return [callers, *(1 << power for power in reversed(range((callers - 1).bit_length())))]


def drawn(backend: LocalBackend, pictures: int, seed: int, question: str = QUESTIONS[0], *, first: int = 0) -> Ask:
    """A window of random pictures in the model's own layout, from the `first` of a camera that `seed` names."""
    notes = backend.notes
    motion = notes is not None and notes.pairing == "motion"
    width, height = notes.input_size if notes is not None and notes.input_size else (SIDE, SIDE)
    rng = np.random.default_rng(seed)
    shape = (*((2,) if motion else ()), height, width, 3)
    shown = [rng.integers(0, 256, shape, np.uint8) for _ in range(first + pictures)][first:]
    times = [(1.0 if motion else 0.5) * k for k in range(pictures)]
    return messages(question, times, style="brief" if notes else "full"), shown
