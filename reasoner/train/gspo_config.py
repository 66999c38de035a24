"""Configuration of reinforcement: `witness train gspo CONFIG` reads it from TOML."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reasoner.grade import RewardTable
from reasoner.train.config import Calibrate, Count, Positive, Render

Share = Annotated[float, Meta(gt=0, le=1)]


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train low-rank additions to the language model's projections alone; the vision tower stays as it is."""

    rank: Count = 16
    alpha: Count = 32


class GspoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Group Sequence Policy Optimization (arXiv 2507.18071) from a model folder, on the clips of `witness train sft`.

    One block: `batch` x `steps_per_generation` answers are drawn on each device, `generations` to a question, and
    learnt from in `num_iterations` passes. The optimizer steps once per `gradient_accumulation_steps` batches, so that
    every step of a block but the first meets answers of an older policy. With one step a block the ratio of new to old
    probabilities would always be 1 and its clipping would do nothing; such a configuration is refused.
    """

    model: Annotated[str, Meta(min_length=1)] = "bundled"
    """`bundled`, a folder, or a name on the Hugging Face hub."""
    clips: str = ""
    """Folder with `pictures.npy` and `clips.jsonl`, relative to the working directory; or, instead of it, `rows`."""
    rows: str = ""
    """File of training rows, STGR or flat, as `witness train sft` reads them."""
    validation: str = ""
    """File of rows to choose weights by and to report, with `rows`."""
    videos: str = ""
    """Folder that the paths of `rows` are counted from."""
    skip_bad_rows: bool = False
    true_share: Share = 0.7
    """Of the rows of `clips`, how many have something to point at. Every such group of answers pulls towards yes, every
    other towards no, whatever their points: too many of one kind cost precision or recall."""
    max_frames: Annotated[int, Meta(ge=1, le=256)] = 24
    """Most frames of a row of `rows`."""
    render: Render = Render()
    calibrate: Calibrate = Calibrate(windows=0)
    """Windows on which the confidence of the exported model is fitted; none: it stays uncalibrated."""
    reward: RewardTable = RewardTable()
    seed: int = 1
    threads: Count = 1
    """Of torch on a CPU."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """In which the weights are kept while they learn; small steps are lost in bfloat16 unless `lora` takes them."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the matrix products; the old and new probabilities must agree to less than epsilon."""
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False
    """Less memory for more time: activations are computed again on the way back."""
    min_frame_pixels: Annotated[int, Meta(ge=1024)] = 65_536
    max_frame_pixels: Annotated[int, Meta(ge=1024)] = 200_704
    """Pixel budget of a picture, as in `[reasoner]`; a model with a fixed input has its own."""
    vision: bool = True
    """Whether the vision tower learns too."""
    lora: Lora | None = None

    generations: Annotated[int, Meta(ge=2)] = 3
    """Answers to each question (G), compared with each other."""
    batch: Count = 3
    """Answers in one forward pass of a device."""
    gradient_accumulation_steps: Count = 8
    steps_per_generation: Count = 16
    num_iterations: Count = 1
    blocks: Count = 20
    learning_rate: Positive = 2e-5
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Meta(ge=0)] = 0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    clip_norm: Positive = 1.0
    epsilon: Positive = 3e-4
    epsilon_high: Positive = 4e-4
    """The ratio of a sequence, a mean over its tokens, is clipped to 1 - epsilon ... 1 + epsilon_high."""
    beta: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of the divergence from the model that training began with; 0 spares its copy."""
    temperature: Positive = 1.0
    top_p: Share = 1.0
    max_new_tokens: Count = 160

    validate_blocks: Count = 5
    """Blocks between two validations; kept are the best weights that gain, see `judge.Judged.gains`."""
    checkpoint_blocks: Count = 5
    validation_rows: Count = 96
    """Rows answered greedily at each validation, of the first half of the validation split."""
    evaluation_rows: Count = 200
    """Rows of the other half, answered by the model before and after through the serving code."""

    def __post_init__(self) -> None:
        if bool(self.clips) == bool(self.rows):
            raise ValueError("give either clips or rows")
        if self.rows and not (self.videos and self.validation):
            raise ValueError("rows needs videos, their folder, and validation, a file of rows that training never sees")
        drawn = self.batch * self.steps_per_generation
        if drawn % self.generations:
            raise ValueError(
                f"batch {self.batch} x steps_per_generation {self.steps_per_generation} = {drawn} answers do not make "
                f"whole groups of generations {self.generations}"
            )
        passes = self.steps_per_generation * self.num_iterations
        if passes % self.gradient_accumulation_steps:
            raise ValueError(
                f"steps_per_generation {self.steps_per_generation} x num_iterations {self.num_iterations} = {passes} "
                f"batches are no multiple of gradient_accumulation_steps {self.gradient_accumulation_steps}"
            )
        if self.updates_per_block < 2:
            raise ValueError(
                f"gradient_accumulation_steps {self.gradient_accumulation_steps} takes a whole block of {passes} "
                "batches, so that the ratio of new to old probabilities would always be 1; raise steps_per_generation "
                "or num_iterations"
            )
        if self.min_frame_pixels > self.max_frame_pixels:
            raise ValueError(
                f"min_frame_pixels {self.min_frame_pixels} exceeds max_frame_pixels {self.max_frame_pixels}"
            )

    @property
    def updates_per_block(self) -> int:
        """Optimizer steps for which one block of answers serves."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.blocks * self.updates_per_block
