"""`python -m bench.edge.child PART ASK`: one part, a figure a line. Started by bench/edge/part.py."""

from __future__ import annotations

import importlib
import os
import sys

import msgspec

from bench.edge.record import Ask


def main() -> int:
    name, ask = sys.argv[1], msgspec.json.decode(sys.argv[2], type=Ask)
    # What libraries print must not come between the figures.
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        module = importlib.import_module(f"bench.edge.{name}")
        try:
            for figure in module.figures(ask, lambda text: print(text, file=sys.stderr, flush=True)):
                out.write(msgspec.json.encode(figure) + b"\n")
        except Exception as error:  # noqa: BLE001 - the last line of a part that failed, whatever it failed of
            print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", file=sys.stderr, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
