"""What the models do on labelled recordings of real cameras: a manifest of clips through the line, nothing rendered.

The manifest is a JSON list of `{"file", "events": [{"label", "start_s", "end_s", "alert"}]}`; `file` is relative to it,
times are seconds from the first picture, `alert` is "yes" for what an operator wants to know, "no" for what is ordinary
and anything else for what depends on the site. An event counts as told when an alert has its onset within it, give or
take two seconds, whatever the alert's category; its category is listed beside. An alert near no event that wants one is
false, unless all that is near depends on the site.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

AROUND_S = 2.0


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
    p: float
    decision: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="JSON list of labelled clips")
    parser.add_argument("--model", default="bundled", metavar="FOLDER", help="the reasoner (default: the bundled one)")
    parser.add_argument("--scorer", default="bundled", metavar="FOLDER", help="the scorer (default: the bundled one)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Raises SystemExit with one line for a manifest that cannot be read."""
    from bench.accuracy.models import Models, Wanted
    from deploy.config import DEMO_RULES, load_rules

    try:
        clips = msgspec.json.decode(options.manifest.read_bytes(), type=list[LabelledClip])
    except (OSError, msgspec.DecodeError) as error:
        raise SystemExit(f"{options.manifest}: {error}; give a JSON list of clips with their events") from None
    models = Models(Wanted(scorer=options.scorer, reasoner=options.model, rules=load_rules(DEMO_RULES)))
    rows = [_row(clip, options.manifest.parent / clip.file, models) for clip in clips]
    return {
        "wanted": sum(row["wanted"] for row in rows),
        "told": sum(row["told"] for row in rows),
        "false": sum(row["false"] for row in rows),
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 2),
        "clips": rows,
    }


def _row(clip: LabelledClip, path: Path, models: Any) -> dict[str, Any]:
    from bench.accuracy.camera import EPOCH_NS
    from bench.accuracy.line import opened
    from deploy.reporter import raised
    from ingest.simulator.stream import Stream

    stream = Stream.from_file(path)
    with opened(models, stream, "recording") as (_, line):
        played = line.play()
    found = [raised(one.published, EPOCH_NS) for one in played.judged if one.published is not None]
    told = [
        Told(
            category=one.category,
            onset_s=round(one.alert.onset, 1),
            p=round(one.alert.confidence, 2),
            decision=one.alert.decision,
        )
        for one in found
    ]
    return {
        "file": clip.file,
        "seconds": round(stream.duration_s, 1),
        "windows": len(played.judged),
        **counted(clip.events, told),
        "alerts": [msgspec.to_builtins(one) for one in told],
    }


def counted(events: tuple[LabelledEvent, ...], alerts: list[Told]) -> dict[str, Any]:
    """Events that want an alert, those told, and false alerts."""
    wanted = [event for event in events if event.alert == "yes"]
    open_ones = [event for event in events if event.alert not in ("yes", "no")]
    told = [event for event in wanted if any(event.near(one.onset_s) for one in alerts)]
    false = [one for one in alerts if not any(event.near(one.onset_s) for event in (*wanted, *open_ones))]
    return {
        "wanted": len(wanted),
        "told": len(told),
        "false": len(false),
        "events": [f"{event.label} {event.start_s:g}-{event.end_s:g}" for event in wanted],
    }


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """A line per clip, then the sum."""
    for row in figures["clips"]:
        alerts = ", ".join(f"{a['category']} at {a['onset_s']} s ({a['p']}, {a['decision']})" for a in row["alerts"])
        wanted = f"wanted {', '.join(row['events'])}" if row["events"] else "nothing wanted"
        yield f"{row['file']} ({row['seconds']:g} s, {row['windows']} windows): {wanted}; {alerts or 'no alert'}"
    yield f"{figures['told']} of {figures['wanted']} told, {figures['false']} false in {figures['minutes']} minutes"
