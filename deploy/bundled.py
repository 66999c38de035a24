"""What the models on this machine can see, read from their folders without loading them."""

from __future__ import annotations

from pathlib import Path

from deploy.errors import one_line

HEADER = ("part", "model", "size", "sees")


def models() -> list[tuple[str, str, str, str]]:
    """Rows of a table, the header first; a folder that is missing or damaged says so in its row."""
    return [HEADER, _scorer(), _reasoner(), *_pulled()]


def _scorer() -> tuple[str, str, str, str]:
    from detector.errors import DetectorError
    from detector.folder import BUNDLED, read_folder

    try:
        folder = read_folder("bundled")
    except DetectorError as error:
        return ("scorer", "bundled", "-", one_line(error))
    return ("scorer", folder.record.name, _size(BUNDLED), ", ".join(sorted(folder.record.categories)))


def _reasoner() -> tuple[str, str, str, str]:
    from reasoner.errors import ReasonerError
    from reasoner.folder import BUNDLED, open_folder

    try:
        folder = open_folder(BUNDLED)
    except ReasonerError as error:
        return ("reasoner", "bundled", "-", one_line(error))
    categories = folder.notes.categories if folder.notes else ()
    return ("reasoner", folder.name, _size(BUNDLED), ", ".join(sorted(categories)) or "any question")


def _pulled() -> list[tuple[str, str, str, str]]:
    from reasoner.pulled import pulled

    return [
        ("reasoner", f"{manifest.name} at {manifest.revision[:12]}", _size(folder), "any question")
        for folder, manifest in pulled()
    ]


def _size(folder: Path) -> str:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
