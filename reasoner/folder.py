"""A model folder in the released layout: what it must hold, its family, and the notes of a model made here.

A folder holds `config.json`, a tokenizer, a chat template and safetensors. A checkpoint trained by this repository
also has `witness.json`: how its pictures are prepared, what it knows and how its numbers become a probability.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, Literal

import msgspec

from reasoner.boxes import Coordinates
from reasoner.confidence import Calibrator
from reasoner.errors import ModelIncomplete, ModelUnsupported
from reasoner.family import FAMILIES, Family
from reasoner.pulled import read_manifest

BUNDLED = Path(__file__).parent / "models" / "bundled"


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """`witness.json`. Unknown fields are the trainer's own and ignored."""

    name: str = ""
    pairing: Literal["none", "motion"] = "none"
    """`motion`: two frames become one image whose second temporal slot is [luma, change, change]."""
    input_size: tuple[int, int] | None = None
    """Width and height every picture is brought to, px; none: the pixel budget decides."""
    coordinates: Coordinates = "rel1000"
    coordinate_step: int | None = None
    """Coordinates are single tokens, multiples of this: they are read at the median of their distribution."""
    time_step: float | None = None
    """Times are single tokens, multiples of this in s, one decimal, below 20 s: they are read at the median too."""
    prompt: Literal["full", "brief"] = "full"
    decision_token: Literal["answer", "think_first"] = "answer"
    """`think_first`: the first token after `<think>` already tells yes from no."""
    decision_words: tuple[str, str] = ("The", "Nothing")
    """First words after `<think>` of a yes and of a no."""
    yes_from: float = 0.0
    """Probability of a yes, of both looks together, from which it counts as one (`decision.sureness`): a small model's
    operating point, chosen on held-out scenes."""
    categories: tuple[str, ...] = ()
    """Categories of event it was trained on; empty: any question may be asked."""
    questions: dict[str, str] = {}
    """Per category, the question in the words it was trained on."""
    keywords: dict[str, tuple[str, ...]] = {}
    """Per category, words (any language) by which a free question is recognised."""
    max_groups: int | None = None
    """Most frame groups of one window; a longer window is shown at a wider spacing."""
    group_step_s: float | None = None
    """Spacing of the groups it was trained on."""
    max_new_tokens: int = 192
    """Longest output of a sound model; what runs on is no answer."""
    calibrator: Calibrator | None = None


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that was found complete."""

    path: Path
    family: Family
    config: dict[str, Any]
    notes: Notes | None
    """None for a checkpoint that was not made here."""
    weights: tuple[Path, ...]

    @property
    def name(self) -> str:
        return (self.notes.name if self.notes else "") or self.path.name

    @property
    def coordinates(self) -> Coordinates:
        """What the numbers in `<box>` mean: the family's, unless it was trained here on others."""
        return self.notes.coordinates if self.notes else self.family.coordinates

    def weights_sha256(self) -> str:
        """Of the weight file; of `name sha256` lines where there are several.

        Raises ModelIncomplete where a pull was not ended, or a file is not what was pulled.
        """
        manifest = read_manifest(self.path)
        if manifest is not None and manifest.date is None:
            raise ModelIncomplete(
                f"model folder {self.path} is pulled only in part; run `witness models pull {manifest.name}` again"
            )
        digests = [(path.name, _sha256(path)) for path in self.weights]
        pinned = dict(digests) if manifest is None else {file.name: file.sha256 for file in manifest.files}
        for name, digest in digests:
            if pinned.get(name) != digest:
                raise ModelIncomplete(f"{self.path / name} is not the file that was pulled; pull the model again")
        if len(digests) == 1:
            return digests[0][1]
        return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests).encode()).hexdigest()


def open_folder(path: Path) -> ModelFolder:
    """Check a folder. Raises ModelIncomplete naming what is missing, ModelUnsupported for another family."""
    if not path.is_dir():
        raise ModelIncomplete(f'model folder {path} does not exist; give a folder, a hub name or "bundled"')
    config = _json(path / "config.json")
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise ModelUnsupported(f"model folder {path} is of type {config.get('model_type')!r}; served are {known}")
    _require_tokenizer(path)
    notes = None
    if (path / "witness.json").exists():
        try:
            notes = msgspec.json.decode((path / "witness.json").read_bytes(), type=Notes)
        except msgspec.DecodeError as error:
            raise ModelIncomplete(f"{path / 'witness.json'} cannot be read: {error}; fetch the model again") from error
    return ModelFolder(path=path, family=family, config=config, notes=notes, weights=_weights(path))


def _require_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").exists() and not (
        (path / "vocab.json").exists() and (path / "merges.txt").exists()
    ):
        raise ModelIncomplete(f"model folder {path} has no tokenizer.json (or vocab.json and merges.txt); add it")
    if chat_template(path) is None:
        raise ModelIncomplete(f"model folder {path} has no chat template (chat_template.jinja or .json); add it")


def chat_template(path: Path) -> str | None:
    """The folder's chat template from whichever of its three homes it lives in."""
    if (path / "chat_template.jinja").exists():
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (path / name).exists():
            template = _json(path / name).get("chat_template")
            if isinstance(template, str):
                return template
    return None


def _weights(path: Path) -> tuple[Path, ...]:
    index = path / "model.safetensors.index.json"
    if index.exists():
        names = sorted({str(name) for name in _json(index).get("weight_map", {}).values()})
    elif (path / "model.safetensors").exists():
        names = ["model.safetensors"]
    else:
        found = "only pickled weights, which are not loaded" if any(path.glob("*.bin")) else "no weights"
        raise ModelIncomplete(
            f"model folder {path} has {found}; it needs model.safetensors or its shards with an index"
        )
    missing = [name for name in names if Path(name).name != name or not (path / name).is_file()]
    if missing or not names:
        raise ModelIncomplete(f"model folder {path} lacks {', '.join(missing[:3]) or 'every shard'}; fetch the rest")
    files = tuple(path / name for name in names)
    for file in files:
        _require_whole(file)
    return files


def _require_whole(file: Path) -> None:
    """A safetensors file begins with the length of its JSON header, whose offsets say how long the file must be."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > min(size - 8, 100_000_000):
            raise ModelIncomplete(f"{file} is no safetensors file or cut short ({size} bytes); fetch it again")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise ModelIncomplete(f"{file} has a broken header; fetch it again") from error
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ModelIncomplete(
            f"{file} is cut short: {size} of {8 + length + max(ends, default=0)} bytes; fetch it again"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelIncomplete(f"model folder {path.parent} has no {path.name}; add it") from error
    except ValueError as error:
        raise ModelIncomplete(f"{path} is no JSON; fetch it again") from error
    if not isinstance(content, dict):
        raise ModelIncomplete(f"{path} is no JSON object; fetch it again")
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
