"""The report for people: one HTML file that needs nothing else, its plots inline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from bench.edge.plot import Row, bars, curves, dots, number
from bench.edge.power import told as told_power
from bench.edge.record import Figure, Figures, Part
from bench.edge.reference import rows as reference_rows

CSS_FILE = Path(__file__).with_name("page.css")
TONE = {"ran": "good", "failed": "bad", "stopped": "bad", "not run": ""}


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
            *(_part(part) for part in run.parts),
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
    return f"<div class='tags'>{''.join(_tag(kind, text) for kind, text in tags)}</div>"


def _tag(kind: str, text: str) -> str:
    return f"<span class='tag {kind}'>{escape(text)}</span>"


def _tiles(run: Figures) -> str:
    """The figures that a reader looks for first."""
    parts = {part.name: part for part in run.parts}
    tiles = [
        _tile(parts.get("nvdec"), ("streams", "streams/core"), "decoded in real time"),
        _tile(parts.get("vit"), ("images/s", "images/s of a core"), "scored, at best"),
        _tile(parts.get("reasoner"), ("windows/s",), "reasoned about, at best"),
        _tile(parts.get("cameras"), ("cameras",), "at p95 ≤ 3 s, nothing shed"),
        _power_tile(run.parts),
    ]
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _tile(part: Part | None, units: Sequence[str], text: str) -> str:
    """The best value in the first of the units that has one."""
    for unit in units:
        known = [figure for figure in part.figures if figure.unit == unit and figure.value is not None] if part else []
        if known:
            best = max(known, key=lambda figure: figure.value or 0.0)
            assert best.value is not None
            name = f"{best.group}, {best.series}" if unit != "cameras" else f"tried {best.details['tried']}"
            return _tiled(text, f"<b>{number(best.value)} <small>{escape(unit)}</small></b>", name)
    reason = "this part was not asked for" if part is None else part.reason or "no figure"
    return _tiled(text, "<b class='none'>not run</b>", reason)


def _tiled(above: str, value: str, below: str) -> str:
    return f"<div class='tile'><span>{escape(above)}</span>{value}<span>{escape(below)}</span></div>"


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


def _part(part: Part) -> str:
    reason = f"<p class='soft'>{escape(part.reason)}</p>" if part.reason else ""
    shown = "".join(_group(part, name, list(figures)) for name, figures in groupby(part.figures, lambda f: f.group))
    if part.name == "cameras":
        shown = _curves(part) + shown
    return (
        f"<section><div class='head'><h2>{escape(part.title)}</h2>{_tag(TONE[part.status], part.status)}</div>"
        f"<p class='about'>{escape(part.about)}</p>{reason}{shown}"
        f"<div class='foot'>{escape(told_power(part.power) if part.power else 'power: not run')}. "
        f"Took {part.seconds:.0f} s, load {part.load:.1f} at its start. "
        f"<code>{escape(part.command)}</code></div></section>"
    )


def _group(part: Part, name: str, figures: list[Figure]) -> str:
    head = "" if part.name == "cameras" else f"<h3>{escape(name)}</h3>"
    plot = "" if part.name == "cameras" else "".join(_plots(part, figures))
    return f"{head}{plot}{_table(part, figures)}"


def _plots(part: Part, figures: list[Figure]) -> Iterator[str]:
    """One per unit: what has several places is drawn over them, the rest as bars."""
    for unit in dict.fromkeys(figure.unit for figure in figures):
        known = [figure for figure in figures if figure.unit == unit and figure.value]
        if len(known) < 2:
            continue
        if len({figure.at for figure in known}) < 2 and not any(figure.limit for figure in known):
            yield bars([(figure.series, figure.value or 0.0) for figure in known], unit)
            continue
        rows = []
        for series in dict.fromkeys(figure.series for figure in known):
            own = [figure for figure in known if figure.series == series]
            # With several callers the limit is another for each; the highest is drawn.
            limit = max((figure.limit for figure in own if figure.limit), key=lambda each: each.value, default=None)
            points = {figure.at or 1.0: figure.value or 0.0 for figure in own}
            rows.append(Row(series, points, limit.value if limit else None, bool(limit and limit.here)))
        yield dots(rows, unit, part.axis)


def _curves(part: Part) -> str:
    named: dict[str, list[tuple[float, float]]] = {}
    for figure in part.figures:
        if figure.unit == "s" and figure.value is not None and figure.at is not None:
            named.setdefault(figure.series, []).append((figure.at, figure.value))
    return curves(named, 3.0, "3 s", "s from event to alert", part.axis) if named else ""


def _table(part: Part, figures: list[Figure]) -> str:
    rows, told = "", ""
    for figure in figures:
        formula = "" if figure.limit is None else f"limit of {figure.limit.of}: {figure.limit.formula}"
        # What a row shares with the one above is not said again.
        rows += _row(figure, "" if formula == told else formula)
        told = formula
    heads = ("", part.axis, "measured", "limit", "of the limit", "")
    kinds = ("", " class='n'", " class='n'", " class='n'", " class='share'", "")
    head = "".join(f"<th{kind}>{escape(text)}</th>" for text, kind in zip(heads, kinds, strict=True))
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _row(figure: Figure, formula: str) -> str:
    at = "" if figure.at is None else f"{figure.at:g}"
    limit = "–"
    if figure.limit is not None:
        limit = f"{'≥' if figure.limit.floor else '≤'} {number(figure.limit.value)}"
    formula = f"<small>{escape(formula)}</small>" if formula else ""
    if figure.value is None:
        return (
            f"<tr class='none'><td>{escape(figure.series)}</td><td class='n'>{at}</td><td class='n'>not run</td>"
            f"<td class='n'>{limit}</td><td></td><td>{escape(figure.not_run)}{formula}</td></tr>"
        )
    share = ""
    if figure.share is not None:
        percent = 100 * figure.share
        share = f"{percent:.0f} %<span class='meter'><i style='width:{min(100.0, percent):.1f}%'></i></span>"
    details = "; ".join(f"{key.replace('_', ' ')} {_detail(value)}" for key, value in figure.details.items())
    return (
        f"<tr><td>{escape(figure.series)}</td><td class='n'>{at}</td>"
        f"<td class='n'><b>{number(figure.value)}</b> {escape(figure.unit)}</td><td class='n'>{limit}</td>"
        f"<td class='share'>{share}</td><td><small>{escape(details)}</small>{formula}</td></tr>"
    )


def _detail(value: float | int | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


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
