"""What a training run tells: one JSON line per measurement in `metrics.jsonl`, one line of progress for people."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

LOG = logging.getLogger("witness.train")


class Journal:
    """Appends to `metrics.jsonl` and logs progress."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: object) -> None:
        """One line; floats to six digits, and null where one is no finite number: JSON knows no NaN."""
        line = {key: _plain(value) for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        LOG.info("%s", " ".join(f"{key}={value}" for key, value in line.items()))


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
