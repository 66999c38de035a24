"""Where benchmarks keep what they compile for a GPU: beside the user's engines, never among them.

A shelf deletes the engines of a model's older weights and graphs; what a benchmark compiles must not cost the user his.
"""

from __future__ import annotations

from pathlib import Path


def scorers() -> Path:
    """Of the scorers that are written anew for a benchmark."""
    from detector.engines.shelf import default_path

    return default_path().with_name("bench-engines")


def shipped() -> Path:
    """Of the bundled scorer as it is shipped, whose graph may differ from the one written anew."""
    return scorers() / "shipped"
