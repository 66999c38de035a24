"""What a compiled engine was built from and for: pure records, compared field by field."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from detector.precision import GraphPrecision

USUAL = (1, 8, 32, 64)
"""Batch sizes that TensorRT tunes its kernels for: one camera, a few, many, and the most there are in one call."""
MAX_BATCH = USUAL[-1]
SUFFIX = ".engine"

Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]
"""Which other GPUs an engine may run on, in TensorRT's words."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One optimisation profile: the batch sizes that it serves, and the one that it is tuned for."""

    smallest: Annotated[int, Meta(ge=1)]
    usual: int
    largest: Annotated[int, Meta(le=MAX_BATCH)]

    def __post_init__(self) -> None:
        if not self.smallest <= self.usual <= self.largest:
            raise ValueError(f"a profile of {self.smallest} to {self.largest} pictures is not tuned for {self.usual}")


def profiles(max_batch: int) -> tuple[Profile, ...]:
    """Profiles that cover 1..max_batch without overlap. Raises ValueError outside 1..64."""
    if not 1 <= max_batch <= MAX_BATCH:
        raise ValueError(f"{max_batch} pictures in one call; an engine takes 1 to {MAX_BATCH}")
    made: list[Profile] = []
    for usual in USUAL:
        smallest = made[-1].largest + 1 if made else 1
        largest = min(usual, max_batch)
        if smallest <= largest:
            made.append(Profile(smallest, largest, largest))
    return tuple(made)


def profile_of(made: tuple[Profile, ...], count: int) -> int:
    """Place of the profile that serves a batch of this size."""
    return next(place for place, profile in enumerate(made) if profile.smallest <= count <= profile.largest)


def padded(count: int, largest: int) -> int:
    """The size that a call of `count` pictures is filled up to: a power of two, or the most there can be. So there are
    seven contexts and graphs at most, and no more than half of a batch is for nothing."""
    return min(1 << (count - 1).bit_length(), largest)


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    capability: tuple[int, int]
    """CUDA compute capability, major and minor."""

    @property
    def sm(self) -> str:
        return f"sm{self.capability[0]}{self.capability[1]}"


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that an engine depends on: when any of it differs, the engine is stale."""

    model: str
    """Its name, which another may have as well."""
    folder: str = ""
    """Where the model is: no reason to build again, but it says whose the engines of earlier weights are."""
    graph_sha256: str
    weights_sha256: str
    precision: GraphPrecision
    tensorrt: str
    """Version."""
    gpu: Gpu
    compatibility: Compatibility
    profiles: tuple[Profile, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lies beside the engine under its name with `.json`."""

    format: int = 1
    recipe: Recipe
    engine: str
    """File name."""
    engine_sha256: str
    typed: str = ""
    """File name of the graph with the calibrated ranges, int8 and fp8 only: with it an engine can be built again
    without pictures."""
    typed_sha256: str = ""
    calibration_pictures: int = 0
    build_s: float
    created: str
    """UTC, ISO 8601."""


def file_name(recipe: Recipe) -> str:
    """`bundled-1a2b3c4d-trt11.2.1.2-fp16-sm89-nvidia-geforce-rtx-4090-b64.engine`."""
    where = {
        "none": f"{recipe.gpu.sm}-{_slug(recipe.gpu.name)}",
        "same_compute_capability": f"{recipe.gpu.sm}-any",
        "ampere_plus": "sm80-plus",
    }[recipe.compatibility]
    largest = recipe.profiles[-1].largest
    return f"{stem(recipe)}-trt{recipe.tensorrt}-{recipe.precision}-{where}-b{largest}{SUFFIX}"


def typed_name(recipe: Recipe, sha256: str) -> str:
    """`bundled-1a2b3c4d-int8-5e6f7a8b.onnx`; sha256: its own, for each calibration gives another graph."""
    return f"{stem(recipe)}-{recipe.precision}-{sha256[:8]}.onnx"


def same_model(one: Recipe, other: Recipe) -> bool:
    """Of one folder, whatever its weights were, or of the same files somewhere else."""
    if (one.graph_sha256, one.weights_sha256) == (other.graph_sha256, other.weights_sha256):
        return True
    return bool(one.folder) and one.folder == other.folder


def stem(recipe: Recipe) -> str:
    """What the files of one model have in common, across machines and precisions."""
    return f"{_slug(recipe.model)}-{recipe.graph_sha256[:4]}{recipe.weights_sha256[:4]}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"


def differences(built: Recipe, wanted: Recipe) -> list[str]:
    """Why an engine is stale, one reason each, nothing when it fits: `TensorRT 10.15.1 is now 11.2.1`.

    The number of pictures in a call and the compatibility are choices of who compiled it, not reasons.
    """
    pairs = (
        ("the graph", built.graph_sha256[:8], wanted.graph_sha256[:8]),
        ("the weights", built.weights_sha256[:8], wanted.weights_sha256[:8]),
        ("the precision", built.precision, wanted.precision),
        ("TensorRT", built.tensorrt, wanted.tensorrt),
    )
    found = [f"{what} {before} is now {now}" for what, before, now in pairs if before != now]
    if not _runs_on(built, wanted.gpu):
        found.append(f"the GPU {built.gpu.name} ({built.gpu.sm}) is now {wanted.gpu.name} ({wanted.gpu.sm})")
    return found


def _runs_on(built: Recipe, gpu: Gpu) -> bool:
    match built.compatibility:
        case "none":
            return built.gpu == gpu
        case "same_compute_capability":
            return built.gpu.capability == gpu.capability
        case "ampere_plus":
            return gpu.capability >= (8, 0)
