"""Settings of the coarse stage: the scorer, the gate, and the scorer's training."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from detector.rule import Category
from ingest.config import Positive

EngineKind = Literal["auto", "tensorrt", "onnx", "torch"]
Precision = Literal["auto", "fp32", "fp16", "int8", "fp8"]
Padding = Annotated[float, Meta(ge=0, le=30)]
Count = Annotated[int, Meta(ge=1)]


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[detector.gate]` table: how scores become spans. See `detector.gate.Gate` for the words."""

    close_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.6
    """An open span stays hot while the score is at least this share of the threshold."""
    alone_from_s: Padding = 1.5
    """A span opens with two key frames in a row at the threshold or above; a frame that no other follows within this
    time stands by itself. 0: every frame does, which gives a third more windows."""
    pad_before_s: Padding = 2.5
    pad_after_s: Padding = 1.5
    max_hot_s: Positive = 0.9
    """A span this long is flagged although it is still hot. Just under one second: with one key frame a second, jitter
    must not cost a third one. A second more (1.9) makes a fifth fewer windows, but each alert comes a second later,
    and of 32 on 60 simulated clips a quarter went to review instead of a seventh."""
    wait_s: Padding = 1.5
    """A span that went cool waits this long for a merge. Up to `pad_after_s` it costs no latency: the cut has to wait
    for the padding anyway."""
    min_span_s: Positive = 5.5
    """Shorter spans begin earlier."""
    max_span_s: Positive = 7.0
    """No span grows or merges beyond this, padding included."""

    def __post_init__(self) -> None:
        if self.min_span_s > self.max_span_s:
            raise ValueError(f"min_span_s {self.min_span_s} is longer than max_span_s {self.max_span_s}")
        if self.pad_before_s + self.pad_after_s > self.max_span_s:
            raise ValueError(
                f"pad_before_s + pad_after_s = {self.pad_before_s + self.pad_after_s} leave nothing of "
                f"max_span_s {self.max_span_s}"
            )


class DetectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[detector]` table."""

    model: str = "bundled"
    """`bundled`, or a folder written by `witness train scorer` or, for a SigLIP 2, by `witness models export`."""
    engine: EngineKind = "auto"
    """`auto` takes the first that runs here: tensorrt, onnx on CUDA, onnx on the CPU, torch."""
    precision: Precision = "auto"
    """What the image tower computes in. `auto` is fp32 on ONNX Runtime and torch, fp16 on TensorRT; int8 on ONNX
    Runtime needs the graph that `witness models export MODEL --precision int8` writes."""
    engines: str = ""
    """Folder of compiled TensorRT engines (`witness models compile`); empty: the user's cache folder."""
    max_batch: Annotated[int, Meta(ge=1, le=64)] = 16
    """Most pictures in one call of the engine; more are split."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads inside one operator of ONNX Runtime. One scales best on a CPU: cameras are the parallel axis."""
    gate: GateConfig = GateConfig()


class ScorerTrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training of the scorer on the synthetic scenes (`witness train scorer FILE`)."""

    seed: Annotated[int, Meta(ge=0, le=99)] = 0
    categories: Annotated[tuple[Category, ...], Meta(min_length=1)] = (
        "abandoned_object", "crowd", "fall", "fight", "fire_smoke", "intrusion", "loitering", "running", "tamper",
        "vehicle_wrong_way",
    )  # fmt: skip
    scenes: Annotated[int, Meta(ge=1, le=10_000)] = 400
    """Scenes to learn from."""
    held_out_scenes: Annotated[int, Meta(ge=2, le=10_000)] = 120
    """Scenes for calibration; the report uses as many others. No seed serves two purposes."""
    scene_s: Annotated[float, Meta(ge=10)] = 60.0
    key_interval_s: Positive = 1.0
    sparse_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Share of scenes looked at every second key frame only, for cameras with long GOPs."""
    width: Annotated[int, Meta(ge=32, multiple_of=32)] = 160
    depth: Count = 3
    text_width: Annotated[int, Meta(ge=32, multiple_of=32)] = 128
    text_depth: Count = 2
    dim: Count = 96
    """Length of the shared embedding."""
    vocabulary: Annotated[int, Meta(ge=300)] = 900
    steps: Count = 2400
    cycles: Annotated[int, Meta(ge=1, le=8)] = 2
    """Times that the learning rate falls. After the first only events and what resembles them are asked for."""
    batch: Count = 16
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.05
    start_from: str = ""
    """`bundled` or a model folder of the same sizes whose weights are taken over; empty: from nothing."""
    emphasis: dict[Category, Annotated[int, Meta(ge=1, le=10)]] = {}
    """How often a category's turn comes when examples are drawn; 1 for those left out."""
    budget_s: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds after which learning ends although `steps` are left (rendering not counted); 0: none. A budget that bites
    makes the result depend on the machine; without one it depends on the seed only."""
    checkpoint_s: Positive = 60.0
    mistaken_share: Annotated[float, Meta(ge=0, le=0.2)] = 0.0
    """Of each category's frames without an event, this share that `start_from` takes most for one is drawn as often as
    look-alikes are, and as often as all others. Nothing without `start_from`."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the image tower learns in. `auto` is bfloat16 where the processor multiplies it; some do so more slowly than
    float32: try both for a minute."""
    threads: Count = 1
    render_workers: Count = 1
    flag_cost: Annotated[float, Meta(ge=0, le=1)] = 0.006
    """Share of a category's events that one false flag per quiet minute is worth when its threshold is chosen. Small:
    the reasoner rejects a false window cheaply, and an event that is never flagged is lost."""
    cache: str = "runs/scorer-cache"
    """Folder of rendered inputs, used again while the settings that shape them are the same."""
