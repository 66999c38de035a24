"""The folder of compiled engines: found, checked, written. One folder serves all models; names keep them apart."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from detector.engines.plan import SUFFIX, Manifest, Recipe, differences, same_model, stem
from detector.errors import EngineMismatch
from detector.folder import sha256

log = logging.getLogger(__name__)

TIMINGS = "timings"
"""Suffix of the timing caches: how fast which kernel was, so that a second build is quick."""


class Found(NamedTuple):
    manifest: Manifest
    stale: list[str]
    """Why it must be built again; empty when it fits."""


class Shelf:
    def __init__(self, path: str | Path = "") -> None:
        """path: empty for the user's cache folder (XDG_CACHE_HOME)."""
        self.path = Path(path).expanduser() if path else default_path()

    def find(self, wanted: Recipe) -> Found | None:
        """The engine of this model and precision that was built last and fits, else the newest stale one, else None.

        Raises EngineMismatch for a manifest of this model that cannot be read; those of others are passed over.
        """
        manifests = []
        for path in sorted(self.path.glob(f"*-{wanted.precision}-*{SUFFIX}.json")):
            try:
                manifests.append(self.read(path))
            except EngineMismatch as error:
                if path.name.startswith(f"{stem(wanted)}-"):
                    raise
                log.warning("passed over: %s", error)
        of_model = [
            Found(manifest, differences(manifest.recipe, wanted))
            for manifest in manifests
            if same_model(manifest.recipe, wanted) and manifest.recipe.precision == wanted.precision
        ]
        # The last one holds the choices that were made last, as the number of pictures in a call.
        return max(of_model, key=lambda found: (not found.stale, found.manifest.created), default=None)

    def read(self, path: Path) -> Manifest:
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError) as error:
            raise EngineMismatch(f"{path} is damaged ({error}); delete it and {_compile_again(None)}") from None
        if manifest.format != 1 or Path(manifest.engine).name != manifest.engine:
            raise EngineMismatch(f"{path} is not a manifest of this version; delete it and {_compile_again(manifest)}")
        return manifest

    def engine(self, manifest: Manifest) -> bytes:
        """The engine's bytes. Raises EngineMismatch when they are not those that were written."""
        return self._checked(manifest.engine, manifest.engine_sha256, manifest).read_bytes()

    def typed(self, manifest: Manifest) -> Path:
        """The calibrated graph. Raises EngineMismatch when it is not the one that was written."""
        return self._checked(manifest.typed, manifest.typed_sha256, manifest)

    def timings(self, recipe: Recipe) -> Path:
        """The timing cache of one GPU and version of TensorRT, shared by models; it need not exist."""
        return self.path / f"trt{recipe.tensorrt}-{recipe.gpu.sm}.{TIMINGS}"

    def write(self, name: str, content: bytes) -> str:
        """Writes a file whole or not at all; gives its SHA-256."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / f".{name}.{os.getpid()}"
        draft.write_bytes(content)
        digest = sha256(draft)
        draft.replace(self.path / name)
        return digest

    def write_manifest(self, manifest: Manifest) -> None:
        """Last of all: an engine without a manifest is no engine."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        self.write(f"{manifest.engine}.json", text + b"\n")

    def drop_stale(self, kept: Manifest) -> list[str]:
        """Deletes the model folder's engines of other weights, and its calibrated graphs that no engine needs any more;
        gives the names of what is gone."""
        gone, used, graphs = [], {kept.typed}, set(self.path.glob(f"{stem(kept.recipe)}-{kept.recipe.precision}*.onnx"))
        for path in sorted(self.path.glob(f"*{SUFFIX}.json")):
            try:
                manifest = self.read(path)
            except EngineMismatch as error:
                log.warning("passed over: %s", error)
                if path.name.startswith(f"{stem(kept.recipe)}-"):
                    # Nobody knows which graph that one needs.
                    graphs.clear()
                continue
            if same_model(manifest.recipe, kept.recipe) and stem(manifest.recipe) != stem(kept.recipe):
                engine = path.with_suffix("")
                path.unlink()
                engine.unlink(missing_ok=True)
                gone.append(engine.name)
                if manifest.typed:
                    graphs.add(self.path / Path(manifest.typed).name)
            else:
                used.add(manifest.typed)
        for graph in sorted(graphs):
            if graph.name not in used:
                graph.unlink(missing_ok=True)
                gone.append(graph.name)
        return gone

    def _checked(self, name: str, digest: str, manifest: Manifest) -> Path:
        path = self.path / name
        if not name or not path.is_file():
            raise EngineMismatch(f"{path} is missing; {_compile_again(manifest)}")
        if sha256(path) != digest:
            raise EngineMismatch(f"{path} is damaged (its SHA-256 is another); {_compile_again(manifest)}")
        return path


def default_path() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "witness" / "engines"


def _compile_again(manifest: Manifest | None) -> str:
    precision = manifest.recipe.precision if manifest else "fp16"
    return f"run `witness models compile MODEL --precision {precision}` again"
