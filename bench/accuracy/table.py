"""The figures as a person reads them, beside what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TARGETS = {
    "precision": 0.95,
    "recall": 0.95,
    "onset_within_1s": 0.95,
    "box_iou": 0.60,
    "ece": 0.05,
    "needs_review_share": 0.15,
}
AT_MOST = ("ece", "needs_review_share")
LABEL_TARGET = 0.90
FELL_TARGET, DROP_TARGET = 0.95, 0.3
SCORER_TARGET = 0.99


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """`figures` as they are printed with --json."""
    counts, scorer = figures["counts"], figures["scorer"]
    yield f"{figures['clips']} clips of seed {figures['seed']}, {figures['seconds_per_clip']:.1f} s each"
    yield f"{counts['events']} events: {counts['matched']} matched, {counts['missed']} missed; " + (
        f"{counts['alerts']} alerts: {counts['false']} false, {counts['repeated']} repeated"
    )
    for name, target in TARGETS.items():
        yield _row(name, figures[name], target, at_most=name in AT_MOST)
    for name, label in figures["labels"].items():
        shown = " ".join(f"{_number(label[key])} {key}" for key in ("precision", "recall"))
        yield f"  {name:26} {shown}   {label['n']} events, {label['alerts']} alerts (each >= {LABEL_TARGET:.2f})"
    for name, one in figures["ablation"].items():
        yield f"  {name:26} {one['fell']:.3f} fell by {one['median_drop']:.3f} (>= {FELL_TARGET:.2f}, {DROP_TARGET})"
    yield _row("scorer recall", scorer["recall"], SCORER_TARGET) + (
        f" at {scorer['false_per_minute']:.3f} per quiet minute of {scorer['quiet_minutes']:.1f}; "
        f"as shipped {scorer['shipped']['recall']:.3f} at {scorer['shipped']['false_per_minute']:.3f}"
    )
    for key, n in (("acc_given_evidence", "evidence_right"), ("acc_given_no_evidence", "evidence_wrong")):
        yield f"  {key:26} {_number(figures[key])} (n {counts[n]})"
    for key in ("evidence_reward", "window_box_iou"):
        yield f"  {key:26} {_number(figures[key])}"
    curve = "  ".join(f"{point['coverage']:.1f}: {point['risk']:.2f}" for point in figures["risk_coverage"])
    yield f"  {'risk by coverage':26} {curve}"
    if figures["unserved"]:
        yield f"  not served by both models: {', '.join(figures['unserved'])}"


def _row(name: str, value: float, target: float, at_most: bool = False) -> str:
    reached = value <= target if at_most else value >= target
    return f"  {name:26} {value:.3f} ({'<=' if at_most else '>='} {target:.2f}{'' if reached else ', NOT reached'})"


def _number(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"
