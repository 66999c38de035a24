"""Windows and verdicts as the line makes them, with pictures that really are pictures and a clip that really plays."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from typing import Literal

from msgspec.structs import replace
from PIL import Image, ImageDraw

from alerts.alert import Alert
from alerts.birth import from_verdict
from alerts.config import SiteConfig
from alerts.origin import Origin
from detector.rule import Rule
from detector.window import Span, Window, window_id
from ingest.clock import Stamp
from ingest.config import CameraConfig
from ingest.frame import Clip, Cut, FineFrame
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
    Verdict,
)

START_NS = 1_764_000_000_000_000_000
STEP_NS = 500_000_000
SIZE = (160, 96)
CAMERA = CameraConfig(id="gate-1", url="rtsp://127.0.0.1/x", name="Gate 1")
RULE = Rule(id="bag-left", category="abandoned_object", watch="a bag", question="Is a bag left?", cooldown_s=60)
ORIGIN = Origin(site=SiteConfig(id="mall-a", tz="Asia/Shanghai"), node_id="edge-1")


@cache
def picture(number: int, camera_id: str = "gate-1") -> bytes:
    """A JPEG that differs from every other number's and camera's."""
    image = Image.new("RGB", SIZE, (20 + number % 200, 80, 90))
    draw = ImageDraw.Draw(image)
    draw.text((4, 4), f"{camera_id} {number}", fill="white")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


@cache
def mp4(seconds: int = 2) -> bytes:
    """A small H.264 clip."""
    import av
    import numpy as np

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(4 * seconds):
            shade = np.full((SIZE[1], SIZE[0], 3), 40 + 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def window(
    offset_s: float = 0.0, *, camera_id: str = "gate-1", rule_id: str = "bag-left", frames: int = 6, clip: bool = True,
    expected: int | None = None, corrupt: int = 0,
) -> Window:  # fmt: skip
    """A window whose first frame lies `offset_s` after START_NS."""
    start_ns = START_NS + round(offset_s * 1e9)
    end_ns = start_ns + (frames - 1) * STEP_NS
    number = round(offset_s * 10)
    fine = tuple(
        FineFrame(
            stamp=Stamp(
                pts=90_000 + 45_000 * i,
                time_base=(1, 90_000),
                utc_ns=start_ns + i * STEP_NS,
                source="rtcp_sr",
                uncertainty_ms=20.0,
            ),
            jpeg=picture(number * 100 + i, camera_id),
            size=SIZE,
        )
        for i in range(frames)
    )
    return Window(
        span=Span(
            window_id=window_id(camera_id, rule_id, start_ns, end_ns),
            camera_id=camera_id,
            rule_id=rule_id,
            epoch=1,
            start_utc_ns=start_ns,
            end_utc_ns=end_ns,
            first_hot_utc_ns=start_ns + STEP_NS,
            peak_utc_ns=start_ns + 2 * STEP_NS,
            score=0.9,
            scores=((start_ns, 0.2), (start_ns + STEP_NS, 0.9)),
            flagged_utc_ns=end_ns + 10**9,
        ),
        cut=Cut(
            camera_id=camera_id,
            epoch=1,
            source_size=(1280, 720),
            frames=fine,
            clip=Clip(mp4=mp4(), start_utc_ns=start_ns - 10**9, end_utc_ns=end_ns + 10**9, codec="h264")
            if clip
            else None,
            expected=frames if expected is None else expected,
            corrupt=corrupt,
        ),
        background=picture(number * 100 + 99, camera_id),
    )


def verdict(
    of: Window,
    *,
    decision: Decision = "confirmed",
    p: float = 0.9,
    checks: tuple[CheckStatus, ...] = ("supported", "supported"),
    sentences: tuple[str, ...] = (
        "The person at 1.0s leaves the bag at 2.0s behind.",
        "The person at 1.0s leaves the bag at 2.0s behind.",
    ),
    language: Literal["en", "zh"] = "en",
) -> Verdict:
    """Person in frame 2, bag in frame 4, one check for each."""
    labels = ("person", "bag") if language == "en" else ("人员", "包")
    marks = ((labels[0], 2, Box(0.2, 0.1, 0.31, 0.48)), (labels[1], 4, Box(0.4, 0.5, 0.5, 0.62)))
    frames = of.cut.frames
    claims = tuple(
        Claim(text=text, object=label, boxes=(box,), time_s=frame / 2)
        for text, (label, frame, box) in zip(sentences, marks, strict=True)
    )
    evidence = tuple(
        Evidence(
            claim=i,
            frame=frame,
            frame_sha256=frames[frame].sha256(),
            stamp=frames[frame].stamp,
            label=label,
            box=box,
            check=Check(method="change_region", status=status, score=0.8 if status == "supported" else 0.1),
        )
        for i, ((label, frame, box), status) in enumerate(zip(marks, checks, strict=True))
    )
    rejected = decision == "rejected"
    return Verdict(
        window_id=of.window_id,
        decision=decision,
        reasons=("answer_no",) if rejected else (),
        answer="No." if rejected else "Yes. A bag is left behind from 1.0s to 2.5s.",
        output="<think>...</think>",
        claims=() if rejected else claims,
        evidence=() if rejected else evidence,
        confidence=Confidence(
            p=p,
            interval=(max(0.0, p - 0.1), min(1.0, p + 0.1)),
            components={"coarse": 0.9, "vlm_token": 0.95, "detector_agreement": 0.8},
            calibration=Calibration(id="cal-1", method="logistic", ece=0.03, n=400, date="2026-11-01"),
        ),
        onset_utc_ns=frames[2].stamp.utc_ns,
        end_utc_ns=None,
        peak_utc_ns=frames[-2].stamp.utc_ns,
        model=ModelRecord(
            name="bundled",
            weights_sha256=hashlib.sha256(b"weights").hexdigest(),
            prompt_sha256=hashlib.sha256(b"prompt").hexdigest(),
            tokens_in=120,
            tokens_out=80,
        ),
        reasoned_utc_ns=of.span.flagged_utc_ns + 2 * 10**9,
    )


def no(of: Window, *, token: float = 0.04, answer: str = "No. The bag is carried out again.") -> Verdict:
    """A clear no; `token` is what the model leaves for a yes."""
    said = verdict(of, decision="rejected", p=0.03)
    parts = said.confidence.components | {"vlm_token": token}
    return replace(said, answer=answer, confidence=replace(said.confidence, components=parts))


def camera(camera_id: str) -> CameraConfig:
    return CameraConfig(id=camera_id, url="rtsp://127.0.0.1/x", name=f"Camera {camera_id}")


def alert(of: Window, rule: Rule = RULE) -> Alert:
    """The alert of a window by the usual verdict."""
    answer = verdict(of)
    return from_verdict(answer, of, rule, camera(of.span.camera_id), ORIGIN, answer.reasoned_utc_ns + 10**7)
