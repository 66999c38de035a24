"""What a training run tells: one JSON line per measurement in `metrics.jsonl`, one line of progress for people."""

from __future__ import annotations

import json
import logging
from pathlib import Path

LOG = logging.getLogger("witness.train")


class Journal:
    """Appends to `metrics.jsonl` and logs progress."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: object) -> None:
        """One line; floats to six digits."""
        line = {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        LOG.info("%s", " ".join(f"{key}={value}" for key, value in line.items()))
