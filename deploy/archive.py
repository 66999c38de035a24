"""The store from the command line: find alerts, show them, write their pictures, list disagreements."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alerts.alert import Alert, encode
from deploy.errors import UsageError
from deploy.screen import plain

if TYPE_CHECKING:
    from alerts.export import Export
    from alerts.provenance import RecheckRecord
    from alerts.review import Said
    from alerts.store import Store
    from alerts.verify import Disagreement

MOST = 100_000
SAID: dict[str, Said] = {
    "confirm": "confirmed",
    "false": "rejected",
    "unsure": "unsure",
    "claim": "claimed",
    "escalate": "escalated",
}
"""Words of the command line → what the record says."""


@contextmanager
def open_store(arguments: Namespace, *, reviewing: bool = False) -> Iterator[Store]:
    """The store that `--data` or `--config` names, read-only or for reviews: a process may write to it meanwhile."""
    from alerts.store import Store

    folder = arguments.data or Path("data")
    if arguments.config is not None:
        from deploy.config import load

        folder = Path(load(arguments.config).config.data)
    with Store.open(folder, read_only=not reviewing, beside=reviewing) as store:
        yield store


def find(store: Store, beginning: str) -> Alert:
    """The one alert whose id begins so; raises UsageError for none or several."""
    exact = store.alert(beginning)
    if exact is not None:
        return exact
    found = [alert for alert in store.alerts(MOST) if beginning and alert.alert_id.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} alerts in {store.data} begin with {beginning}; give more of the id")
    raise UsageError(f"no alert in {store.data} begins with {beginning}; see `witness alerts list`")


def review(store: Store, beginning: str, verdict: str, by: str, note: str) -> Alert:
    """The alert's next revision, with what a person says of it."""
    return store.review(find(store, beginning).alert_id, SAID[verdict], by, note)


def export_lines(made: Export) -> list[str]:
    """What an export wrote, and what it left out."""
    rows = [
        f"{made.file}: {made.rows} rows, {made.yes} confirmed and {made.no} false alarms",
        f"{made.undecided} alerts are neither confirmed nor called false and were left out",
    ]
    rows += [f"left out: {one.reason}" for one in made.left_out]
    rows += [f"the flat form has no place for {name} (of {count} rows)" for name, count in made.lost.items()]
    return [plain(row) for row in rows]


def as_json(alert: Alert) -> str:
    """The published record on one line."""
    return encode(alert).decode()


def line(alert: Alert) -> str:
    review = "" if alert.review.status == "none" else f"  ({alert.review.status})"
    state = "" if alert.state == "open" else f"  {alert.state}"
    return plain(
        f"{alert.time.onset}  {alert.alert_id}  {alert.camera.id}  {alert.rule.id}  {alert.confidence.p:.2f}  "
        f"{alert.decision.status}{state}{review}  {alert.headline}"
    )


def lines(store: Store, alert: Alert) -> list[str]:
    """Everything a person asks about one alert."""
    end = alert.time.end or "going on"
    low, high = alert.confidence.interval
    parts = ", ".join(f"{name} {value:.2f}" for name, value in alert.confidence.components.items())
    reasons = f" ({', '.join(alert.decision.reasons)})" if alert.decision.reasons else ""
    text = [
        f"{alert.headline}",
        f"alert       {alert.alert_id}, revision {alert.revision}, {alert.state}, seen {alert.occurrences} times",
        f"camera      {alert.camera.id} ({alert.camera.name}), rule {alert.rule.id}: {alert.rule.question}",
        f"time        {alert.time.onset} to {end}, clock {alert.time.clock.source}"
        f" +/- {alert.time.clock.uncertainty_ms:.0f} ms",
        f"summary     {alert.summary}",
        f"decision    {alert.decision.status}{reasons}",
        f"confidence  {alert.confidence.p:.2f} [{low:.2f}, {high:.2f}]: {parts}",
    ]
    text += [
        f"asked again {check.kind} {_came_of(check)}, {check.cost_ms} ms, {check.tokens} tokens"
        for check in alert.confidence.rechecks
    ]
    text += [f"claim       {claim.id} {claim.verdict}: {claim.text}" for claim in alert.claims]
    for item in alert.evidence:
        boxes = "; ".join(f"{box.label} " + " ".join(f"{edge:.3f}" for edge in box.box) for box in item.boxes)
        text.append(f"evidence    {item.id} {item.time} {boxes}  {item.check.method} {item.check.status}")
    text += [f"against     {item.id} {item.time} {item.image_uri}  {item.note}" for item in alert.counter_evidence]
    text += [f"frame       {frame.uri}  {frame.time}  {frame.role}" for frame in alert.media.keyframes]
    text.append(f"clip        {alert.media.clip.uri or alert.media.clip.status}")
    text += [
        f"revision    {one.revision}  {one.time.window[1]}  {one.state}{_reviewed(one)}"
        for one in store.revisions(alert.alert_id)
    ]
    return [plain(row) for row in text]


def _came_of(check: RecheckRecord) -> str:
    """Of one without an answer its outcome, for there status and score say nothing."""
    return check.outcome if check.outcome != "answered" else f"{check.status} {check.score:.2f}"


def _reviewed(alert: Alert) -> str:
    """What people said by this revision."""
    said = alert.review
    if said.status == "none":
        return ""
    by, why = f" by {said.by}" if said.by else "", f": {said.reason}" if said.reason else ""
    return f"  {said.status}{by} at {said.at}{why}"


def write_media(store: Store, alert: Alert, folder: Path) -> list[Path]:
    """A sheet of all evidence, each evidence frame with its boxes drawn, what argues against it, and the clip; returns
    what was written."""
    from alerts.media import boxed_frame, contact_sheet, counter_frame

    folder.mkdir(parents=True, exist_ok=True)
    start = folder / alert.alert_id
    pictures = {Path(f"{start}-evidence.jpg"): contact_sheet(store, alert)}
    for index in sorted({item.frame.index_in_window for item in alert.evidence}):
        pictures[Path(f"{start}-frame-{index:03d}.jpg")] = boxed_frame(store, alert, index)
    for index in sorted({item.frame.index_in_window for item in alert.counter_evidence}):
        pictures[Path(f"{start}-counter-{index:03d}.jpg")] = counter_frame(store, alert, index)
    for path, content in pictures.items():
        path.write_bytes(content)
    written = list(pictures)
    if alert.media.clip.status == "ready":
        written.append(Path(f"{start}.mp4"))
        shutil.copyfile(store.clip_path(alert.alert_id), written[-1])
    return written


def disagreement_lines(disagreements: Sequence[Disagreement]) -> list[str]:
    if not disagreements:
        return ["every stored hash, time and box agrees"]
    return [*(plain(str(one)) for one in disagreements), f"{len(disagreements)} disagreements"]
