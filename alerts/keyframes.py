"""Pictures and clip of a window as an alert names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from alerts.alert import ClipRecord, Keyframe
from alerts.evidence_names import CLIP, evidence_uri, frame_name
from alerts.instant import utc_text
from detector.window import Window

Role = Literal["context", "subject", "onset", "peak"]


def keyframes(
    window: Window, alert_id: str, subjects: Iterable[int], onset_ns: int, peak_ns: int
) -> tuple[Keyframe, ...]:
    """The first frame, those that evidence names (`subjects`), and those nearest to onset, where it was seen, and
    peak."""
    frames = window.cut.frames
    onset, peak = (
        min(range(len(frames)), key=lambda i: abs(frames[i].stamp.utc_ns - moment)) for moment in (onset_ns, peak_ns)
    )
    roles: dict[int, Role] = {0: "context"}
    roles |= dict.fromkeys(subjects, "subject")
    if onset_ns >= frames[0].stamp.utc_ns:
        roles[onset] = "onset"
    roles[peak] = "peak"
    return tuple(
        Keyframe(
            uri=evidence_uri(alert_id, frame_name(index)),
            sha256=frames[index].sha256(),
            time=utc_text(frames[index].stamp.utc_ns),
            w=frames[index].size[0],
            h=frames[index].size[1],
            role=role,
        )
        for index, role in sorted(roles.items())
    )


def clip_record(window: Window, alert_id: str, onset_ns: int, over_ns: int) -> ClipRecord:
    """`failed` where the cut has no clip. Rolls are the seconds before onset and after `over_ns`."""
    clip = window.cut.clip
    if clip is None:
        return ClipRecord(status="failed")
    return ClipRecord(
        status="ready",
        uri=evidence_uri(alert_id, CLIP),
        sha256=clip.sha256(),
        bytes=len(clip.mp4),
        start=utc_text(clip.start_utc_ns),
        end=utc_text(clip.end_utc_ns),
        pre_roll_s=max(0, onset_ns - clip.start_utc_ns) // 1_000_000 / 1000,
        post_roll_s=max(0, clip.end_utc_ns - over_ns) // 1_000_000 / 1000,
        codec=clip.codec,
    )
