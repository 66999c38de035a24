"""What a person reads on the terminal: alerts as they are raised, the summary, tables. Text only, no control codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.summary import Summary, SummaryAlert


def plain(text: str) -> str:
    """Text from outside without anything that a terminal would act on."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def alert_lines(alert: SummaryAlert, headline: str, published: float) -> list[str]:
    """An alert the moment it is raised, its claims indented below.

    published: seconds since the start when it was committed.
    """
    first = (
        f"{published:8.1f} s  {alert.camera}  {alert.rule}  {alert.confidence:.2f}  {alert.decision}  {plain(headline)}"
    )
    return [first, *(f"             {claim}" for claim in claim_lines(alert))]


def claim_lines(alert: SummaryAlert) -> list[str]:
    return [
        f"{plain(claim.object)} at {claim.time:.1f} s, box "
        + " ".join(f"{name}={value:.3f}" for name, value in zip(("x1", "y1", "x2", "y2"), claim.box, strict=True))
        for claim in alert.claims
    ]


def summary_lines(summary: Summary, *, truth: bool) -> list[str]:
    """The end of a run in a few lines. truth: whether there were known events to compare with."""
    windows = summary.windows
    lines = [
        f"{summary.seconds:.0f} s, {summary.cameras} cameras, {len(summary.alerts)} alerts",
        f"windows: {windows.flagged} flagged = {windows.alert} alert + {windows.rejected} rejected"
        f" + {windows.merged} merged + {windows.shed} shed",
    ]
    if truth:
        lines.append(
            f"events: {len(summary.events)} happened, {summary.matched} matched, {summary.missed} missed;"
            f" {summary.false} false alerts"
        )
        if summary.latency_s.p50 is not None:
            lines.append(f"event to alert: p50 {summary.latency_s.p50:.1f} s, p95 {summary.latency_s.p95:.1f} s")
    return lines


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell; the last one is left as it is."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in cells
    ]
