"""One part of the run as a section of the report: what was measured, drawn and listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from bench.edge.plot import Row, bars, curves, dots, number
from bench.edge.power import told as told_power
from bench.edge.record import Figure, Part

TONE = {"ran": "good", "failed": "bad", "stopped": "bad", "not run": ""}


def tag(kind: str, text: str) -> str:
    return f"<span class='tag {kind}'>{escape(text)}</span>"


def section(part: Part) -> str:
    reason = f"<p class='soft'>{escape(part.reason)}</p>" if part.reason else ""
    groups = [(name, list(figures)) for name, figures in groupby(part.figures, lambda figure: figure.group)]
    measured = [(name, figures) for name, figures in groups if any(figure.value is not None for figure in figures)]
    shown = "".join(_group(part, name, figures) for name, figures in measured)
    shown += _absent([figure for name, figures in groups if (name, figures) not in measured for figure in figures])
    if part.name == "cameras":
        shown = _curves(part) + shown
    return (
        f"<section><div class='head'><h2>{escape(part.title)}</h2>{tag(TONE[part.status], part.status)}</div>"
        f"<p class='about'>{escape(part.about)}</p>{reason}{shown}"
        f"<div class='foot'>{escape(told_power(part.power) if part.power else 'power: not run')}. "
        f"Took {part.seconds:.0f} s, load {part.load:.1f} at its start. "
        f"<code>{escape(part.command)}</code></div></section>"
    )


def _group(part: Part, name: str, figures: list[Figure]) -> str:
    head = "" if part.name == "cameras" else f"<h3>{escape(name)}</h3>"
    plot = "" if part.name == "cameras" else "".join(_plots(part, figures))
    return f"{head}{plot}{_table(part, figures)}"


def _absent(figures: Sequence[Figure]) -> str:
    """Groups of which nothing could be measured here."""
    if not figures:
        return ""
    rows = ""
    for (group, reason), same in groupby(figures, lambda figure: (figure.group, figure.not_run)):
        series = ", ".join(dict.fromkeys(figure.series for figure in same))
        rows += (
            f"<tr class='none'><td>{escape(group)}<small>{escape(series)}</small></td><td>{escape(reason)}</td></tr>"
        )
    return f"<h3>Not run</h3><div class='wide'><table class='pair'><tbody>{rows}</tbody></table></div>"


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
    return f"<div class='wide'><table class='figures'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


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
    details = "; ".join(f"{key.replace('_', ' ')}: {_detail(value)}" for key, value in figure.details.items())
    return (
        f"<tr><td>{escape(figure.series)}</td><td class='n'>{at}</td>"
        f"<td class='n'><b>{number(figure.value)}</b> {escape(figure.unit)}</td><td class='n'>{limit}</td>"
        f"<td class='share'>{share}</td><td><small>{escape(details)}</small>{formula}</td></tr>"
    )


def _detail(value: float | int | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)
