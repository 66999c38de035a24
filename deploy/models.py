"""`witness models`: its actions, each a row of one table; what an action needs is imported when it runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Say = Callable[[str], None]


class Action(NamedTuple):
    """`witness models NAME`."""

    name: str
    text: str
    """What it does, for the help."""
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Say, Say], int]
    """Arguments, a line on stdout, a line on stderr → exit status."""


def _list_arguments(one: ArgumentParser) -> None:
    """None of its own."""


def _list(arguments: Namespace, say: Say, note: Say) -> int:
    from deploy.bundled import models
    from deploy.screen import table

    for line in table(models()):
        say(line)
    return 0


def _pull_arguments(one: ArgumentParser) -> None:
    one.add_argument("name", metavar="NAME", help="on the Hugging Face hub, as Qwen/Qwen3-VL-8B-Instruct")
    one.add_argument("--revision", default="main", metavar="R", help="branch, tag or commit (default: main)")
    one.add_argument("--mirror", metavar="URL", help="a site with the hub's layout (default: HF_ENDPOINT, or the hub)")
    one.add_argument("--to", type=Path, metavar="DIR", help="its folder (default: the shared model folder)")


def _pull(arguments: Namespace, say: Say, note: Say) -> int:
    from deploy.pull import pull

    say(str(pull(arguments.name, arguments.revision, arguments.mirror, arguments.to, note)))
    return 0


def _export_arguments(one: ArgumentParser) -> None:
    from deploy.export import arguments

    arguments(one)


def _export(arguments: Namespace, say: Say, note: Say) -> int:
    from deploy.export import run

    return run(arguments, say, note)


def _compile_arguments(one: ArgumentParser) -> None:
    from deploy.compile import arguments

    arguments(one)


def _compile(arguments: Namespace, say: Say, note: Say) -> int:
    from deploy.compile import run

    return run(arguments, say, note)


ACTIONS = (
    Action("list", "name, folder and categories of each model that is here", _list_arguments, _list),
    Action(
        "pull",
        "fetch a checkpoint, pinned and checked, for use without a network (FP8 forms: see check)",
        _pull_arguments,
        _pull,
    ),
    Action(
        "export",
        "a SigLIP 2 or ViT checkpoint, or a trained scorer, to a folder that every engine runs",
        _export_arguments,
        _export,
    ),
    Action(
        "compile", "a scorer's folder, to a TensorRT engine for the GPU of this machine", _compile_arguments, _compile
    ),
)
