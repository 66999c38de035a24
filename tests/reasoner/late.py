"""Lives of a model's process that begin late, for `reasoner.isolated` to start instead of its own."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

from reasoner.config import ReasonerConfig
from reasoner.isolated import serve

LATE_S = 4.0


def serve_late(pipe: Connection, config: ReasonerConfig) -> None:
    """As a large model from a cold disk."""
    time.sleep(LATE_S)
    serve(pipe, config)


def never_serve(pipe: Connection, config: ReasonerConfig) -> None:
    """As one whose loading hangs."""
    time.sleep(600)
