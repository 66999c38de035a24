"""Two cameras and a line with real store, gate and policy; scores and verdicts are scripted, so each end comes up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alerts.origin import Origin
from alerts.store import Store
from deploy.config import Config, PipelineConfig
from deploy.pipeline import Pipeline
from deploy.stages import Published
from detector.config import DetectorConfig, GateConfig
from detector.engines import PassedOver
from detector.rule import Rule
from detector.scorer import Scorer
from detector.window import Window
from ingest.config import CameraConfig, IngestConfig, Point
from ingest.frame import CoarseFrame
from ingest.simulator.rtsp import SimulatedServer
from reasoner.boxes import Box
from reasoner.config import ReasonerConfig
from reasoner.reason import Reasoner
from reasoner.verdict import Calibration, Check, Claim, Confidence, Evidence, ModelRecord, Verdict

log = logging.getLogger(__name__)
Answer = Literal["yes", "no", "fail", "hang"]
RULE = Rule(id="fall", category="fall", watch="a person on the floor", question="Does somebody fall?", cooldown_s=0)

QUICK = GateConfig(max_hot_s=0.7, pad_before_s=1.0, pad_after_s=0.4, wait_s=0.4, min_span_s=1.5, max_span_s=4.0)
"""Two windows a second from two hot cameras."""


class ScriptedScorer:
    """Hot while `hot` says so, by camera and seconds since the start."""

    engine = "scripted"
    provenance = ("scripted", "0" * 64, "fp32")
    passed_over = (PassedOver("tensorrt", "unavailable", "no GPU"),)
    trouble = ""
    left: tuple[str, ...] = ()

    def __init__(self, rules: Sequence[Rule], hot: Callable[[str, float], bool]) -> None:
        self.thresholds = np.full(len(rules), 0.5, np.float32)
        self.sure_from = (1.0,) * len(rules)
        self.zero_ns = time.time_ns()
        self._hot = hot

    def score(self, frames: Sequence[CoarseFrame]) -> NDArray[np.float32]:
        rows = [self._hot(frame.camera_id, (frame.stamp.utc_ns - self.zero_ns) / 1e9) for frame in frames]
        return np.array([[0.9 if hot else 0.1] * len(self.thresholds) for hot in rows], np.float32)

    def background_jpeg(self, camera_id: str, before_utc_ns: int | None = None) -> bytes:
        return b""


class ScriptedReasoner:
    """Answers windows in order as told; the last answer is repeated."""

    def __init__(self, answers: Sequence[Answer] = ("yes",)) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.released = False

    def reason(self, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]], name: str) -> Verdict:
        answer = self.answers[min(len(self.seen), len(self.answers) - 1)]
        self.seen.append(window.window_id)
        if answer == "fail":
            raise RuntimeError("the model gave up")
        while answer == "hang" and not self.released:
            time.sleep(0.02)
        return verdict(window, "rejected" if answer == "no" else "confirmed")

    def failed(self, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]]) -> Verdict | None:
        return None


def verdict(window: Window, decision: Literal["confirmed", "rejected"]) -> Verdict:
    frame = len(window.cut.frames) // 2
    stamp = window.cut.frames[frame].stamp
    box = Box(0.2, 0.2, 0.4, 0.6)
    evidence = Evidence(
        claim=0,
        frame=frame,
        frame_sha256=window.cut.frames[frame].sha256(),
        stamp=stamp,
        label="person",
        box=box,
        check=Check(method="change_region", status="supported", score=0.9),
    )
    claim = Claim(text="A person falls.", object="person", boxes=(box,), time_s=window.seconds(frame))
    return Verdict(
        window_id=window.window_id,
        decision=decision,
        reasons=() if decision == "confirmed" else ("answer_no",),
        answer="Yes. A person falls." if decision == "confirmed" else "No.",
        output="",
        claims=(claim,) if decision == "confirmed" else (),
        evidence=(evidence,) if decision == "confirmed" else (),
        confidence=Confidence(
            p=0.9,
            interval=(0.8, 0.95),
            components={"coarse": 0.9},
            calibration=Calibration(id="none", method="none", ece=0.0, n=0, date="2026-01-01"),
        ),
        onset_utc_ns=stamp.utc_ns,
        end_utc_ns=None,
        peak_utc_ns=stamp.utc_ns,
        model=ModelRecord(name="scripted", weights_sha256="0" * 64, prompt_sha256="0" * 64, tokens_in=1, tokens_out=1),
        reasoned_utc_ns=time.time_ns(),
    )


class Site:
    """Two cameras and one data folder; a line may be built on them again and again."""

    def __init__(self, data: Path, server: SimulatedServer) -> None:
        self.data = data
        self.server = server
        self.cameras = tuple(CameraConfig(id=name, url=server.url(name)) for name in ("a", "b"))
        self.published: list[Published] = []

    def line(
        self,
        store: Store,
        scorer: ScriptedScorer | Scorer,
        reasoner: ScriptedReasoner | Reasoner,
        asked: ReasonerConfig | None = None,
        **settings: Any,
    ) -> Pipeline:
        """asked: the `[reasoner]` table; settings: of the `[pipeline]` table."""
        settings.setdefault("drain_s", 30.0)
        config = Config(
            camera=self.cameras,
            rule=(RULE,),
            data=str(self.data),
            pipeline=PipelineConfig(**settings),
            ingest=IngestConfig(coarse_interval_s=0.2),
            detector=DetectorConfig(gate=QUICK),
            reasoner=asked or ReasonerConfig(),
        )
        return Pipeline(
            config,
            store,
            scorer,  # type: ignore[arg-type]
            reasoner,  # type: ignore[arg-type]
            origin=Origin(),
            on_alert=self.published.append,
            on_camera=lambda event: log.info("camera %s %s %s", event.camera_id, event.state, event.reason),
        )
