"""The last revision of an alert that a later window contradicts: pure, with the pictures that argue against it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from alerts import wording
from alerts.alert import Alert, sealed
from alerts.birth import latency
from alerts.claim import EvidenceCheck, EvidenceItem, FrameRef
from alerts.evidence_names import counter_name, evidence_uri
from alerts.instant import utc_text
from detector.window import Window
from reasoner.verdict import Verdict

REASON = "contradicted_later"
METHOD = "question_again"
"""The rule's question asked about the later window; `score` is how likely the no was to the model."""


def retracted(alert: Alert, verdict: Verdict, window: Window, frames: Sequence[int], now_utc_ns: int) -> Alert:
    """The next revision, `retracted` and `rejected`: what the alert said and showed stays, and beside it stand the
    frames (indices into the later window) that show nothing of it. What was examined grows by that window."""
    times = [frame.stamp.utc_ns for frame in window.cut.frames]
    whole = (utc_text(times[0]), utc_text(times[-1]))
    examined = alert.time.window
    note = wording.asked_again(alert.rule.question, verdict.answer, "zh" if alert.lang.startswith("zh") else "en")
    return sealed(
        replace(
            alert,
            revision=alert.revision + 1,
            state="retracted",
            counter_evidence=tuple(
                _absence(f"n{n}", index, alert, verdict, window, whole, note) for n, index in enumerate(frames, start=1)
            ),
            decision=replace(alert.decision, status="rejected", reasons=(*alert.decision.reasons, REASON)),
            time=replace(
                alert.time,
                window=(min(examined[0], whole[0]), max(examined[1], whole[1])),
                latency_ms=latency(verdict, window, now_utc_ns),
            ),
        )
    )


def _absence(
    key: str, index: int, alert: Alert, verdict: Verdict, window: Window, whole: tuple[str, str], note: str
) -> EvidenceItem:
    """Checked here and not seen: the whole picture, so there is no box."""
    frame = window.cut.frames[index]
    stamp, sha256 = frame.stamp, frame.sha256()
    return EvidenceItem(
        id=key,
        kind="absence",
        time=utc_text(stamp.utc_ns),
        time_range=whole,
        frame=FrameRef(
            pts=stamp.pts,
            time_base=f"{stamp.time_base[0]}/{stamp.time_base[1]}",
            index_in_window=index,
            sha256=sha256,
        ),
        boxes=(),
        image_uri=evidence_uri(alert.alert_id, counter_name(index)),
        image_sha256=sha256,
        check=EvidenceCheck(
            method=METHOD, status="unchecked", score=round(1 - verdict.confidence.components["vlm_token"], 6)
        ),
        note=note,
    )
