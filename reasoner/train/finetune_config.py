"""Configuration of supervised training of a released checkpoint: a `witness train sft CONFIG` that names `rows`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reasoner.train.config import Count, Positive

Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(min_length=1)]


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[lora]` table: low-rank adapters on the language model's linear layers; everything else stays as it is."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.05


class FinetuneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defaults are the published ones of Open-o3 Video: learning rate 2e-5, batch 32, 10 epochs, 0.6 and 0.4.

    The loss of a batch is `text_share` times the mean over all tokens of its targets plus the rest times the mean over
    those inside `<box>` and `<t>`; however the batch is split over steps and devices.
    """

    model: Text
    """A name on the Hugging Face hub, or a folder in the released layout."""
    rows: Text
    """File of training rows, STGR or flat, relative to the working directory."""
    videos: Text
    """Folder that the rows' paths are counted from."""
    validation: str = ""
    """File of rows that are only measured, once an epoch; empty: none."""
    skip_bad_rows: bool = False
    """Leave rows with mistakes out, up to half of them, name each in the log and say how many, instead of stopping at
    the first look. A video that cannot be decoded is a mistake too."""
    seed: int = 1
    epochs: Positive = 10.0
    steps: Count | None = None
    """Ends the training after so many optimizer steps, whatever the epochs."""
    learning_rate: Positive = 2e-5
    batch: Count = 32
    """Rows of one optimizer step, over all devices."""
    device_batch: Count = 1
    """Rows that one device holds at a time; what is missing to `batch` is accumulated."""
    text_share: Share = 0.6
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    warmup_share: Annotated[float, Meta(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises; a cosine follows."""
    clip_norm: Positive = 1.0
    train_vision: bool = True
    """Whether the vision tower learns too; with `[lora]` it never does."""
    lora: Lora | None = None
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic; `auto`: bfloat16 on a GPU. Weights that learn are float32 either way."""
    checkpointing: bool = True
    """Recompute activations in the backward pass: half the speed lost, most of the memory saved."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    max_frames: Annotated[int, Meta(ge=1, le=256)] = 24
    """Most frames of a row, as `[reasoner] max_frames`."""
    step_s: Positive = 0.5
    min_frame_pixels: Annotated[int, Meta(ge=1024)] = 65_536
    max_frame_pixels: Annotated[int, Meta(ge=1024)] = 200_704
    cited_frames: bool = True
    """Show the frames that a row cites; they replace their neighbours, so that there are none too many."""
    jitter: Share = 0.5
    """Move the other frames by up to this share of half their spacing, so that a cited frame does not stand out."""
    view: Literal["whole", "changed"] = "whole"
    """`changed`: show the region in which something moves, as the serving side does."""
    save_steps: Count = 100
    keep_checkpoints: Count = 2
    log_steps: Count = 1
    workers: Annotated[int, Meta(ge=0, le=64)] = 2
    """Processes per device that decode videos ahead; 0: none."""
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads of torch in each process; 0 leaves torch's own choice."""

    def __post_init__(self) -> None:
        if self.min_frame_pixels > self.max_frame_pixels:
            raise ValueError(
                f"min_frame_pixels {self.min_frame_pixels} exceeds max_frame_pixels {self.max_frame_pixels}"
            )
        if self.batch % self.device_batch:
            raise ValueError(f"batch {self.batch} is no multiple of device_batch {self.device_batch}")
