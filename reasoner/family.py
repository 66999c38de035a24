"""Families of checkpoints: what is fixed by a model's architecture and must never be guessed from its output."""

from typing import Literal

import msgspec

from reasoner.boxes import Coordinates


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What all checkpoints of one `model_type` share."""

    model_type: str
    architecture: str
    """Name of the class in transformers."""
    coordinates: Coordinates
    """What the numbers in `<box>` mean: 0..1000 of the picture, or pixels of the picture as resized for the model."""
    patch_px: int
    """Side of a vision patch."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Per-channel normalisation of pixels in 0..1."""
    video_times: Literal["text", "none"]
    """Whether a video's frame groups carry their time as text, `<1.0 seconds>`."""


HALF = (0.5, 0.5, 0.5)
FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            model_type="qwen3_vl",
            architecture="Qwen3VLForConditionalGeneration",
            coordinates="rel1000",
            patch_px=16,
            mean=HALF,
            std=HALF,
            video_times="text",
        ),
        Family(
            model_type="qwen3_5",
            architecture="Qwen3_5ForConditionalGeneration",
            coordinates="rel1000",
            patch_px=16,
            mean=HALF,
            std=HALF,
            video_times="text",
        ),
        Family(
            model_type="qwen2_5_vl",
            architecture="Qwen2_5_VLForConditionalGeneration",
            coordinates="pixels",
            patch_px=14,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            video_times="none",
        ),
    )
}
"""Sources: the released preprocessor_config.json of Qwen3-VL and Qwen2.5-VL; Qwen3.5 takes Qwen3-VL's processor
(transformers/models/auto/processing_auto.py)."""
