"""The `witness` command: one function per subcommand, each imports what it needs when it runs.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration. Errors are one line on stderr.
"""

from __future__ import annotations

import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from deploy.arguments import parse
from deploy.models import ACTIONS, Action

STUCK = ("reason-", "score-")
"""Names of the threads in which models run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = parse(argv)
    try:
        return _left(COMMANDS[arguments.command](arguments))
    except KeyboardInterrupt:
        return _fail("interrupted", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        from deploy.errors import exit_status, one_line
        from deploy.secret import Redaction

        return _fail(Redaction()(one_line(error)), exit_status(error))


def _left(status: int) -> int:
    """A stage that outlived the drain may be deep inside a model: a normal exit under it would end in an abort."""
    if any(thread.daemon and thread.name.startswith(STUCK) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _fail(text: str, status: int) -> int:
    print(f"witness: {text}", file=sys.stderr)
    return status


def say(text: str) -> None:
    """A line on stdout, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line on stderr: progress, and what a person should know."""
    print(text, file=sys.stderr, flush=True)


def _say_all(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def demo(arguments: Namespace) -> int:
    from deploy.demo import Wanted, run_demo
    from deploy.screen import summary_lines

    wanted = Wanted(
        seconds=arguments.seconds,
        cameras=arguments.cameras,
        seed=arguments.seed,
        data=arguments.data,
        port=arguments.port,
        console=not arguments.no_console,
        kafka=arguments.kafka,
        debug=arguments.debug,
    )
    summary = run_demo(wanted, say, note)
    _say_all(summary_lines(summary, truth=True))
    if arguments.json:
        say(msgspec.json.encode(summary).decode())
    return 0


def run(arguments: Namespace) -> int:
    from deploy.live import run_live
    from deploy.screen import summary_lines

    summary = run_live(arguments.config, arguments.seconds, say, note, debug=arguments.debug)
    _say_all(summary_lines(summary, truth=False))
    if arguments.json:
        say(msgspec.json.encode(summary).decode())
    return 0


def check(arguments: Namespace) -> int:
    from deploy.check import examine
    from deploy.config import load
    from deploy.screen import table
    from deploy.secret import Redaction

    loaded = load(arguments.config)
    redaction = Redaction(loaded.secrets)
    rows = examine(loaded.config, probe=arguments.probe, timeout_s=arguments.timeout)
    _say_all(redaction(line) for line in table([row.cells() for row in rows]))
    failed = sum(row.state == "FAIL" for row in rows)
    say(f"{failed} of {len(rows)} do not work" if failed else f"all {len(rows)} work")
    return 1 if failed else 0


def ask(arguments: Namespace) -> int:
    from reasoner.ask import ask as ask_video
    from reasoner.ask import render
    from reasoner.config import ReasonerConfig

    config = ReasonerConfig(model=arguments.model)
    result = ask_video(arguments.video, arguments.question, config, arguments.lang, arguments.fps)
    say(msgspec.json.encode(result).decode() if arguments.json else render(result, arguments.lang))
    return 0


def simulate(arguments: Namespace) -> int:
    from deploy.simulate import Wanted, render_scenes, serve

    if arguments.fault == "list":
        from ingest.simulator.faults import FAULTS

        _say_all(FAULTS)
    elif arguments.sheet is not None:
        from ingest.simulator.sheet import contact_sheet

        contact_sheet(arguments.sheet, arguments.seed)
        say(str(arguments.sheet))
    elif arguments.render is not None:
        _say_all(render_scenes(arguments.render, arguments.clips, arguments.seed, arguments.seconds, note))
    else:
        wanted = Wanted(
            port=arguments.port,
            cameras=arguments.cameras,
            seed=arguments.seed,
            seconds=arguments.seconds,
            files=tuple(arguments.files or ()),
            fault=arguments.fault,
        )
        serve(wanted, say, note)
    return 0


def alerts_list(arguments: Namespace) -> int:
    from deploy import archive

    with archive.open_store(arguments) as store:
        for alert in store.alerts(arguments.limit):
            say(archive.as_json(alert) if arguments.json else archive.line(alert))
    return 0


def alerts_show(arguments: Namespace) -> int:
    from deploy import archive

    with archive.open_store(arguments) as store:
        alert = archive.find(store, arguments.alert_id)
        _say_all([archive.as_json(alert)] if arguments.json else archive.lines(store, alert))
    return 0


def alerts_media(arguments: Namespace) -> int:
    from deploy import archive

    with archive.open_store(arguments) as store:
        alert = archive.find(store, arguments.alert_id)
        written = [str(path) for path in archive.write_media(store, alert, arguments.out)]
    _say_all([msgspec.json.encode(written).decode()] if arguments.json else written)
    return 0


def alerts_verify(arguments: Namespace) -> int:
    from alerts.verify import verify
    from deploy import archive

    with archive.open_store(arguments) as store:
        disagreements = verify(store)
    if arguments.json:
        say(msgspec.json.encode(disagreements).decode())
    else:
        _say_all(archive.disagreement_lines(disagreements))
    return 1 if disagreements else 0


def alerts_review(arguments: Namespace) -> int:
    from deploy import archive

    with archive.open_store(arguments, reviewing=True) as store:
        alert = archive.review(store, arguments.alert_id, arguments.verdict, arguments.by, arguments.note)
    say(archive.as_json(alert) if arguments.json else archive.line(alert))
    return 0


def alerts_export(arguments: Namespace) -> int:
    from alerts.export import export
    from deploy import archive

    with archive.open_store(arguments) as store:
        made = export(store, arguments.out, arguments.format)
    _say_all([msgspec.json.encode(made).decode()] if arguments.json else archive.export_lines(made))
    return 1 if made.left_out else 0


def _models(action: Action, arguments: Namespace) -> int:
    return action.run(arguments, say, note)


def train_scorer(arguments: Namespace) -> int:
    from deploy.config import load_table
    from detector.config import ScorerTrainConfig

    config = load_table(arguments.config, ScorerTrainConfig)
    _begin(arguments)
    from detector.train import train

    say(msgspec.json.encode(train(config, arguments.out or Path("runs/scorer"), arguments.resume)).decode())
    return 0


def train_sft(arguments: Namespace) -> int:
    from deploy.config import keys, load_table
    from reasoner.train.config import SftConfig
    from reasoner.train.finetune_config import FinetuneConfig

    out = arguments.out or Path("runs/sft")
    if "rows" in keys(arguments.config):
        released = load_table(arguments.config, FinetuneConfig)
        _begin(arguments)
        from reasoner.train.finetune import finetune

        finetune(released, out, arguments.resume)
    else:
        config = load_table(arguments.config, SftConfig)
        _begin(arguments)
        from reasoner.train.sft import train

        train(config, out, arguments.resume)
    say(str(out))
    return 0


def train_gspo(arguments: Namespace) -> int:
    from deploy.config import load_table
    from reasoner.train.gspo_config import GspoConfig

    config = load_table(arguments.config, GspoConfig)
    out = arguments.out or Path("runs/gspo")
    _begin(arguments)
    from reasoner.train.gspo import train

    train(config, out, arguments.resume)
    say(str(out))
    return 0


def _begin(arguments: Namespace) -> None:
    """Messages of the rooms on stderr."""
    from deploy import logs
    from deploy.secret import Redaction

    logs.set_up(Redaction(), debug=arguments.debug)


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "demo": demo,
    "run": run,
    "check": check,
    "ask": ask,
    "simulate": simulate,
    "alerts_list": alerts_list,
    "alerts_show": alerts_show,
    "alerts_media": alerts_media,
    "alerts_verify": alerts_verify,
    "alerts_review": alerts_review,
    "alerts_export": alerts_export,
    **{f"models_{action.name}": partial(_models, action) for action in ACTIONS},
    "train_scorer": train_scorer,
    "train_sft": train_sft,
    "train_gspo": train_gspo,
}

if __name__ == "__main__":
    sys.exit(main())
