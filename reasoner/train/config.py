"""Configuration of supervised training: `witness train sft CONFIG` reads it from TOML."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class ModelSize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the tiny Qwen3-VL; the defaults give about 8 million parameters, 16 MB in bfloat16."""

    vision_width: Count = 192
    vision_depth: Count = 4
    vision_mlp_width: Count = 768
    vision_heads: Count = 6
    deepstack: tuple[int, ...] = (2,)
    width: Count = 256
    layers: Count = 5
    heads: Count = 4
    mlp_width: Count = 768
    merges: Annotated[int, Meta(ge=0)] = 1200
    """Merged pairs of the byte-level tokenizer."""

    def __post_init__(self) -> None:
        if self.width != 64 * self.heads:
            raise ValueError(f"width {self.width} is not 64 for each of {self.heads} heads, as the rotary sections are")
        if self.vision_width % (4 * self.vision_heads):
            raise ValueError(
                f"vision_width {self.vision_width} is no multiple of 4 for each of {self.vision_heads} heads"
            )
        if any(not 0 <= layer < self.vision_depth for layer in self.deepstack) or len(self.deepstack) > self.layers:
            raise ValueError(f"deepstack {list(self.deepstack)} names no layers of {self.vision_depth}")


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage: it ends after `steps`, or after `minutes` of its own training time when `steps` is left out."""

    learning_rate: Positive
    batch: Count
    minutes: Positive = 10.0
    steps: Count | None = None
    """Fixes the number of steps; the learning rate then follows the steps, and the same settings, clips and threads
    give the same weights on the same machine, to the bit."""
    final_share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Where the cosine ends, as a share of the learning rate."""
    rise_share: Annotated[float, Meta(ge=0, lt=1)] = 0.03
    """Share of the stage in which the learning rate rises from zero."""
    vision_rate: Positive = 1.0
    """Learning rate of the vision tower as a share of the stage's."""


class Render(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clips to render where there are none yet. Scenes serve training or validation, never both."""

    rows: Count = 9600
    validation: Count = 600
    first_seed: Annotated[int, Meta(ge=0)] = 100_000
    flagged_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Share of scenes of which those windows are taken that the scorer and the gate flag. Of the others they are staged
    around the events."""
    closer_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of windows of which a row shows, besides, what the crop check would: who is cited, and little else."""
    scorer: str = "bundled"
    """`bundled`, or a folder of `witness train scorer`."""
    workers: Count = 2
    """Processes."""


class Calibrate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labelled windows on which the exported model's confidence is fitted; none: it stays uncalibrated."""

    windows: Annotated[int, Meta(ge=0)] = 400
    first_seed: Annotated[int, Meta(ge=0)] = 5_000_000
    """Scenes that serve neither training nor validation."""
    workers: Count = 2
    """Processes."""


class SftConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two stages: `warmup` teaches the vision tower where things are, `sft` teaches everything to answer.

    The text loss is `text_share` times the mean over the answer's tokens plus the rest times the mean over its
    coordinates and times.
    """

    clips: str
    """Folder with `pictures.npy` and `clips.jsonl`, relative to the working directory."""
    render: Render = Render()
    calibrate: Calibrate = Calibrate()
    seed: int = 1
    threads: Count = 1
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Arithmetic of the matrix products; weights and optimizer are float32 either way."""
    model: ModelSize = ModelSize()
    start_from: str = ""
    """`bundled`, or a model folder of the same sizes, whose weights are taken over; empty: from nothing."""
    warmup: Stage = Stage(learning_rate=1.2e-3, batch=24, minutes=12.0, final_share=0.08)
    sft: Stage = Stage(learning_rate=8e-4, batch=8, minutes=50.0, final_share=0.02, vision_rate=0.6)
    emphasis: dict[str, Positive] = {}
    """How much oftener than the others' rows those of a category are drawn: for what is hard to tell."""
    text_share: Annotated[float, Meta(ge=0, le=1)] = 0.6
    decision_weight: Positive = 4.0
    """Weight of the first word of the thinking, which decides between yes and no, against that of a plain token."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.03
    clip_norm: Positive = 1.0
    validate_steps: Count = 200
    """Steps between two validations, by which the weights to export are chosen; the end of a stage is one too."""
    checkpoint_minutes: Positive = 2.0
    """Longest time between two savings of where a stage stands; no weight depends on it."""
    validation_rows: Annotated[int, Meta(ge=0)] = 192
    """Rows of each validation, of the first half of the validation split."""
    evaluation_rows: Annotated[int, Meta(ge=0)] = 400
    """Rows answered by real generation after training, of the other half."""
