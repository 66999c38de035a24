"""What the models do on labelled recordings of real cameras: a manifest of clips through the line, nothing rendered.

The manifest is a JSON list of `{"file", "events": [{"label", "start_s", "end_s", "alert"}]}`; `file` is relative to it,
times are seconds from the first picture, `alert` is "yes" for what an operator wants to know, "no" for what is ordinary
and anything else for what depends on the site. An event counts as told when an alert has its onset within it, give or
take two seconds, whatever the alert's category; its category is listed beside. An alert near no event that wants one is
false, unless all that is near depends on the site.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bench import report

AROUND_S = 2.0
SCHEMA_FILE = Path(__file__).with_name("recordings.schema.json")

Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class LabelledEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a person saw happen. Fields that are not named here are ignored."""

    label: str
    start_s: float
    end_s: float
    alert: str

    def near(self, onset_s: float) -> bool:
        return self.start_s - AROUND_S <= onset_s <= self.end_s + AROUND_S


class LabelledClip(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    events: tuple[LabelledEvent, ...] = ()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An alert on a recording."""

    category: str
    onset_s: float
    """Seconds from the first picture."""
    p: Unit
    decision: Literal["confirmed", "needs_review", "rejected"]


class ClipFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One recording."""

    file: str
    """As the manifest has it."""
    seconds: Amount
    windows: Count
    """That the reasoner judged."""
    wanted: Count
    """Events that want an alert."""
    told: Count
    """Those of them with an alert within them, give or take AROUND_S."""
    false: Count
    """Alerts near no event that wants one or depends on the site."""
    events: tuple[str, ...]
    """The wanted ones: label, and from when to when."""
    alerts: tuple[Told, ...]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the clips; `schema()` of what is printed is generated from it."""

    scorer: str
    """Name of the model."""
    precision: str
    """What its engine computed in, as `fp32`, whatever was asked for."""
    wanted: Count
    told: Count
    false: Count
    minutes: Amount
    clips: tuple[ClipFigures, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="JSON list of labelled clips")
    parser.add_argument("--model", default="bundled", metavar="FOLDER", help="the reasoner (default: the bundled one)")
    parser.add_argument("--scorer", default="bundled", metavar="FOLDER", help="the scorer (default: the bundled one)")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "int8"), default="auto", help="of the scorer (default: auto)"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Raises SystemExit with one line for a manifest, a clip or a model that cannot be read. Before any clip is played
    all are looked for, and so is a rule that both models serve."""
    from bench.accuracy.models import Models, Wanted
    from deploy.config import DEMO_RULES, load_rules
    from detector.errors import DetectorError
    from detector.scorer import unserved
    from reasoner.errors import ReasonerError

    clips = labelled(options.manifest)
    try:
        rules = load_rules(DEMO_RULES)
        models = Models(Wanted(scorer=options.scorer, reasoner=options.model, rules=rules, precision=options.precision))
    except (DetectorError, ReasonerError) as error:
        raise SystemExit(f"python -m bench recordings: {error}") from None
    if not models.rules:
        reason = unserved(rules[0], models.folder) or models.reasoner.supports(rules[0])
        raise SystemExit(f"python -m bench recordings: the models serve no rule, so that nothing is told: {reason}")
    rows = [_row(clip, options.manifest.parent / clip.file, models) for clip in clips]
    figures = Figures(
        scorer=models.folder.record.name,
        precision=models.precision,
        wanted=sum(row.wanted for row in rows),
        told=sum(row.told for row in rows),
        false=sum(row.false for row in rows),
        minutes=round(sum(row.seconds for row in rows) / 60, 2),
        clips=tuple(rows),
    )
    found: dict[str, Any] = msgspec.to_builtins(figures)
    return found


def labelled(manifest: Path) -> list[LabelledClip]:
    """The manifest's clips, each with a file. Raises SystemExit with one line."""
    try:
        clips = msgspec.json.decode(manifest.read_bytes(), type=list[LabelledClip])
    except OSError as error:
        raise SystemExit(f"{manifest}: {error.strerror}; give a JSON list of clips with their events") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise SystemExit(f"{manifest}: {error}; give a JSON list of clips with their events") from None
    for number, clip in enumerate(clips, start=1):
        if not (manifest.parent / clip.file).is_file():
            raise SystemExit(
                f"{manifest}: clip {number}: there is no {manifest.parent / clip.file}; add the file, or take it out"
            )
    return clips


def _row(clip: LabelledClip, path: Path, models: Any) -> ClipFigures:
    from bench.accuracy.camera import EPOCH_NS
    from bench.accuracy.line import opened
    from deploy.reporter import raised
    from ingest.simulator.errors import FootageRefused
    from ingest.simulator.stream import Stream

    try:
        stream = Stream.from_file(path)
    except FootageRefused as error:
        raise SystemExit(f"python -m bench recordings: {error}") from None
    with opened(models, stream, "recording") as (_, line):
        played = line.play()
    found = [raised(one.published, EPOCH_NS) for one in played.judged if one.published is not None]
    told = tuple(
        Told(
            category=one.category,
            onset_s=round(one.alert.onset, 1),
            p=round(one.alert.confidence, 2),
            decision=one.alert.decision,
        )
        for one in found
    )
    wanted, hits, false = counted(clip.events, told)
    return ClipFigures(
        file=clip.file,
        seconds=round(stream.duration_s, 1),
        windows=len(played.judged),
        wanted=len(wanted),
        told=len(hits),
        false=len(false),
        events=tuple(f"{event.label} {event.start_s:g}-{event.end_s:g}" for event in wanted),
        alerts=told,
    )


def counted(
    events: Sequence[LabelledEvent], alerts: Sequence[Told]
) -> tuple[list[LabelledEvent], list[LabelledEvent], list[Told]]:
    """Events that want an alert, those of them that are told, and false alerts."""
    wanted = [event for event in events if event.alert == "yes"]
    open_ones = [event for event in events if event.alert not in ("yes", "no")]
    told = [event for event in wanted if any(event.near(one.onset_s) for one in alerts)]
    false = [one for one in alerts if not any(event.near(one.onset_s) for event in (*wanted, *open_ones))]
    return wanted, told, false


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line per clip, then the sum."""
    for row in figures["clips"]:
        alerts = ", ".join(f"{a['category']} at {a['onset_s']} s ({a['p']}, {a['decision']})" for a in row["alerts"])
        wanted = f"wanted {', '.join(row['events'])}" if row["events"] else "nothing wanted"
        yield f"{row['file']} ({row['seconds']:g} s, {row['windows']} windows): {wanted}; {alerts or 'no alert'}"
    yield (
        f"{figures['told']} of {figures['wanted']} told, {figures['false']} false in {figures['minutes']} minutes; "
        f"scorer {figures['scorer']} in {figures['precision']}"
    )


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "recordings", "Alerts on labelled recordings")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
