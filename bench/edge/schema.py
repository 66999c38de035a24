"""JSON Schema of what the edge benchmark writes; `python -m bench.edge.schema` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench import report
from bench.edge.record import Figures

SCHEMA_FILE = Path(__file__).with_name("edge.schema.json")


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "edge", "What a box with one GPU carries")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
