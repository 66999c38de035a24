"""A scorer's model folder: its record (`scorer.json`), its files, and whether they belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from detector.errors import ModelFolderError
from detector.rounding import Rounding

RECORD = "scorer.json"
IMAGE_GRAPH = "scorer.onnx"
TEXT_GRAPH = "text.onnx"
WEIGHTS = "scorer.safetensors"
TOKENIZER = "tokenizer.json"
FILES = (IMAGE_GRAPH, TEXT_GRAPH, WEIGHTS, TOKENIZER)
"""The two graphs hold no weights of their own: they point into the safetensors file, which torch reads as well."""
WITHOUT_TEXT = (IMAGE_GRAPH, WEIGHTS)
"""Of a model that has an image tower only."""
INT8_GRAPH = "scorer.int8.onnx"
"""The image tower in 8 bits, with its weights inside; only where `witness models export --precision int8` wrote it."""
ARCHITECTURE = "config.json"
"""Of a model of transformers: its own configuration, from which its own classes are built."""

Tokens = Literal["grid", "summary", "summary+grid"]

BUNDLED = Path(__file__).parent / "models" / "bundled"


class CategoryRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the similarity to one category's rules becomes a probability:
    `1 / (1 + exp(-(slope * logit + novelty * novelty_of_the_picture + offset)))`."""

    slope: float
    offset: float
    novelty: float
    threshold: float
    """Score that opens the gate, 0..1."""
    strict: float
    """The same for a scorer without a reasoner behind it (detector/strict.py)."""
    recall: float
    """Share of held-out events with two frames in a row over the threshold while they could first be seen."""
    flags_per_minute: float
    """Key frames per minute without this event, held-out scenes, that are over the threshold as the next one is."""


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the two towers."""

    picture_size: tuple[int, int] = (256, 144)
    """Width and height of the network's input, px."""
    channels: int = 7
    """Planes of the input that the network was trained with: the first of those of `detector.preprocess`."""
    patch: int = 16
    width: int
    depth: int
    text_width: int
    text_depth: int
    text_length: int = 40
    vocabulary: int
    dim: int
    tokens: Tokens = "grid"
    """What the image tower gives: a vector per cell of the grid, row by row; one vector for the picture; or both, the
    picture's first."""

    @property
    def has_text(self) -> bool:
        """Whether there is a text tower; without one its sizes are 0."""
        return self.vocabulary > 0

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of cells."""
        return self.picture_size[0] // self.patch, self.picture_size[1] // self.patch

    @property
    def length(self) -> int:
        """Vectors per picture: T of `detector.engines.Engine.image`."""
        columns, rows = self.grid
        return ("summary" in self.tokens) + ("grid" in self.tokens) * columns * rows


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a checkpoint's image processor scales a picture, per channel: `(value / 255 - mean) / std`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ScorerRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`scorer.json`."""

    format: int = 1
    name: str
    shape: Shape
    scale: float
    bias: float
    """`logit = scale * similarity + bias`, as learned."""
    sharpness: float
    """Of the pool over tokens, see `detector.similarity.pooled`."""
    categories: dict[str, CategoryRecord]
    default: CategoryRecord | None = None
    """For rules of any category, of a model that was trained on pictures and their captions at large: its logit is
    `detector.contrast`'s. None: only `categories` are served."""
    neutral: tuple[str, ...] = ()
    """Texts of a picture in which nothing is to be told, for the contrast."""
    prompt: str = "{category}: {watch}"
    """The text that a rule becomes."""
    architecture: str = ""
    """`model_type` of the classes of transformers that run it in torch; empty: `detector.model`."""
    scaling: Scaling | None = None
    """Inside the graph; here for torch."""
    int8: Rounding | None = None
    """Of the 8-bit graph, where the folder has one and it was looked at."""
    sha256: dict[str, str]
    """Of each other file of the folder."""
    training: dict[str, int | float | str] = {}

    def calibration(self, category: str) -> CategoryRecord | None:
        """How a rule of this category becomes a score; None: it does not."""
        return self.categories.get(category, self.default)


class ScorerFolder(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    record: ScorerRecord

    def file(self, name: str) -> Path:
        return self.path / name


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(shape: Shape) -> tuple[str, ...]:
    """That a folder of this shape cannot do without."""
    return FILES if shape.has_text else WITHOUT_TEXT


def hashes(path: Path, names: Iterable[str] = FILES) -> dict[str, str]:
    """Of the files that a folder must have, and of those that this one has besides."""
    also = (name for name in (INT8_GRAPH, ARCHITECTURE) if (path / name).is_file())
    return {name: sha256(path / name) for name in (*names, *also)}


def read_folder(model: str) -> ScorerFolder:
    """Opens `bundled` or a folder's path and checks every file against its hash.

    Raises ModelFolderError, one line, for a folder that is missing, incomplete, damaged or not a scorer's.
    """
    path = BUNDLED if model == "bundled" else Path(model).expanduser()
    where = f"detector.model {model!r}"
    if not path.is_dir():
        raise ModelFolderError(
            f'{where}: there is no folder {path}; use "bundled" or a folder of `witness train scorer`'
        )
    try:
        record = msgspec.json.decode((path / RECORD).read_bytes(), type=ScorerRecord)
    except FileNotFoundError:
        raise ModelFolderError(
            f"{where}: {path} has no {RECORD}; use a folder written by `witness train scorer`"
        ) from None
    except (msgspec.MsgspecError, OSError) as error:
        raise ModelFolderError(f"{where}: {path / RECORD} cannot be read ({error}); train or copy it again") from None
    if record.format != 1:
        raise ModelFolderError(f"{where}: {RECORD} has format {record.format}, this version reads 1; train it again")
    for name in dict.fromkeys((*files(record.shape), *record.sha256)):
        if Path(name).name != name:
            raise ModelFolderError(f"{where}: {RECORD} names {name!r}, which is no file of the folder; copy it again")
        file = path / name
        if not file.is_file():
            raise ModelFolderError(f"{where}: {path} is incomplete, {name} is missing; copy the whole folder again")
        if sha256(file) != record.sha256.get(name):
            raise ModelFolderError(f"{where}: {name} is not the file that {RECORD} describes; copy the folder again")
    return ScorerFolder(path=path, record=record)
