"""The command line's grammar. Light: nothing here imports a room."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from deploy.models import ACTIONS

DESCRIPTION = "Watches live cameras and raises alerts that prove themselves: what, when, where and how sure."


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and leaves with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


Commands: TypeAlias = "argparse._SubParsersAction[OneLineParser]"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """`command` names the function of deploy.cli that serves it."""
    return parser().parse_args(argv)


def parser() -> OneLineParser:
    top = OneLineParser("witness", description=DESCRIPTION)
    top.set_defaults(debug=False)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _demo(
        _add(commands, "demo", "simulated cameras with known events, the whole line, and a summary against the truth")
    )
    run = _add(commands, "run", "watch the cameras of a configuration")
    run.add_argument("config", type=Path, metavar="CONFIG", help="TOML file, see deploy/examples")
    _ending(run)
    check = _add(commands, "check", "validate a configuration; with --probe, open every camera, model and broker")
    check.add_argument("config", type=Path, metavar="CONFIG")
    check.add_argument("--probe", action="store_true", help="try every camera, model, broker and port for real")
    check.add_argument("--timeout", type=positive, default=10.0, metavar="S", help="for each probe (default: 10)")
    _ask(_add(commands, "ask", "one recorded video, one question: answer, evidence, confidence"))
    _simulate(_add(commands, "simulate", "just the simulated cameras, or their scenes as files"))
    _alerts(_add(commands, "alerts", "the store: look, export, check"))
    _models(_add(commands, "models", "the models that are here, and fetching others"))
    _train(_add(commands, "train", "train a model on the synthetic scenes"))
    return top


def _add(commands: Commands, name: str, text: str) -> OneLineParser:
    one = commands.add_parser(name.rsplit(" ", 1)[-1], help=text, description=text[0].upper() + text[1:] + ".")
    one.set_defaults(command=name.replace(" ", "_"))
    one.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks and debug messages on stderr"
    )
    return one


def _ending(one: OneLineParser) -> None:
    one.add_argument("--seconds", type=positive, metavar="N", help="stop after N seconds (default: run until Ctrl-C)")
    one.add_argument("--json", action="store_true", help="print the summary as one JSON object on the last line")


def _demo(one: OneLineParser) -> None:
    _ending(one)
    one.add_argument("--cameras", type=count, default=2, metavar="N", help="simulated cameras (default: 2)")
    one.add_argument("--seed", type=int, default=1, metavar="N", help="of the scenes (default: 1)")
    one.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="the store (default: ./data)")
    one.add_argument("--port", type=port, metavar="P", help="of the console (default: 8080, or the next free one)")
    one.add_argument("--no-console", action="store_true", help="serve no page")
    one.add_argument("--kafka", metavar="HOST:PORT", help="publish the alerts to this broker")


def _ask(one: OneLineParser) -> None:
    one.add_argument("video", type=Path, metavar="VIDEO")
    one.add_argument("question", metavar="QUESTION")
    one.add_argument(
        "--model", default="bundled", metavar="M", help="bundled, a folder or a hub name (default: bundled)"
    )
    one.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the answer (default: en)")
    one.add_argument(
        "--fps", type=positive, metavar="F", help="frames per second, where the file's own figure is wrong"
    )
    one.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _simulate(one: OneLineParser) -> None:
    one.add_argument("--port", type=port, default=8554, metavar="P", help="of the RTSP server (default: 8554)")
    one.add_argument("--cameras", type=count, default=2, metavar="N", help="simulated cameras (default: 2)")
    one.add_argument("--seed", type=int, default=1, metavar="N", help="of the scenes (default: 1)")
    one.add_argument(
        "--seconds",
        type=positive,
        metavar="N",
        help="stop after N seconds (default: run until Ctrl-C); with --render: of each scene (default: 20 to 40)",
    )
    one.add_argument("--files", nargs="+", type=Path, metavar="FILE", help="serve these recordings instead of scenes")
    one.add_argument(
        "--sheet", type=Path, metavar="PNG", help="write a contact sheet of every event and look-alike instead"
    )
    one.add_argument("--fault", metavar="NAME", help="misbehave in this way; `--fault list` names them")
    one.add_argument(
        "--render", type=Path, metavar="DIR", help="write scenes as MP4 files with truth.json, serve nothing"
    )
    one.add_argument("--clips", type=count, metavar="N", help="scenes to write (default: 4)")


def _alerts(one: OneLineParser) -> None:
    actions = one.add_subparsers(metavar="ACTION", required=True)
    for name, text in (
        ("list", "alerts, newest first; --json prints one record per line"),
        ("show", "one alert: claims, evidence, confidence, revisions"),
        ("media", "write the frames with their boxes and the clip of one alert"),
        ("verify", "check every stored hash, time and box; exit 1 when something disagrees"),
        ("review", "say what an alert really was; the node may run meanwhile"),
        ("export", "reviewed alerts as training rows, with their clips and frames"),
    ):
        action = _add(actions, f"alerts {name}", text)
        where = action.add_mutually_exclusive_group()
        where.add_argument("--data", type=Path, metavar="DIR", help="the store (default: ./data)")
        where.add_argument("--config", type=Path, metavar="CONFIG", help="take the store of this configuration")
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "list":
            action.add_argument("--limit", type=count, default=1000, metavar="N", help="at most N (default: 1000)")
        if name in ("show", "media", "review"):
            action.add_argument("alert_id", metavar="ALERT", help="id, or its first characters")
        if name == "review":
            action.add_argument("verdict", choices=("confirm", "false", "unsure", "claim", "escalate"))
            action.add_argument("--by", default="", metavar="NAME", help="who says so")
            action.add_argument("--note", default="", metavar="TEXT", help="why, in one line")
        if name == "export":
            action.add_argument("--out", type=Path, default=Path("rows"), metavar="DIR", help="default: ./rows")
            action.add_argument(
                "--format", choices=("stgr", "flat"), default="stgr", help="of the rows (default: stgr)"
            )
        if name == "media":
            action.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write (default: .)")


def _models(one: OneLineParser) -> None:
    actions = one.add_subparsers(metavar="ACTION", required=True)
    for action in ACTIONS:
        action.arguments(_add(actions, f"models {action.name}", action.text))


def _train(one: OneLineParser) -> None:
    kinds = one.add_subparsers(metavar="MODEL", required=True)
    for name, text in (
        ("scorer", "the ViT that watches"),
        ("sft", "the Qwen3-VL that looks closely"),
        ("gspo", "the same by reinforcement, from a model folder"),
    ):
        kind = _add(kinds, f"train {name}", text)
        kind.add_argument("config", type=Path, metavar="CONFIG")
        kind.add_argument("--out", type=Path, metavar="DIR", help="where the model goes (default: runs/NAME)")
        kind.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")


def positive(text: str) -> float:
    """A number of seconds or frames above zero."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 100000")
    return value


def port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port (0 to 65535)")
    return value
