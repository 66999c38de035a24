"""Evidence of alerts: DATA/evidence/ALERT_ID/ with the frames as reasoned over, the clip and the background.

Frames of a later window that contradicts the alert are in a folder `counter` beside them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import msgspec
from msgspec.structs import replace

from alerts.data_folder import Scaffold, write_durably
from alerts.errors import EvidenceLost
from alerts.evidence_names import BACKGROUND, CLIP, COUNTER, EVIDENCE, counter_name, frame_name
from detector.window import Window
from ingest.frame import FineFrame


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an alert's manifest."""

    name: str
    sha256: str
    bytes: int
    width: int | None = None
    """px; pictures of the window only, like `height`, `utc_ns` and `pts`."""
    height: int | None = None
    utc_ns: int | None = None
    pts: int | None = None


class EvidenceFiles:
    """Writes and finds evidence. Ids are checked by the record and names made here: no path comes from outside."""

    def __init__(self, data: Path) -> None:
        self.folder = data / EVIDENCE

    def put(self, alert_id: str, window: Window) -> list[StoredFile]:
        """Every file of a window, on the disk with its folder when it returns; the manifest. StoreFull: no room."""
        manifest = []
        with Scaffold(self.folder / alert_id) as folder:
            for line, content in _contents(window):
                write_durably(folder / line.name, content)
                manifest.append(line)
        return manifest

    def put_counter(self, alert_id: str, window: Window, frames: Sequence[int]) -> list[StoredFile]:
        """Some frames of the window that contradicts an alert, on the disk with their folder when it returns; their
        lines for the manifest. StoreFull: no room."""
        manifest = []
        with Scaffold(self.folder / alert_id / COUNTER) as folder:
            for index in frames:
                line, content = _picture(counter_name(index), window.cut.frames[index])
                write_durably(folder / frame_name(index), content)
                manifest.append(line)
        return manifest

    def window(self, alert_id: str, frame: Window) -> Window:
        """The window as it was reasoned over: `frame` with the stored pictures and clip put back.

        EvidenceLost: a file is missing. Hashes are not checked here.
        """

        def read(name: str) -> bytes:
            try:
                return (self.folder / alert_id / name).read_bytes()
            except OSError as error:
                raise EvidenceLost(f"{name} of alert {alert_id} cannot be read ({error.strerror})") from None

        cut = frame.cut
        frames = tuple(replace(f, jpeg=read(frame_name(i))) for i, f in enumerate(cut.frames))
        clip = None if cut.clip is None else replace(cut.clip, mp4=read(CLIP))
        background = read(BACKGROUND) if frame.background else b""
        return replace(frame, cut=replace(cut, frames=frames, clip=clip), background=background)

    def remove(self, names: Iterable[str]) -> None:
        """Folders, finished or half written; `names` as in `both_names`."""
        for name in names:
            for folder in both_names(name):
                shutil.rmtree(self.folder / folder, ignore_errors=True)


def both_names(name: str) -> tuple[str, str]:
    """A folder of the evidence (`ALERT_ID` or `ALERT_ID/counter`), and what it is called while it is written."""
    path = PurePosixPath(name)
    return name, str(path.with_name(f".partial-{path.name}"))


def without_pictures(window: Window) -> Window:
    """The window's record: what is left when the bytes of its pictures and clip are kept in files. A background that
    exists is marked by one byte."""
    cut = window.cut
    frames = tuple(replace(frame, jpeg=b"") for frame in cut.frames)
    clip = None if cut.clip is None else replace(cut.clip, mp4=b"")
    return replace(window, cut=replace(cut, frames=frames, clip=clip), background=b"1" if window.background else b"")


def _contents(window: Window) -> Iterable[tuple[StoredFile, bytes]]:
    for index, frame in enumerate(window.cut.frames):
        yield _picture(frame_name(index), frame)
    if window.cut.clip is not None:
        yield _line(CLIP, window.cut.clip.mp4), window.cut.clip.mp4
    if window.background:
        yield _line(BACKGROUND, window.background), window.background


def _picture(name: str, frame: FineFrame) -> tuple[StoredFile, bytes]:
    stamp, (width, height) = frame.stamp, frame.size
    line = _line(name, frame.jpeg)
    return replace(line, width=width, height=height, utc_ns=stamp.utc_ns, pts=stamp.pts), frame.jpeg


def _line(name: str, content: bytes) -> StoredFile:
    return StoredFile(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
