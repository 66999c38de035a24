"""Alerts to look at: rendered scenes with known events, through the code that makes alerts of verdicts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from alerts.alert import Alert
from alerts.birth import from_verdict
from alerts.config import SiteConfig
from alerts.origin import Origin
from alerts.provenance import CoarseModel
from detector.rule import Category, Rule, Severity
from detector.window import Span, Window, window_id
from ingest.clock import Stamp
from ingest.config import CameraConfig
from ingest.frame import Clip, Cut, FineFrame
from ingest.simulator.world import Scene
from reasoner.boxes import Box
from reasoner.verdict import (
    Calibration,
    Check,
    CheckStatus,
    Claim,
    Confidence,
    Decision,
    Evidence,
    ModelRecord,
    Recheck,
    Verdict,
)

FINE_STEP_S = 0.5
CLIP_FPS = 10
SENTENCES: dict[str, str] = {
    "abandoned_object": "A person leaves a bag at {0}s, walks away and does not come back for it at {1}s.",
    "fall": "A person who was walking at {0}s drops to the floor and still lies there at {1}s.",
    "fight": "Two people close in at {0}s and strike at each other at {1}s.",
    "running": "A person runs through the room at {0}s and out of it at {1}s.",
}


def jpeg(rgb: NDArray[np.uint8], quality: int = 88) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def mp4(frames: list[NDArray[np.uint8]], fps: int = CLIP_FPS) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "26"})
        stream.width, stream.height = frames[0].shape[1], frames[0].shape[0]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


class Footage(NamedTuple):
    """A part of a scene as it is stored."""

    scene: Scene
    start_s: float
    end_s: float
    jpegs: tuple[bytes, ...]
    mp4: bytes


@cache
def footage(seed: int, kind: str, size: tuple[int, int]) -> Footage:
    """The first event of a scene with what surrounds it."""
    scene = Scene(seed, 30.0, size, [kind])
    event = scene.events[0]
    start_s, end_s = max(0.0, event.start_s - 2), min(scene.duration_s, event.end_s + 1.5, event.start_s + 9)
    jpegs = tuple(jpeg(scene.frame(start_s + k * FINE_STEP_S)) for k in range(round((end_s - start_s) / FINE_STEP_S)))
    moving = [scene.frame(start_s + k / CLIP_FPS) for k in range(round((end_s - start_s) * CLIP_FPS))]
    return Footage(scene, start_s, end_s, jpegs, mp4(moving))


def window_of(seen: Footage, onset_utc_ns: int, camera_id: str, rule_id: str) -> Window:
    """The footage as a window whose event begins at `onset_utc_ns`."""
    base_ns = onset_utc_ns - round(seen.scene.events[0].start_s * 1e9)
    start_ns, end_ns = (base_ns + round(t * 1e9) for t in (seen.start_s, seen.end_s))
    frames = []
    for k, picture in enumerate(seen.jpegs):
        t = seen.start_s + k * FINE_STEP_S
        stamp = Stamp(
            pts=round(t * 90_000),
            time_base=(1, 90_000),
            utc_ns=base_ns + round(t * 1e9),
            source="rtcp_sr",
            uncertainty_ms=12,
        )
        frames.append(FineFrame(stamp=stamp, jpeg=picture, size=seen.scene.size))
    span = Span(
        window_id=window_id(camera_id, rule_id, start_ns, end_ns),
        camera_id=camera_id,
        rule_id=rule_id,
        epoch=1,
        start_utc_ns=start_ns,
        end_utc_ns=end_ns,
        first_hot_utc_ns=onset_utc_ns,
        peak_utc_ns=onset_utc_ns + 1_000_000_000,
        score=0.91,
        scores=((onset_utc_ns, 0.91),),
        flagged_utc_ns=end_ns,
    )
    clip = Clip(mp4=seen.mp4, start_utc_ns=start_ns, end_utc_ns=end_ns, codec="h264")
    cut = Cut(
        camera_id=camera_id, epoch=1, source_size=seen.scene.size, frames=tuple(frames), clip=clip, expected=len(frames)
    )
    return Window(span=span, cut=cut)


def verdict_of(
    seen: Footage,
    window: Window,
    *,
    p: float = 0.91,
    decision: Decision = "confirmed",
    reasons: tuple[str, ...] = (),
    checks: tuple[CheckStatus, ...] = ("supported",),
    sentences: tuple[str, ...] = (),
    rechecks: tuple[Recheck, ...] = (),
) -> Verdict:
    """Two or three claims about the objects of the scene's first event, with their true boxes."""
    told = list(_told(seen, window, checks, sentences))
    evidence = tuple(piece for _, piece in told)
    return Verdict(
        window_id=window.window_id,
        decision=decision,
        reasons=reasons,
        answer="Yes.",
        output="",
        claims=tuple(claim for claim, _ in told),
        evidence=evidence,
        confidence=_confidence(p),
        rechecks=rechecks,
        onset_utc_ns=window.span.first_hot_utc_ns,
        end_utc_ns=None,
        peak_utc_ns=evidence[len(evidence) // 2].stamp.utc_ns,
        model=ModelRecord(
            name="witness-tiny", weights_sha256="0" * 64, prompt_sha256="1" * 64, tokens_in=210, tokens_out=88
        ),
        reasoned_utc_ns=window.span.flagged_utc_ns + 900_000_000,
    )


def _told(
    seen: Footage, window: Window, checks: tuple[CheckStatus, ...], sentences: tuple[str, ...]
) -> Iterator[tuple[Claim, Evidence]]:
    """At most five claims at three moments of the event, each with its piece of evidence."""
    scene, start_s, frames = seen.scene, seen.start_s, window.cut.frames
    event = scene.events[0]
    last_s = min(event.end_s, seen.end_s) - 1.2
    moments = (event.evident_s, (event.evident_s + last_s) / 2, last_s)
    picked = sorted({min(len(frames) - 1, max(0, round((t - start_s) / FINE_STEP_S))) for t in moments})
    shown = [
        (frame, truth)
        for frame in picked
        for actor in event.actors
        for truth in scene.truth(start_s + frame * FINE_STEP_S)
        if truth.id == actor and truth.visible > 0.3
    ]
    for number, (frame, truth) in enumerate(shown[:5]):
        said = sentences[number % len(sentences)] if sentences else SENTENCES[event.label]
        text = said.replace("{0}", f"{picked[0] * FINE_STEP_S:.1f}").replace("{1}", f"{picked[-1] * FINE_STEP_S:.1f}")
        box, status = Box(*map(float, truth.box)), checks[number % len(checks)]
        yield (
            Claim(text=text, object=truth.label, boxes=(box,), time_s=frame * FINE_STEP_S),
            Evidence(
                claim=number,
                frame=frame,
                frame_sha256=frames[frame].sha256(),
                stamp=frames[frame].stamp,
                label=truth.label,
                box=box,
                check=Check(method="change_region", status=status, score=0.84 if status == "supported" else 0.2),
            ),
        )


def _confidence(p: float) -> Confidence:
    return Confidence(
        p=p,
        interval=(max(0, p - 0.09), min(1, p + 0.06)),
        components={
            "vlm_token": min(1, p + 0.05),
            "temporal_agreement": min(1, p + 0.02),
            "detector_agreement": max(0, p - 0.1),
            "evidence_match": max(0, p - 0.03),
            "coarse": 0.91,
        },
        calibration=Calibration(id="cal-1", method="isotonic", ece=0.03, n=1840, date="2026-01-12"),
    )


def case(
    seed: int,
    kind: Category,
    onset_utc_ns: int,
    camera: CameraConfig,
    *,
    severity: Severity = "high",
    name: str = "",
    question: str = "",
    tz: str = "Europe/Vienna",
    size: tuple[int, int] = (640, 360),
    p: float = 0.91,
    decision: Decision = "confirmed",
    reasons: tuple[str, ...] = (),
    checks: tuple[CheckStatus, ...] = ("supported",),
    sentences: tuple[str, ...] = (),
    rechecks: tuple[Recheck, ...] = (),
    language: str = "en",
) -> tuple[Alert, Window]:
    """One alert and the window it was made of."""
    seen = footage(seed, kind, size)
    rule = Rule(
        id=f"{kind.replace('_', '-')}-1",
        category=kind,
        watch="something of the kind",
        question=question or f"Is there a case of {kind.replace('_', ' ')} in these pictures?",
        name=name,
        severity=severity,
        language="zh" if language == "zh" else "en",
    )
    window = window_of(seen, onset_utc_ns, camera.id, rule.id)
    verdict = verdict_of(
        seen, window, p=p, decision=decision, reasons=reasons, checks=checks, sentences=sentences, rechecks=rechecks
    )
    origin = Origin(
        site=SiteConfig(id="north-mall", tz=tz),
        node_id="edge-1",
        coarse=CoarseModel(name="vit-tiny", engine_sha256="2" * 64, precision="int8"),
    )
    alert = from_verdict(verdict, window, rule, camera, origin, verdict.reasoned_utc_ns + 4_000_000)
    return alert, window
