"""The report for people: one HTML file that needs nothing else, its plots inline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from bench.edge.nvdec import PACED
from bench.edge.plot import number
from bench.edge.record import Figures, Part
from bench.edge.reference import rows as reference_rows
from bench.edge.section import section, tag

CSS_FILE = Path(__file__).with_name("page.css")


def page(record: dict[str, Any]) -> str:
    """record: as it is written as JSON, of a whole run or of one under way."""
    machine = record["machine"]
    run = msgspec.convert({key: value for key, value in record.items() if key not in ("bench", "machine")}, Figures)
    where = run.box.gpu or f"{machine['cpu']}, {machine['cores']} cores, no GPU"
    body = "".join(
        (
            "<h1>What one box carries</h1>",
            f"<p class='soft'>Witness on {escape(where)}; begun {escape(_when(run))}</p>",
            _tags(run),
            _tiles(run),
            *(section(part) for part in run.parts),
            _reference(),
            _machine(run, machine),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Witness on {escape(where)}</title><style>{CSS_FILE.read_text('utf-8')}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _when(run: Figures) -> str:
    return datetime.fromisoformat(run.started_utc).strftime("%Y-%m-%d %H:%M UTC")


def _tags(run: Figures) -> str:
    tags = [("", f"device {run.device}"), ("", "quick run" if run.quick else "full run")]
    if not run.finished:
        tags.append(("bad", "not finished"))
    if run.busy:
        tags.append(("bad", "busy machine: times are upper bounds"))
    return f"<div class='tags'>{''.join(tag(kind, text) for kind, text in tags)}</div>"


def _tiles(run: Figures) -> str:
    """The figures that a reader looks for first."""
    parts = {part.name: part for part in run.parts}
    tiles = [
        _tile(parts.get("nvdec"), ("streams", "streams/core"), "decoded in real time", {"streams": PACED}),
        _tile(parts.get("vit"), ("images/s", "images/core-s"), "scored, at best"),
        _tile(parts.get("reasoner"), ("windows/s",), "reasoned about, at best"),
        _tile(parts.get("cameras"), ("cameras",), "at p95 ≤ 3 s, nothing shed or dropped"),
        _power_tile(run.parts),
    ]
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _tile(part: Part | None, units: Sequence[str], text: str, only: Mapping[str, str] = MappingProxyType({})) -> str:
    """The best value in the first of the units that has one. only: the one series that counts in a unit."""
    for unit in units:
        of_unit = [figure for figure in part.figures if figure.unit == unit] if part else []
        counted = [figure for figure in of_unit if only.get(unit, figure.series) == figure.series]
        known = [figure for figure in counted if figure.value is not None]
        if known:
            best = max(known, key=lambda figure: figure.value or 0.0)
            assert best.value is not None
            name = f"{best.group}, {best.series}" if unit != "cameras" else f"tried {best.details['tried']}"
            return _tiled(text, f"<b>{number(best.value)} <small>{escape(unit)}</small></b>", name)
    reason = "this part was not asked for" if part is None else part.reason or "no figure"
    return _tiled(text, "<b class='none'>not run</b>", reason)


def _tiled(what: str, value: str, below: str) -> str:
    return f"<div class='tile'>{value}<span class='what'>{escape(what)}</span><span>{escape(below)}</span></div>"


def _power_tile(parts: Sequence[Part]) -> str:
    powers = [part.power for part in parts if part.power is not None]
    vram = max((power.vram_peak_mib for power in powers if power.vram_peak_mib is not None), default=None)
    watts = max((power.watts_peak for power in powers if power.watts_peak is not None), default=None)
    memory = max((power.memory_peak_mib for power in powers), default=0.0)
    below = f"memory {memory / 1024:.1f} GiB at most"
    if vram is None:
        return _tiled(
            "held at most", f"<b>{memory / 1024:.1f} <small>GiB</small></b>", "all processes of a part; no GPU"
        )
    drawn = "" if watts is None else f", {watts:.0f} <small>W</small>"
    value = f"<b>{vram / 1024:.1f} <small>GiB</small>{drawn}</b>"
    return _tiled("held and drawn at most", value, f"of the card; {below}")


def _reference() -> str:
    shown = "".join(
        f"<tr><td>{escape(row.what)}</td><td class='n'><b>{escape(row.value)}</b></td>"
        f"<td><small>{escape(row.formula)}</small></td></tr>"
        for row in reference_rows()
    )
    return (
        "<section><h2>Limits of one RTX 4090</h2><p class='about'>By calculation from published peaks, products summed "
        "in fp32; nothing here was measured.</p><div class='wide'><table><thead><tr><th></th><th class='n'>limit</th>"
        f"<th></th></tr></thead><tbody>{shown}</tbody></table></div></section>"
    )


def _machine(run: Figures, machine: dict[str, Any]) -> str:
    box = run.box
    card = "none"
    if box.gpu:
        card = f"{box.gpu}, driver {box.driver}"
        card += f", {box.vram_gib:g} GiB" if box.vram_gib else ""
        card += f", at most {box.power_limit_w:.0f} W" if box.power_limit_w else ""
    versions = {"Python": machine["python"], **machine["packages"], **box.versions}
    facts = {
        "processor": f"{machine['cpu']}, {machine['cores']} cores",
        "memory": f"{box.memory_gib:g} GiB",
        "GPU": card,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version != "-"),
        "not installed": ", ".join(name for name, version in versions.items() if version == "-") or "–",
        "commit": machine["commit"] or "unknown",
        "command": run.command,
    }
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(text))}</dd>" for name, text in facts.items())
    return f"<section><h2>Machine</h2><dl>{shown}</dl></section>"
