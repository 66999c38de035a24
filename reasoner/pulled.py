"""Pulled checkpoints: where they lie, and the manifest that pins each to one revision and its hashes.

    MODELS/Qwen/Qwen3-VL-8B-Instruct/REVISION/     the files of one commit, with `witness-pull.json`
    MODELS/Qwen/Qwen3-VL-8B-Instruct/current       the commit that the name stands for

MODELS is WITNESS_MODELS, or witness/models below XDG_DATA_HOME or ~/.local/share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from reasoner.errors import ModelIncomplete

MANIFEST = "witness-pull.json"
CURRENT = "current"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
COMMIT = re.compile(r"[0-9a-f]{40}")


class PulledFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a checkpoint."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """64 hex digits; empty until it is fetched, for a file of which the hub gives another hash."""
    blob_sha1: str = ""
    """git's hash of the file, which the hub gives for files outside LFS."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`witness-pull.json`: what a folder was made of."""

    name: str
    revision: str
    """Commit on the hub, 40 hex digits."""
    source: str
    """Address of the hub or mirror, without user or password."""
    date: str | None
    """UTC, ISO 8601, of the moment the last file was checked; None while files are missing."""
    files: tuple[PulledFile, ...]


def models_folder() -> Path:
    """Where `witness models pull` puts checkpoints."""
    if given := os.environ.get("WITNESS_MODELS"):
        return Path(given).expanduser()
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "witness" / "models"


def pulled_folder(name: str) -> Path | None:
    """The folder that a hub name stands for; None when it was never pulled.

    Raises ModelIncomplete for a pull that was begun and not ended.
    """
    if not NAME.fullmatch(name):
        return None
    home = models_folder() / name
    current = home / CURRENT
    if not current.is_file():
        if any(home.glob(f"*/{MANIFEST}")):
            raise ModelIncomplete(f"model {name!r} is pulled only in part; run `witness models pull {name}` again")
        return None
    commit = current.read_text(encoding="ascii", errors="replace").strip()
    if not COMMIT.fullmatch(commit) or not (home / commit / MANIFEST).is_file():
        raise ModelIncomplete(f"{current} names no pulled revision; run `witness models pull {name}` again")
    return home / commit


def read_manifest(folder: Path) -> Manifest | None:
    """Of a pulled folder; None for one that was not pulled. Raises ModelIncomplete when it cannot be read."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ModelIncomplete(f"{file} cannot be read: {error}; pull the model again") from error


def pulled() -> Iterator[tuple[Path, Manifest]]:
    """Every checkpoint that a name stands for, by name."""
    for current in sorted(models_folder().glob(f"*/*/{CURRENT}")):
        name = f"{current.parent.parent.name}/{current.parent.name}"
        try:
            folder = pulled_folder(name)
            manifest = None if folder is None else read_manifest(folder)
        except ModelIncomplete:
            continue
        if folder is not None and manifest is not None:
            yield folder, manifest
