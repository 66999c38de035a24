"""Does the evidence still say what the alerts say? Every hash, size, time and box against the files on the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from alerts.alert import Alert, decode
from alerts.claim import EvidenceItem
from alerts.errors import AlertInvalid, PictureUnreadable
from alerts.evidence_files import StoredFile
from alerts.evidence_names import CLIP, evidence_uri
from alerts.instant import utc_text
from alerts.media import picture_size
from alerts.store import Store

_PAGE = 200


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as recorded."""

    alert_id: str
    """Empty for a file that belongs to no alert."""
    file: str
    """Relative to the data folder; empty where the record itself is at fault."""
    problem: str

    def __str__(self) -> str:
        return f"{self.file or f'alert {self.alert_id}'}: {self.problem}"


def verify(store: Store) -> list[Disagreement]:
    """Empty when every revision of every alert agrees with its manifest and every file with both.

    Reads each evidence file once. A store that is being written to may be verified: alerts raised meanwhile are left
    for the next time.
    """
    found, known = [], set[str]()
    folders = _folders(store)
    for alert_id in _alert_ids(store):
        known.add(alert_id)
        found += _verify_alert(store, alert_id)
    for name in sorted(folders - known - store.being_written()):
        if store.alert(name) is None:
            found.append(Disagreement(alert_id="", file=f"evidence/{name}", problem="belongs to no alert"))
    return found


def _folders(store: Store) -> set[str]:
    root = store.evidence_folder("")
    return {path.name for path in root.iterdir()} if root.is_dir() else set()


def _alert_ids(store: Store) -> Iterator[str]:
    before = None
    while page := store.alert_ids(_PAGE, before):
        yield from page
        before = page[-1]


def _verify_alert(store: Store, alert_id: str) -> list[Disagreement]:
    present = _present(store.evidence_folder(alert_id))
    writing, records = store.being_written(), store.records(alert_id)
    # Read last: whatever is recorded or in its place by now is in it.
    manifest = {line.name: line for line in store.manifest(alert_id)}
    surplus = {name for name in present - manifest.keys() if not _inside(f"{alert_id}/{name}", writing)}
    problems = [(evidence_uri(alert_id, name), "is not in the alert's manifest") for name in sorted(surplus)]
    problems += _file_problems(store.evidence_folder(alert_id), alert_id, manifest)
    revisions = []
    for number, record in enumerate(records, start=1):
        try:
            revisions.append(decode(record))
        except AlertInvalid as error:
            problems.append(("", f"revision {number} is damaged: {error}"))
    for alert in revisions:
        problems += _record_problems(alert, manifest)
    if [alert.revision for alert in revisions] != list(range(1, len(revisions) + 1)):
        problems.append(("", "its revisions are not numbered from 1 without a gap"))
    return [Disagreement(alert_id=alert_id, file=name, problem=text) for name, text in dict.fromkeys(problems)]


Problem = tuple[str, str]
"""File (or nothing) and what is wrong."""


def _present(folder: Path) -> set[str]:
    """Every file below a folder, and every folder without any, relative to it."""
    found = set()
    for root, folders, names in os.walk(folder):
        own = Path(root).relative_to(folder)
        found |= {(own / name).as_posix() for name in names}
        if not folders and not names and own != Path():
            found.add(own.as_posix())
    return found


def _inside(name: str, folders: set[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _file_problems(folder: Path, alert_id: str, manifest: dict[str, StoredFile]) -> Iterator[Problem]:
    """Each file of the manifest."""
    for name, line in sorted(manifest.items()):
        uri = evidence_uri(alert_id, name)
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            yield uri, f"cannot be read ({error.strerror})"
            continue
        if hashlib.sha256(content).hexdigest() != line.sha256:
            yield uri, "has changed: its SHA-256 is not the recorded one"
        elif line.width is not None:
            yield from _size_problems(uri, content, line)


def _size_problems(uri: str, content: bytes, line: StoredFile) -> Iterator[Problem]:
    try:
        size = picture_size(content)
    except PictureUnreadable as error:
        yield uri, str(error)
    else:
        if size != (line.width, line.height):
            yield uri, f"is {size[0]}x{size[1]} px, recorded are {line.width}x{line.height}"


def _record_problems(alert: Alert, manifest: dict[str, StoredFile]) -> Iterator[Problem]:
    """What a revision says of its files against the manifest; everything else was checked when it was decoded."""
    lines = {evidence_uri(alert.alert_id, name): line for name, line in manifest.items()}
    for frame in alert.media.keyframes:
        line = lines.get(frame.uri)
        if line is None:
            yield frame.uri, "is a key frame of the record but not in the manifest"
            continue
        if frame.sha256 != line.sha256:
            yield frame.uri, "has another SHA-256 in the record than in the manifest"
        if (frame.w, frame.h) != (line.width, line.height):
            yield frame.uri, f"is {frame.w}x{frame.h} px in the record, {line.width}x{line.height} in the manifest"
        if line.utc_ns is None or frame.time != utc_text(line.utc_ns):
            yield frame.uri, f"was taken at another time than the record's {frame.time}"
    clip = alert.media.clip
    if clip.status == "ready" and clip.uri is not None:
        line = lines.get(evidence_uri(alert.alert_id, CLIP))
        if line is None or (clip.sha256, clip.bytes) != (line.sha256, line.bytes):
            yield clip.uri, "is not the clip of the record"
    for item in (*alert.evidence, *alert.counter_evidence):
        yield from _evidence_problems(alert, item, lines)


def _evidence_problems(alert: Alert, item: EvidenceItem, lines: dict[str, StoredFile]) -> Iterable[Problem]:
    line = lines.get(item.image_uri)
    if line is None:
        yield item.image_uri, f"is evidence {item.id} but not in the manifest"
        return
    if not item.image_sha256 == item.frame.sha256 == line.sha256:
        yield item.image_uri, f"is not the frame that evidence {item.id} names"
    if line.utc_ns is None or item.time != utc_text(line.utc_ns) or item.frame.pts != line.pts:
        yield item.image_uri, f"was taken at another time than evidence {item.id} says ({item.time})"
    if not alert.time.window[0] <= item.time <= alert.time.window[1]:
        yield item.image_uri, f"evidence {item.id} lies outside the examined window"
    size = alert.camera.frame_size
    for box in item.boxes:
        x1, y1, x2, y2 = box.box
        short_px = max(1, round(min((x2 - x1) * size.w, (y2 - y1) * size.h)))
        if abs(short_px - box.px_short_side) > 1:
            yield item.image_uri, f"a box of evidence {item.id} has another size than recorded"
