"""From rows to figures: only counting. The record is what `--json` prints; `schema.json` is generated from it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench import report
from bench.accuracy.row import AlertRow, Change, ClipRow, Watched, WindowRow
from bench.accuracy.sweep import Point, quiet_s
from deploy.summary import Windows
from reasoner.confidence import expected_calibration_error

SCHEMA_FILE = Path(__file__).parent / "schema.json"
ONSET_S = 1.0
COVERAGES = tuple(step / 10 for step in range(1, 11))

Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0)]


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One category."""

    precision: Unit | None
    """True alerts of all its alerts; null without alerts."""
    recall: Unit | None
    """Events with an alert; null without events."""
    n: Count
    """Events."""
    alerts: Count


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """What one ablation (bench/accuracy/ablation.py) did to the confidence of the first alert of each event."""

    fell: Unit
    """Share of alerts whose confidence is lower than before."""
    median_drop: float
    n: Count


class Ablations(msgspec.Struct, frozen=True, kw_only=True):
    blank: Fall
    shift: Fall
    shuffle: Fall
    shift_later: Fall
    blank_rejudged: Fall
    shuffle_rejudged: Fall


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """At the thresholds of the model folder."""

    recall: Unit
    false_per_minute: Rate


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """The scorer and the gate without the reasoner (bench/accuracy/sweep.py)."""

    recall: Unit
    """At the loosest thresholds that flag at most 0.1 windows per quiet minute; 0 where there are none."""
    false_per_minute: Rate
    strictness: float | None
    """Where these thresholds lie between the served (0) and the strict (1) ones; null where there are none."""
    quiet_minutes: Rate
    shipped: Shipped


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Whether mistakes gather where a person is asked to look."""

    alerts: Count
    wrong: Count
    of_wrong: Unit | None
    """Share of the wrong alerts that need review; null without wrong ones."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Of the alerts with the highest confidence, a share of `coverage`, `risk` are wrong."""

    coverage: Unit
    risk: Unit
    confidence: Unit
    """The lowest among them."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    events: Count
    alerts: Count
    matched: Count
    missed: Count
    false: Count
    repeated: Count
    """True alerts of an event that had one already."""
    windows: Windows
    """How the flagged windows of all clips ended."""
    windows_judged: Count
    """Those whose true answer is known: the ECE is over them."""
    evidence_right: Count
    """Answers with matching evidence."""
    evidence_wrong: Count
    boxes: Count
    """Boxes that `box_iou` is the mean of."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are 0 where there is nothing to take a share of, but for those that may be null."""

    seed: int
    clips: Count
    labels: dict[str, Label]
    precision: Unit
    """Alerts that belong to an event of all alerts."""
    recall: Unit
    """Events with an alert of all events."""
    onset_within_1s: Unit
    """Share of the events' first alerts whose onset is at most 1 s from the event's start."""
    box_iou: Unit
    """Mean over the boxes of the events' first alerts, each with the actor at its own time (reasoner/grade.py)."""
    ece: Unit
    """Expected calibration error, ten bins: confidence that the rule's question is answered by yes against the true
    answer, over all windows that the reasoner judged, rejected ones too, but for those that show too little to tell."""
    acc_given_evidence: Unit | None
    """Share of right conclusions (alert or rejected) where the cited times are within 1 s of what truly happens in the
    window and the cited boxes have a mean IoU of 0.5 or more with its actors; null without such an answer."""
    acc_given_no_evidence: Unit | None
    """The same where an answer cites something else. Answers that cite nothing are in neither."""
    evidence_reward: float | None
    """Mean over windows of the points for times (1.5 to -1 a claim) and boxes (1 to -0.5), reasoner/rewards.py: those
    that should have been answered by yes, and those that were; null without any. What training by rewards raises."""
    window_box_iou: Unit | None
    """Mean IoU over windows that should have been answered by yes: 0 for each that cites nothing in time."""
    needs_review_share: Unit
    """Of all alerts."""
    ablation: Ablations
    scorer: Alone
    seconds_per_clip: Rate
    """Wall clock of the whole run by the number of clips."""
    work_s_per_clip: Rate
    """Wall clock that one worker spends on one clip."""
    review: Review
    risk_coverage: tuple[Coverage, ...]
    false_per_minute: Rate
    """False alerts per minute of the clips without event."""
    counts: Counts
    unserved: tuple[str, ...]
    """Categories of the world for which no rule is served by both models: all their events are missed."""
    models: dict[str, str]


def label_figures(rows: Sequence[ClipRow], labels: Sequence[str]) -> dict[str, Label]:
    """Per category, in the order given."""
    alerts = [alert for row in rows for alert in row.alerts]
    events = [event for row in rows for event in row.watched.events]
    out = {}
    for label in labels:
        mine = [alert for alert in alerts if alert.category == label]
        n = sum(event.label == label for event in events)
        out[label] = Label(
            precision=_share([alert.true for alert in mine]),
            recall=sum(alert.first for alert in mine) / n if n else None,
            n=n,
            alerts=len(mine),
        )
    return out


def calibration_error(windows: Sequence[WindowRow]) -> float:
    """ECE over the windows whose true answer is known."""
    known = [(window.p, window.yes) for window in windows if window.yes is not None]
    return expected_calibration_error([p for p, _ in known], [yes for _, yes in known])


def accuracy_given(windows: Sequence[WindowRow], evidence: bool) -> float | None:
    """Share of right conclusions among answers with matching (True) or other (False) evidence; None without any."""
    return _share([window.said == window.yes for window in given(windows, evidence)])


def given(windows: Sequence[WindowRow], evidence: bool) -> list[WindowRow]:
    return [window for window in windows if window.evidence is evidence and window.yes is not None]


def fall(changes: Sequence[Change]) -> Fall:
    drops = [change.before - change.after for change in changes]
    return Fall(
        fell=_share([drop > 0 for drop in drops]) or 0.0,
        median_drop=statistics.median(drops) if drops else 0.0,
        n=len(drops),
    )


def ablations(alerts: Sequence[AlertRow]) -> Ablations:
    kinds = Ablations.__struct_fields__
    return Ablations(
        **{kind: fall([alert.ablation[kind] for alert in alerts if kind in alert.ablation]) for kind in kinds}
    )


def risk_coverage(alerts: Sequence[AlertRow]) -> tuple[Coverage, ...]:
    """Tenth by tenth of all alerts, the surest first; a tenth that holds no further alert is left out."""
    ordered = sorted(alerts, key=lambda alert: -alert.alert.confidence)
    out: list[Coverage] = []
    sizes = dict.fromkeys(round(share * len(ordered)) for share in COVERAGES)
    for size in (size for size in sizes if size):
        chosen = ordered[:size]
        out.append(
            Coverage(
                coverage=size / len(ordered),
                risk=sum(not alert.true for alert in chosen) / size,
                confidence=chosen[-1].alert.confidence,
            )
        )
    return tuple(out)


def review(alerts: Sequence[AlertRow]) -> Review:
    asked = [alert.alert.decision == "needs_review" for alert in alerts]
    wrong = [reviewed for alert, reviewed in zip(alerts, asked, strict=True) if not alert.true]
    return Review(alerts=sum(asked), wrong=sum(wrong), of_wrong=_share(wrong))


def box_iou(alerts: Sequence[AlertRow]) -> tuple[float, int]:
    """Mean over boxes, and how many they are."""
    known = [(alert.box_iou, alert.boxes) for alert in alerts if alert.box_iou is not None]
    boxes = sum(count for _, count in known)
    return (sum(iou * count for iou, count in known) / boxes if boxes else 0.0), boxes


def figures(
    seed: int,
    rows: Sequence[ClipRow],
    quiet: Sequence[Watched],
    points: tuple[Point | None, Point],
    *,
    labels: Sequence[str],
    unserved: Sequence[str],
    models: Mapping[str, str],
    seconds: float,
) -> Figures:
    """All of it. quiet: further camera time that only the scorer saw; points: of `bench.accuracy.sweep`."""
    alerts = [alert for row in rows for alert in row.alerts]
    windows = [window for row in rows for window in row.windows]
    events = sum(len(row.watched.events) for row in rows)
    first = [alert for alert in alerts if alert.first]
    iou, boxes = box_iou(first)
    free = [row for row in rows if row.label is None]
    free_s = sum(row.watched.seconds for row in free)
    false = sum(not alert.true for alert in alerts)
    at, shipped = points
    return Figures(
        seed=seed,
        clips=len(rows),
        labels=label_figures(rows, labels),
        precision=_share([alert.true for alert in alerts]) or 0.0,
        recall=len(first) / events if events else 0.0,
        onset_within_1s=_share([abs(alert.onset_error_s or 0.0) <= ONSET_S for alert in first]) or 0.0,
        box_iou=iou,
        ece=calibration_error(windows),
        acc_given_evidence=accuracy_given(windows, True),
        acc_given_no_evidence=accuracy_given(windows, False),
        evidence_reward=_mean([window.reward for window in windows]),
        window_box_iou=_mean([window.box_iou for window in windows]),
        needs_review_share=_share([alert.alert.decision == "needs_review" for alert in alerts]) or 0.0,
        ablation=ablations(first),
        scorer=Alone(
            recall=at.recall if at else 0.0,
            false_per_minute=at.false_per_minute if at else shipped.false_per_minute,
            strictness=at.strictness if at else None,
            quiet_minutes=sum(quiet_s(each) for each in (*(row.watched for row in rows), *quiet)) / 60,
            shipped=Shipped(recall=shipped.recall, false_per_minute=shipped.false_per_minute),
        ),
        seconds_per_clip=seconds / len(rows) if rows else 0.0,
        work_s_per_clip=statistics.fmean(row.work_s for row in rows) if rows else 0.0,
        review=review(alerts),
        risk_coverage=risk_coverage(alerts),
        false_per_minute=sum(not alert.true for row in free for alert in row.alerts) / (free_s / 60) if free_s else 0.0,
        counts=Counts(
            events=events,
            alerts=len(alerts),
            matched=len(first),
            missed=events - len(first),
            false=false,
            repeated=len(alerts) - false - len(first),
            windows=_together([row.ended for row in rows]),
            windows_judged=sum(window.yes is not None for window in windows),
            evidence_right=len(given(windows, True)),
            evidence_wrong=len(given(windows, False)),
            boxes=boxes,
        ),
        unserved=tuple(unserved),
        models=dict(models),
    )


def _together(ended: Sequence[Windows]) -> Windows:
    return Windows(**{name: sum(getattr(one, name) for one in ended) for name in Windows.__struct_fields__})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _share(held: Sequence[bool | None]) -> float | None:
    return sum(bool(one) for one in held) / len(held) if held else None


def schema() -> dict[str, Any]:
    """Of the printed object."""
    return report.schema(Figures, "accuracy", "Accuracy on unseen scenes")


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
