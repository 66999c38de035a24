"""Settings of the `[reasoner.speed]` table: how a local model is run. None of them changes the words of an answer."""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

Mebibytes = Annotated[int, Meta(ge=0, le=1 << 20)]


class Chosen(NamedTuple):
    """The switches of one run, none left open."""

    features_mib: int
    prefix_mib: int
    together: int
    waiting: int
    prefill_tokens: int
    graphs: bool
    draft_tokens: int
    patch_product: bool
    device_patches: bool


class SpeedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out is chosen by where the model runs."""

    plain: bool = False
    """Run transformers' own `generate`, one window at a time; every other switch is without effect then."""
    features_mib: Mebibytes = 256
    """What the vision tower made of pictures is kept, and used again by every prompt with the same picture; bit-equal.
    Memory of the model's device, MiB; 0: nothing is kept."""
    prefix_mib: Mebibytes | None = None
    """Keys and values of prompts are kept, and used again by a prompt that begins alike, as a growing window does;
    equal to about 1e-6 in float32. MiB; left out: 64 on a CPU, 2048 on a GPU."""
    together: Annotated[int, Meta(ge=1, le=256)] = 8
    """Windows that are written together; further ones wait."""
    waiting: Annotated[int, Meta(ge=0, le=4096)] = 64
    """Windows that wait inside; more callers than that wait at the door. Nothing is dropped."""
    prefill_tokens: Annotated[int, Meta(ge=0, le=1 << 20)] | None = None
    """Most tokens of a prompt in one pass, which caps its memory; 0: all. Left out: all on a CPU, 2048 on a GPU."""
    graphs: bool | None = None
    """Steps of fixed shapes, replayed as CUDA graphs. Left out: on a GPU only."""
    draft_tokens: Annotated[int, Meta(ge=0, le=64)] | None = None
    """Most tokens that are guessed from earlier answers and checked in one pass. Left out: 12 on a CPU, none where
    steps are graphs."""
    patch_product: bool = True
    """The vision tower's first layer as a matrix product instead of a convolution; equal to about 1e-6 in float32."""
    device_patches: bool | None = None
    """Frames go to the model's device as they are, uint8, and are cut into patches there instead of on the CPU;
    bit-equal. Left out: on a GPU only."""

    def on(self, device: Literal["cpu", "gpu"]) -> Chosen:
        """The switches on this kind of device."""
        gpu = device == "gpu"

        def or_else(value: int | None, cpu: int, other: int) -> int:
            return value if value is not None else other if gpu else cpu

        graphs = gpu if self.graphs is None else self.graphs
        return Chosen(
            features_mib=self.features_mib,
            prefix_mib=or_else(self.prefix_mib, 64, 2048),
            together=self.together,
            waiting=self.waiting,
            prefill_tokens=or_else(self.prefill_tokens, 0, 2048),
            graphs=graphs,
            draft_tokens=0 if graphs and self.draft_tokens is None else or_else(self.draft_tokens, 12, 0),
            patch_product=self.patch_product,
            device_patches=gpu if self.device_patches is None else self.device_patches,
        )
