"""Writes the contract's documents beside this file; with `--check`, only says which are stale."""

from __future__ import annotations

import sys

from alerts.schema.documents import FOLDER, documents


def main() -> int:
    """1 when `--check` found a stale document, else 0."""
    stale = [
        name
        for name, text in documents().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if "--check" not in sys.argv[1:]:
        for name in stale:
            (FOLDER / name).write_text(documents()[name], encoding="utf-8")
            sys.stdout.write(f"{FOLDER / name}: written\n")
        return 0
    for name in stale:
        sys.stderr.write(f"{FOLDER / name}: stale; run python -m alerts.schema\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
