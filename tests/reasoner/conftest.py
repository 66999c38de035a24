"""Tiny checkpoints in the released layout, and windows with real JPEG frames of a figure that crosses a scene."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector.rule import Rule
from detector.window import Span, Window
from ingest.clock import Stamp
from ingest.frame import Cut, FineFrame

# Before torch is loaded: on busy cores its threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>"]  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The shape of Qwen3-VL's own template: content parts in order, an image as start, pad, end."""
FIRST_UTC_NS = 1_763_000_000_000_000_000


def tokenizer() -> Any:
    """Byte-level BPE with the 256-byte alphabet, a few merges, and Qwen's control tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    text = ["Frame 1 at 0.5s: think answer obj box at", "The video is in total 8 seconds. Does somebody fall?"]
    core.train_from_iterator(
        text * 4, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    made: Any = PreTrainedTokenizerFast
    return made(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=SPECIAL[1:]
    )


def _ids(words: Any) -> dict[str, int]:
    return {
        "image_token_id": words.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": words.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": words.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": words.convert_tokens_to_ids("<|vision_end|>"),
    }


def save_tiny(folder: Path, family: str = "qwen3_vl") -> Path:
    """A randomly initialised model of the real class, saved by save_pretrained in several shards."""
    import torch
    import transformers

    torch.manual_seed(0)
    words = tokenizer()
    made: Any = transformers
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5]}
    text: dict[str, Any] = {
        "vocab_size": len(words), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
        "rope_parameters": rope,
    }  # fmt: skip
    if family == "qwen3_vl":
        text["head_dim"] = 32
        rope["mrope_interleaved"] = True
        vision: dict[str, Any] = {
            "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 16,
            "out_hidden_size": 64, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2],
        }  # fmt: skip
        config = made.Qwen3VLConfig(text_config=text, vision_config=vision, **_ids(words))
        model = made.Qwen3VLForConditionalGeneration(config)
    elif family == "qwen3_5":
        rope |= {"mrope_interleaved": True, "partial_rotary_factor": 0.5, "mrope_section": [3, 3, 2]}
        text |= {
            "head_dim": 32, "num_hidden_layers": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
            "linear_num_key_heads": 2, "linear_num_value_heads": 4, "full_attention_interval": 2,
        }  # fmt: skip
        vision = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 16,
            "out_hidden_size": 64, "num_position_embeddings": 64,
        }  # fmt: skip
        config = made.Qwen3_5Config(text_config=text, vision_config=vision, **_ids(words))
        model = made.Qwen3_5ForConditionalGeneration(config)
    else:
        vision = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 14,
            "out_hidden_size": 64, "fullatt_block_indexes": [1], "window_size": 56,
        }  # fmt: skip
        config = made.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_ids(words))
        model = made.Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [words.convert_tokens_to_ids("<|im_end|>")]
    # The released files sample; an audit must not.
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.7
    model.save_pretrained(folder, max_shard_size="200KB")
    words.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    side = 14 if family == "qwen2_5_vl" else 16
    mean = [0.5] * 3 if family != "qwen2_5_vl" else [0.48145466, 0.4578275, 0.40821073]
    std = [0.5] * 3 if family != "qwen2_5_vl" else [0.26862954, 0.26130258, 0.27577711]
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Qwen2VLImageProcessor", "patch_size": side, "temporal_patch_size": 2,
                "merge_size": 2, "image_mean": mean, "image_std": std,
                "size": {"shortest_edge": 65536, "longest_edge": 16777216},
            }
        )
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("qwen3-vl-tiny"))


@pytest.fixture(scope="session")
def tiny_pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("qwen2.5-vl-tiny"), "qwen2_5_vl")


def scene(width: int = 320, height: int = 180, seed: int = 3) -> NDArray[np.uint8]:
    """A static background with texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (height // 20, width // 20, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def with_figure(picture: NDArray[np.uint8], x: int, y: int, size: tuple[int, int] = (24, 56)) -> NDArray[np.uint8]:
    """A copy with a bright figure whose top left corner is at x, y."""
    copy = picture.copy()
    copy[y : y + size[1], x : x + size[0]] = (250, 240, 20)
    return copy


def jpeg(picture: NDArray[np.uint8], quality: int = 90) -> bytes:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())


def window_of(
    pictures: Sequence[NDArray[np.uint8]], times_s: Sequence[float], background: NDArray[np.uint8] | None
) -> Window:
    """A window of one camera whose fine frames lie at these seconds."""
    size = (pictures[0].shape[1], pictures[0].shape[0])

    def stamp(t: float) -> Stamp:
        return Stamp(
            pts=round(t * 90_000), time_base=(1, 90_000), utc_ns=FIRST_UTC_NS + round(t * 1e9), source="rtcp_sr",
            uncertainty_ms=2.0,
        )  # fmt: skip

    frames = tuple(
        FineFrame(stamp=stamp(t), jpeg=jpeg(picture), size=size) for t, picture in zip(times_s, pictures, strict=True)
    )
    end = FIRST_UTC_NS + round(times_s[-1] * 1e9) + 1
    span = Span(
        window_id="w" * 32, camera_id="gate-1", rule_id="falls", epoch=0, start_utc_ns=FIRST_UTC_NS, end_utc_ns=end,
        first_hot_utc_ns=FIRST_UTC_NS + 10**9, peak_utc_ns=FIRST_UTC_NS + 2 * 10**9, score=0.8, scores=(),
        flagged_utc_ns=end,
    )  # fmt: skip
    cut = Cut(camera_id="gate-1", epoch=0, source_size=size, frames=frames, clip=None, expected=len(frames))
    return Window(span=span, cut=cut, background=b"" if background is None else jpeg(background))


@pytest.fixture
def crossing() -> Callable[..., Window]:
    """A figure walks from left to right; `times_s` may be uneven, `figure=False` leaves the scene empty."""

    def make(times_s: Sequence[float] | None = None, *, background: bool = True, figure: bool = True) -> Window:
        times = list(times_s) if times_s is not None else [0.5 * k for k in range(12)]
        still = scene()
        pictures = [with_figure(still, round(20 + 20 * t), 80) if figure else still for t in times]
        return window_of(pictures, times, still if background else None)

    return make


@pytest.fixture
def rule() -> Rule:
    return Rule(id="falls", category="fall", watch="a person on the floor", question="Does somebody fall?")
