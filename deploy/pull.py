"""`witness models pull`: a checkpoint fetched once, pinned to a commit, each file compared with its hash.

Only safetensors and text beside them are taken, so that nothing in the folder can run. A pull that was killed goes on
where it was; one that ends leaves a folder that opens without a network. The kernel of FP8 weights is code, so it is
not pulled: transformers fetches it when the model is loaded (`reasoner/hub_kernel.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from deploy.errors import PullFailed, UsageError, one_line
from deploy.hub import Hub, Listing
from deploy.progress import Progress
from deploy.transfer import PARTIAL, PATIENCE, Counter, Patience, Transfer, patiently
from reasoner.errors import ModelIncomplete, ReasonerError
from reasoner.family import FAMILIES
from reasoner.folder import open_folder
from reasoner.pulled import CURRENT, MANIFEST, Manifest, PulledFile, models_folder, read_manifest
from reasoner.quantised import quantisation

HUB = "https://huggingface.co"
TAKEN = re.compile(rf"(?!(?i:{re.escape(MANIFEST)})$)[A-Za-z0-9_][\w.+-]*\.(safetensors|json|txt|jinja)")
"""Names of files that are fetched: weights without code, and text; never a manifest that somebody else wrote."""
WEIGHTS = ".safetensors"
FRESH = ".new"
"""Of a file until it is written whole."""
MAX_TEXT = 64 << 20
"""Bytes of a file that is not weights."""
SPARE = 256 << 20
"""Bytes of the disk that are left free."""


def pull(
    name: str,
    revision: str,
    mirror: str | None,
    to: Path | None,
    note: Callable[[str], None],
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch a checkpoint → its folder. Raises UsageError or PullFailed, each in one line.

    revision: branch, tag or commit. mirror: address of a site with the hub's layout. to: its folder; none: one of the
    shared folder, from where `model = NAME` finds it.
    """
    hub = _hub(mirror)
    listing = patiently(lambda: hub.listing(name, revision), patience)
    texts = _texts(name, listing)
    folder = to if to is not None else models_folder() / name / listing.revision
    with _owned(folder, name, listing.revision) as before:
        manifest = Manifest(name=name, revision=listing.revision, source=hub.site, date=None, files=texts)
        if (
            before is None or before.date is None
        ):  # the hashes of a whole folder stay in force until the new ones are there
            _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        transfer = Transfer(hub, manifest, folder, patience)
        done = [transfer.file(file, lambda _: None) for file in texts]
        weights = _weights(folder, name, listing)
        total = sum(file.size for file in weights)
        _require_space(folder, weights)
        with Progress(f"pulling {name} at {listing.revision[:12]}, {total / 1e9:.1f} GB", note) as progress:
            come = Counter(total, progress)
            done += [transfer.file(file, come) for file in weights]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = msgspec.structs.replace(manifest, date=now, files=tuple(done))
        _check(folder)
        _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    if to is None:
        _write(folder.parent / CURRENT, listing.revision.encode())
        _forget_unfinished(folder, note)
    return folder


def _hub(mirror: str | None) -> Hub:
    """A token goes to the site the environment names, never to one that was only given on the command line."""
    if mirror is not None:
        return Hub(mirror)
    import huggingface_hub

    return Hub(os.environ.get("HF_ENDPOINT") or HUB, huggingface_hub.get_token())


def _texts(name: str, listing: Listing) -> tuple[PulledFile, ...]:
    """The files beside the weights. Raises PullFailed when the commit holds no weights of the safe kind."""
    names = {file.name for file in listing.files}
    if not any(TAKEN.fullmatch(one) and one.endswith(WEIGHTS) for one in names):
        pickled = any(one.endswith((".bin", ".pt", ".pth")) for one in names)
        raise PullFailed(
            f"{name} has {'only pickled weights, which can run code' if pickled else 'no weights'}; "
            "take a form with safetensors"
        )
    files = tuple(file for file in listing.files if TAKEN.fullmatch(file.name) and not file.name.endswith(WEIGHTS))
    _require_bounded(files, MAX_TEXT)
    return files


def _weights(folder: Path, name: str, listing: Listing) -> tuple[PulledFile, ...]:
    """The weight files that the texts, which are there by now, ask for. Raises PullFailed for an unserved model."""
    config = _json(folder / "config.json")
    if config.get("model_type") not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise PullFailed(f"{name} is of type {config.get('model_type')!r}; served are {known}")
    quantisation(config)
    there = {file.name: file for file in listing.files}
    index = folder / "model.safetensors.index.json"
    wanted = sorted(set(_json(index).get("weight_map", {}).values())) if index.exists() else ["model.safetensors"]
    missing = [one for one in wanted if one not in there or not TAKEN.fullmatch(one) or not one.endswith(WEIGHTS)]
    if missing or not wanted:
        raise PullFailed(
            f"{name} lacks {', '.join(map(str, missing[:3])) or 'every shard'} on the site; tell its makers"
        )
    files = tuple(there[one] for one in wanted)
    _require_bounded(files, 1 << 42)
    return files


def _require_bounded(files: Sequence[PulledFile], most: int) -> None:
    for file in files:
        if not 0 <= file.size <= most:
            raise PullFailed(f"{file.name} is stated to have {file.size} bytes; that is not pulled")
        if not file.sha256 and not file.blob_sha1:
            raise PullFailed(f"the site states no hash of {file.name}; take a mirror that does")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PullFailed(f"{path.name} of the model cannot be read ({type(error).__name__})") from error
    return content if isinstance(content, dict) else {}


def _require_space(folder: Path, weights: Sequence[PulledFile]) -> None:
    there = sum(_there(folder / (file.name + suffix)) for file in weights for suffix in ("", PARTIAL))
    needed = max(0, sum(file.size for file in weights) - there) + SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PullFailed(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "make room, or choose a disk with --to or WITNESS_MODELS"
        )


def _there(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@contextlib.contextmanager
def _owned(folder: Path, name: str, revision: str) -> Iterator[Manifest | None]:
    """The folder, made, of this commit alone and of this process alone → the manifest an earlier pull left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); choose another with --to") from error
    try:
        if not _locked(handle, folder):
            raise PullFailed(f"another pull is at work in {folder}; wait for it")
        try:
            manifest = read_manifest(folder)
        except ModelIncomplete as error:
            raise UsageError(f"{folder / MANIFEST} cannot be read; remove it with its folder and pull again") from error
        if manifest is None and any(one.name != MANIFEST + FRESH for one in folder.iterdir()):
            raise UsageError(f"{folder} holds other files; give a new or empty folder with --to")
        if manifest is not None and (manifest.name, manifest.revision) != (name, revision):
            raise UsageError(
                f"{folder} holds {manifest.name} at {manifest.revision[:12]}, not {name} at {revision[:12]}; "
                "give another folder with --to"
            )
        yield manifest
    finally:
        os.close(handle)


def _locked(handle: int, folder: Path) -> bool:
    """Whether the open folder is now this process's alone, and still the one of that name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        return False


def _check(folder: Path) -> None:
    try:
        open_folder(folder)
    except ReasonerError as error:
        raise PullFailed(f"what was pulled does not open: {error}") from error


def _forget_unfinished(folder: Path, note: Callable[[str], None]) -> None:
    """Older commits of the name whose pull was never ended and is not at work; what cannot be removed stays."""
    for other in folder.parent.iterdir():
        if other == folder or not other.is_dir():
            continue
        try:
            handle = os.open(other, os.O_RDONLY)
            try:
                manifest = read_manifest(other) if _locked(handle, other) else None
                if manifest is not None and manifest.date is None:
                    shutil.rmtree(other)
            finally:
                os.close(handle)
        except (ModelIncomplete, OSError) as error:
            note(f"{other} is left as it is: {one_line(error)}")


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    fresh = path.with_name(path.name + FRESH)
    with fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
