"""Reviewed alerts as training rows: a site's verdicts in the format of the training data (STGR, or the flat form).

    OUT/stgr.json             the rows; `flat.json` in the flat form
    OUT/videos/ALERT_ID.mp4   the clip, or the stored frames as a video where there is no clip that shows the evidence
    OUT/kfs/ALERT_ID/         the frames that a confirmed alert cites

Confirmed alerts become a yes with their evidence, false alarms a no without any. Times count from the start of the
video. Everything is copied from the store after its hash was checked; the store is only read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from alerts.alert import Alert
from alerts.claim import Count, EvidenceItem
from alerts.errors import EvidenceLost
from alerts.evidence_names import CLIP, frame_name
from alerts.film import film
from alerts.instant import utc_ns
from alerts.store import Store
from alerts.wording import happening, plain
from reasoner.boxes import Box
from reasoner.train.conversation import plain_name, told
from reasoner.train.stgr import GROUNDED, Cited, KeyFrame, Numbers, StgrRow
from reasoner.train.stgr_file import Form, write

SOURCE = "witness"
"""`source` of the rows."""
Language = Literal["en", "zh"]
_PAGE = 200
_NO = {"en": "No. Nothing of the kind happens.", "zh": "No. 没有发生这种情况。"}
_YES = {"en": "Yes. {} from {:.1f}s to {:.1f}s.", "zh": "Yes. {}，从{:.1f}秒到{:.1f}秒。"}


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A reviewed alert that became no row."""

    alert_id: str
    reason: str


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What `alerts export --json` prints."""

    file: str
    """The rows."""
    format: Form
    rows: Count
    yes: Count
    """Rows of confirmed alerts."""
    no: Count
    """Rows of false alarms."""
    undecided: Count
    """Alerts that nobody has confirmed or called false; they are no rows."""
    left_out: tuple[LeftOut, ...]
    """Decided alerts that could not become rows, each with the reason."""
    lost: dict[str, Count]
    """Columns that have no place in the flat form, and how many rows had one."""


class Video(NamedTuple):
    """The video of a row."""

    content: bytes
    start_utc_ns: int
    """Of its first frame."""
    end_utc_ns: int

    def seconds(self, moment: str) -> float:
        """UTC text → seconds from the start, inside the video."""
        inside = min(max(utc_ns(moment), self.start_utc_ns), self.end_utc_ns)
        return round((inside - self.start_utc_ns) / 1e9, 3)


def export(store: Store, out: Path, form: Form = "stgr") -> Export:
    """Writes all reviewed alerts; files of an earlier export to the same folder are replaced. OSError: no room."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    rows: list[StgrRow] = []
    left_out: list[LeftOut] = []
    undecided = 0
    for alert in _oldest_first(store):
        if alert.review.status not in ("confirmed", "rejected"):
            undecided += 1
            continue
        try:
            row = _exported(store, alert, out)
        except EvidenceLost as error:
            left_out.append(LeftOut(alert_id=alert.alert_id, reason=str(error)))
        else:
            rows.append(row)
    written = write(out / f"{form}.json", rows, form)
    yes = sum(bool(row.key_frames) for row in rows)
    return Export(
        file=str(written.path),
        format=form,
        rows=len(rows),
        yes=yes,
        no=len(rows) - yes,
        undecided=undecided,
        left_out=tuple(left_out),
        lost=written.lost,
    )


def row_of(alert: Alert, video: Video, pictures: Mapping[int, str]) -> StgrRow:
    """Pure. pictures: path of each cited frame by its index in the window. EvidenceLost: nothing is left to cite."""
    lang: Language = "zh" if alert.lang.startswith("zh") else "en"
    confirmed = alert.review.status == "confirmed"
    items = usable(alert) if confirmed else []
    if confirmed and not items:
        raise EvidenceLost(f"alert {alert.alert_id}: confirmed, but its checks contradict every piece of its evidence")
    frames: dict[int, KeyFrame] = {}
    boxes: dict[str, dict[str, tuple[Numbers, ...]]] = {}
    for item in items:
        index = item.frame.index_in_window
        frames[index] = KeyFrame(idx=index, time=video.seconds(item.time), path=pictures.get(index, ""))
        for box in item.boxes:
            seen = boxes.setdefault(str(index), {})
            name = plain_name(box.label)
            seen[name] = (*seen.get(name, ()), *([box.box] if box.box not in seen.get(name, ()) else []))
    ordered = tuple(sorted(frames.values(), key=lambda frame: (frame.time, frame.idx)))
    answer = _answer(alert, video, lang) if confirmed else _NO[lang]
    cited = [
        Cited(name, tuple(Box(*box) for box in found), frame.time)
        for frame in ordered
        for name, found in boxes.get(str(frame.idx), {}).items()
    ]
    return StgrRow(
        id=alert.alert_id,
        source=SOURCE,
        task=GROUNDED,
        video_path=f"videos/{alert.alert_id}.mp4",
        question=alert.rule.question,
        answer=answer,
        reasoning_process=told(cited, answer, lang),
        key_frames=ordered,
        key_items=boxes,
        extra={"camera": alert.camera.id, "rule": alert.rule.id, "category": alert.category}
        | ({"reviewed_at": alert.review.at} if alert.review.at else {}),
    )


def usable(alert: Alert) -> list[EvidenceItem]:
    """The evidence to learn from: a person confirmed what happened, not each box, so those that the independent check
    contradicts are left out."""
    return [item for item in alert.evidence if item.boxes and item.check.status != "contradicted"]


def _answer(alert: Alert, video: Video, lang: Language) -> str:
    # What began before the examined window was not seen to begin.
    start_s = video.seconds(max(alert.time.onset, alert.time.window[0]))
    last = max([alert.time.end or alert.time.peak, *(item.time for item in alert.evidence)])
    what = plain(happening(alert.category, lang))
    return _YES[lang].format(what, start_s, max(video.seconds(last), start_s))


def _exported(store: Store, alert: Alert, out: Path) -> StgrRow:
    """One alert's files and row."""
    cited = {item.frame.index_in_window for item in usable(alert)} if alert.review.status == "confirmed" else set()
    hashes = {line.name: line.sha256 for line in store.manifest(alert.alert_id)}
    contents = {index: _checked(store, alert, frame_name(index), hashes) for index in sorted(cited)}
    video = _video(store, alert, hashes)
    pictures = {index: f"kfs/{alert.alert_id}/{frame_name(index)}" for index in contents}
    row = row_of(alert, video, pictures)
    (out / "videos" / f"{alert.alert_id}.mp4").write_bytes(video.content)
    for index, content in contents.items():
        path = out / pictures[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return row


def _video(store: Store, alert: Alert, hashes: Mapping[str, str]) -> Video:
    """The camera's own clip where it shows all evidence; else the frames that were reasoned over."""
    clip = alert.media.clip
    if clip.status == "ready" and clip.start is not None and clip.end is not None:
        start_ns, end_ns = utc_ns(clip.start), utc_ns(clip.end)
        if all(start_ns <= utc_ns(item.time) <= end_ns for item in alert.evidence):
            return Video(_checked(store, alert, CLIP, hashes), start_ns, end_ns)
    frames = store.window(alert.alert_id).cut.frames
    for index, frame in enumerate(frames):
        if frame.sha256() != hashes.get(frame_name(index)):
            raise EvidenceLost(f"{frame_name(index)} of alert {alert.alert_id} has changed since it was stored")
    return Video(film(frames), frames[0].stamp.utc_ns, frames[-1].stamp.utc_ns)


def _checked(store: Store, alert: Alert, name: str, hashes: Mapping[str, str]) -> bytes:
    try:
        content = (store.evidence_folder(alert.alert_id) / name).read_bytes()
    except OSError as error:
        raise EvidenceLost(f"{name} of alert {alert.alert_id} cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != hashes.get(name):
        raise EvidenceLost(f"{name} of alert {alert.alert_id} has changed since it was stored")
    return content


def _oldest_first(store: Store) -> Iterator[Alert]:
    """Last revisions in order of raising: rows keep their places when more alerts are reviewed."""
    ids: list[str] = []
    before = None
    while page := store.alert_ids(_PAGE, before):
        ids += page
        before = page[-1]
    for alert_id in reversed(ids):
        alert = store.alert(alert_id)
        if alert is not None:
            yield alert
