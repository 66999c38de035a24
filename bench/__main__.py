"""python -m bench NAME [--json] [options of the benchmark]."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = {
    "accuracy": "the models on unseen scenes through the live code: precision, recall, evidence, confidence",
    "detector": "the scorer's engines against torch eager, what int8 costs in recall, what a GPU would need",
    "edge": "what one box carries: decoding, scorer, reasoner, cameras, watts, beside their limits; JSON and HTML",
    "gspo": "two reasoners, before and after reinforcement, on the same unseen windows: precision, recall, evidence",
    "ingest": "CPU of watching a 1080p25 camera against decoding every frame of it",
    "latency": "event to alert in the demo with four cameras",
    "processor": "our pictures-to-tensors against transformers' own, same result",
    "reasoner": "windows per second of the reasoner, plain generate and each switch in the same run",
    "recordings": "what the models do on labelled recordings of real cameras",
    "ring": "memory of 60 s of a 1080p camera against raw yuv420p",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks; the peer is measured beside.")
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, text in sorted(NAMES.items()):
        # A benchmark that writes files has a --json of its own.
        command = commands.add_parser(name, help=text, description=text, conflict_handler="resolve")
        command.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        importlib.import_module(f"bench.{name}").arguments(command)
    options = parser.parse_args()
    module = importlib.import_module(f"bench.{options.name}")
    from bench.report import show

    show(options.name, module.run(options), options.json in (True, "-"), getattr(module, "lines", None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
