"""Plots as inline SVG: text in, text out. Colours come from the page's variables, so that both its themes fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 760
LEFT, RIGHT = 210, 88
ROW = 26
TOP, BOTTOM = 12, 26
LINE_HEIGHT = 250


class Row(NamedTuple):
    """One line of a dot plot."""

    label: str
    points: Mapping[float, float]
    """Value by place, as images/s by batch."""
    limit: float | None
    of_this: bool
    """The limit is that of what was measured."""


def dots(rows: Sequence[Row], unit: str, axis: str) -> str:
    """Values of several kinds on a logarithmic axis, a tick where the limit is. rows: each with a point above 0."""
    values = [value for row in rows for value in row.points.values() if value > 0]
    values += [row.limit for row in rows if row.limit]
    low, high = decades(min(values), max(values))
    places = sorted({place for row in rows for place in row.points})
    height = TOP + ROW * len(rows) + BOTTOM

    def x(value: float) -> float:
        share = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    parts = [_grid(x(tick), height, number(tick)) for tick in ticks(low, high)]
    for index, row in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        known = {place: value for place, value in row.points.items() if value > 0}
        parts.append(_text(LEFT - 12, y + 4, row.label, "label", "end"))
        parts.append(f'<line class="rail" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if row.limit:
            kind = "limit" if row.of_this else "limit far"
            title = f"<title>limit {number(row.limit)} {escape(unit)}</title>"
            at = x(row.limit)
            parts.append(
                f'<g>{title}<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}"/></g>'
            )
        for place, value in sorted(known.items(), reverse=True):
            title = f"<title>{escape(axis)} {place:g}: {number(value)} {escape(unit)}</title>"
            colour = f"c{places.index(place) % 4}"
            parts.append(f'<g>{title}<circle class="{colour}" cx="{x(value):.1f}" cy="{y:.1f}" r="5.5"/></g>')
        best = max(known.values())
        parts.append(_text(WIDTH - RIGHT + 10, y + 4, number(best), "value"))
    legend = "".join(
        f'<span><i class="key c{index % 4}"></i>{escape(axis)} {place:g}</span>' for index, place in enumerate(places)
    )
    if any(row.limit for row in rows):
        legend += '<span><i class="key tick"></i>limit</span>'
    return _figure(parts, height, f"{unit}, logarithmic; the best at the right", legend)


def bars(rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Values from 0."""
    top = rounded_up(max(value for _, value in rows))
    height = TOP + ROW * len(rows) + BOTTOM
    scale = (WIDTH - LEFT - RIGHT) / top
    parts = [_grid(LEFT + tick * scale, height, number(tick)) for tick in (0, top / 4, top / 2, top * 3 / 4, top)]
    for index, (label, value) in enumerate(rows):
        y = TOP + ROW * index
        parts.append(_text(LEFT - 12, y + ROW / 2 + 4, label, "label", "end"))
        long = max(1.0, value * scale)
        parts.append(f'<rect class="c0" x="{LEFT}" y="{y + 5}" width="{long:.1f}" height="{ROW - 10}" rx="2"/>')
        parts.append(_text(LEFT + value * scale + 8, y + ROW / 2 + 4, number(value), "value"))
    return _figure(parts, height, unit, "")


def curves(
    named: Mapping[str, Sequence[tuple[float, float]]], bound: float, bound_name: str, unit: str, axis: str
) -> str:
    """Points of several series over a count, joined, with a line that must not be crossed. named: none empty."""
    points = [point for series in named.values() for point in series]
    top = rounded_up(max(bound * 1.15, *(value for _, value in points)))
    places = sorted({place for place, _ in points})
    left, height = 52, LINE_HEIGHT
    floor = height - BOTTOM

    def x(place: float) -> float:
        # Counts are doubled: their order is what matters.
        share = 0.5 if len(places) == 1 else places.index(place) / (len(places) - 1)
        return left + 40 + share * (WIDTH - left - 80 - RIGHT)

    def y(value: float) -> float:
        return floor - value / top * (floor - TOP)

    parts = []
    for step in range(5):
        value = top * step / 4
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(left - 8, y(value) + 4, number(value), "tick", "end"))
    parts += [_text(x(place), floor + 18, f"{place:g}", "tick", "middle") for place in places]
    parts.append(f'<line class="limit" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y(bound):.1f}" y2="{y(bound):.1f}"/>')
    parts.append(_text(WIDTH - RIGHT + 8, y(bound) + 4, bound_name, "value"))
    for index, series in enumerate(named.values()):
        path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in sorted(series))
        parts.append(f'<polyline class="line s{index % 4}" points="{path}"/>')
        for place, value in series:
            title = f"<title>{place:g} {escape(axis)}: {number(value)} {escape(unit)}</title>"
            parts.append(f'<g>{title}<circle class="c{index % 4}" cx="{x(place):.1f}" cy="{y(value):.1f}" r="5"/></g>')
            # The first series lies below the others: its numbers go below its points.
            parts.append(_text(x(place), y(value) + (20 if index == 0 else -10), number(value), "value", "middle"))
    legend = "".join(f'<span><i class="key c{index % 4}"></i>{escape(name)}</span>' for index, name in enumerate(named))
    return _figure(parts, height, f"{unit}, by {axis}", legend)


def decades(low: float, high: float) -> tuple[float, float]:
    """The axis of a logarithmic plot: from and to 1, 2 or 5 times a power of ten, a step beyond both ends."""
    return _step(low * 0.85, up=False), _step(high * 1.1, up=True)


def _step(value: float, *, up: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * each for each in (1, 2, 5, 10)]
    return next(each for each in steps if each >= value) if up else max(each for each in steps if each <= value)


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two ends; where these are many, the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**power * each for power in powers for each in (1, 2, 5)]
    found = [each for each in found if low * 0.999 <= each <= high * 1.001]
    return found if len(found) <= 8 else [each for each in found if math.log10(each) % 1 < 1e-9]


def rounded_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten: quarters of it are round as well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * each for each in (1, 2, 4, 8, 10) if power * each >= value)


def number(value: float) -> str:
    """Three digits, or all of those before the point, in groups of three."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _grid(x: float, height: int, text: str) -> str:
    bottom = height - BOTTOM
    line = f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
    return line + _text(x, bottom + 18, text, "tick", "middle")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _figure(parts: Sequence[str], height: int, caption: str, legend: str) -> str:
    body = "".join(parts)
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(caption)}">{body}</svg>'
        f"<figcaption><span>{escape(caption)}</span>{legend}</figcaption></figure>"
    )
