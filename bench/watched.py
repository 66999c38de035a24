"""`python -m bench.watched SECONDS CAMERAS SEED DATA ENGINES`: the demo, and what its summary does not tell.

The same call as `witness demo --no-console`; one JSON object on the last line. Started by bench/latency.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from deploy.summary import Summary

if TYPE_CHECKING:
    from deploy.pipeline import Pipeline


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the demo."""

    summary: Summary
    engine: str
    """What the scorer's image tower ran on, as `onnx (CPU)`."""
    dropped_frames: int
    """Coarse frames given up because the scorer's inbox was full."""
    unscored_frames: int
    """Coarse frames that the scorer could not take."""


def told(line: Pipeline, summary: Summary) -> Watched:
    """Of a line that has ended."""
    (score,) = (link for link in line.runner.links if link.name == "score")
    return Watched(
        summary=summary,
        engine=line.engine,
        dropped_frames=sum(inbox.dropped for inbox in score.inboxes),
        unscored_frames=line.unscored,
    )


def main() -> int:
    from deploy.cli import note
    from deploy.demo import Wanted, run_demo

    seconds, cameras, seed, data, engines = sys.argv[1:]
    wanted = Wanted(
        seconds=float(seconds),
        cameras=int(cameras),
        seed=int(seed),
        data=Path(data),
        port=None,
        console=False,
        kafka=None,
        debug=False,
        engines=engines,
    )
    lines: list[Pipeline] = []
    # What libraries print must not come behind the result.
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        summary = run_demo(wanted, note, note, lines.append)
        out.write(msgspec.json.encode(told(lines[0], summary)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
