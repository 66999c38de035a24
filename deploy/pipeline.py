"""The line of one node: cameras → score → fetch → reason → decide, with a bounded inbox in front of each stage.

| inbox  | holds                    | when full                                                        |
|--------|--------------------------|------------------------------------------------------------------|
| score  | coarse frames            | the oldest frame is dropped and counted                          |
| fetch  | spans, a lane per camera | the oldest spans are shed as `fetch_backlog`                     |
| reason | spooled windows          | the least important one is shed (deploy/admission.py)            |
| decide | judgements               | the reasoner waits                                               |
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from alerts.errors import EvidenceLost, StoreError
from alerts.origin import Origin
from alerts.provenance import CoarseModel
from deploy.admission import Admission, Bound, Shed, Ticket
from deploy.closing import Closing
from deploy.config import Config
from deploy.errors import one_line
from deploy.fetch import Fetch, Group
from deploy.inbox import Fifo
from deploy.ledger import Ledger
from deploy.runner import Link, Observation, Runner
from deploy.stages import Decide, Judgement, Published, Reason, Score, shed_reason
from deploy.summary import Windows
from detector.gate import Gate
from detector.window import Span
from ingest.frame import CoarseFrame
from reasoner.config import ReasonerConfig

if TYPE_CHECKING:
    from alerts.store import Store
    from detector.engines import PassedOver
    from detector.scorer import Scorer
    from ingest.supervisor import Camera, CameraEvent, CameraStatus
    from reasoner.reason import Reasoner

log = logging.getLogger(__name__)

COARSE_PER_CAMERA = 4
GROUPS_PER_CAMERA = 8
JUDGEMENTS = 4
TICK_S = 0.5
STOP_CAMERA_S = 3.0
LAST_WORDS_S = 3.0
"""A stage that is in the middle of a record when the drain is over may finish it for so long, without effect."""


class Pipeline:
    """`start`, `resume`, `watch`, later `stop`; not started twice."""

    def __init__(
        self,
        config: Config,
        store: Store,
        scorer: Scorer,
        reasoner: Reasoner,
        *,
        origin: Origin,
        on_alert: Callable[[Published], None],
        on_camera: Callable[[CameraEvent], None] | None = None,
        observe: Callable[[Observation], None] | None = None,
    ) -> None:
        """on_alert: told of each new alert, in the thread that committed it; on_camera: of each change of a camera."""
        self._config = config
        self._store = store
        self._scorer = scorer
        self.reasoner = reasoner
        self._origin = origin
        self.ledger = Ledger()
        self.shed_reasons: Counter[str] = Counter()
        """Why windows were not examined, without the details of each."""
        self.unscored = 0
        """Coarse frames that the scorer could not take."""
        self._rules = {rule.id: rule for rule in config.rule}
        self._sites = {camera.id: camera for camera in config.camera}
        self._lanes = {camera.id: lane for lane, camera in enumerate(config.camera)}
        self._on_camera = on_camera or (lambda event: None)
        self._stopped = threading.Event()
        self.cameras = self._make_cameras()
        gate = Gate(config.rule, scorer.thresholds.tolist(), config.detector.gate, scorer.sure_from)
        self._score = Score(scorer, gate, store, self.ledger)
        self.admission = Admission(
            Bound(config.pipeline.waiting_windows, config.pipeline.wait_s), on_shed=self._shed_ticket
        )
        decide = Decide(self._sites, self._rules, self._origin_now, store, self.ledger, on_alert)
        self._close_over = Closing(store, self._rules)
        reason = Reason(reasoner, self._sites, self._rules, store)
        self.runner = Runner(self._links(reason, decide), observe)
        self._ticker = threading.Thread(target=self._tick, name="gate-tick", daemon=True)

    def _make_cameras(self) -> dict[str, Camera]:
        from ingest.supervisor import Camera

        return {
            camera.id: Camera(camera, self._config.ingest, self._take, self._on_camera)
            for camera in self._config.camera
        }

    def _links(self, reason: Reason, decide: Decide) -> Sequence[Link[Any, Any]]:
        cameras = len(self._sites)
        settings = self._config.reasoner
        fetch = Fetch(
            self.cameras,
            self._rules,
            self._store,
            self._scorer.background_jpeg,
            on_failed=lambda span, error: self._shed(span, shed_reason(error)),
        )
        return (
            Link[CoarseFrame, Group](
                name="score",
                stage=self._score,
                inboxes=[Fifo(COARSE_PER_CAMERA * cameras, "drop_oldest")],
                max_batch=self._config.detector.max_batch,
                key=lambda frame: frame.camera_id,
                flush=self._score.flush,
                on_poison=self._unscored,
                on_left=lambda frame: None,
            ),
            Link[Group, Ticket](
                name="fetch",
                stage=fetch,
                inboxes=[
                    Fifo(GROUPS_PER_CAMERA, "drop_oldest", lambda group: self._shed_all(group, "fetch_backlog"))
                    for _ in range(cameras)
                ],
                lane=lambda group: self._lanes[group[0].camera_id],
                key=lambda group: " ".join(span.window_id for span in group),
                on_poison=lambda group, error: self._shed_all(group, shed_reason(error)),
                on_left=lambda group: self._shed_all(group, "stopped"),
            ),
            Link[Ticket, Judgement](
                name="reason",
                stage=reason,
                inboxes=[self.admission],
                key=lambda ticket: ticket.span.window_id,
                on_poison=lambda ticket, error: self._failed(reason, ticket, error),
                on_left=lambda ticket: self._shed(ticket.span, "stopped"),
                workers=answered_together(settings),
            ),
            Link[Judgement, None](
                name="decide",
                stage=decide,
                inboxes=[Fifo(JUDGEMENTS)],
                key=lambda judgement: judgement.window.window_id,
                on_poison=lambda judgement, error: self._shed(judgement.window.span, shed_reason(error)),
                on_left=lambda judgement: self._shed(judgement.window.span, "stopped"),
            ),
        )

    @property
    def engine(self) -> str:
        """What the image tower runs on now, as `onnx (CPU)`."""
        return self._scorer.engine

    @property
    def precision(self) -> str:
        return self._scorer.provenance[2]

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        return self._scorer.passed_over

    @property
    def trouble(self) -> str:
        """One line while no coarse frame can be scored; empty else."""
        return self._scorer.trouble

    @property
    def left(self) -> tuple[str, ...]:
        """Engines of the scorer that were given up in this run, each with its reason."""
        return self._scorer.left

    def _origin_now(self) -> Origin:
        """With the engine in use: another may have taken over since the start."""
        name, sha256, precision = self._scorer.provenance
        coarse = CoarseModel(name=name, engine_sha256=sha256, precision=precision)
        return msgspec.structs.replace(self._origin, coarse=coarse)

    def start(self) -> None:
        """The stages, without cameras."""
        self.runner.start()

    def resume(self) -> int:
        """Take over what an earlier run flagged and did not finish; returns how many windows that are.

        A window flagged without stored evidence cannot be examined any more and ends as shed.
        """
        if lost := self._store.recover():
            log.warning("%d windows of an earlier run had no evidence yet; shed as evidence_lost", lost)
        unfinished = self._store.unfinished()
        for window_id in unfinished:
            self._take_over(window_id)
        return len(unfinished)

    def _take_over(self, window_id: str) -> None:
        self.ledger.take_over(window_id)
        try:
            span = self._store.load_window(window_id).span
        except EvidenceLost as error:
            log.warning("window %s: %s", window_id, error)
            self._end_as_shed(window_id, "evidence_lost")
            return
        rule = self._rules.get(span.rule_id)
        if rule is None or span.camera_id not in self._sites:
            self._end_as_shed(window_id, "camera_or_rule_gone")
            return
        self.admission.restore(span, rule.severity)

    def watch(self) -> None:
        """Start the cameras."""
        for camera in self.cameras.values():
            camera.start()
        self._ticker.start()

    def statuses(self) -> list[CameraStatus]:
        return [camera.status for camera in self.cameras.values()]

    def stop(self) -> Windows:
        """Examine what was flagged, for `drain_s` at most; shed the rest; stop the cameras. The numbers add up then."""
        self._stopped.set()
        left = self.runner.stop(self._config.pipeline.drain_s)
        if left:
            log.warning("%d records were left when the time to drain was over", left)
        for window_id in self.ledger.open():
            self._end_as_shed(window_id, "stopped")
        self._stop_cameras()
        self.runner.wait(LAST_WORDS_S)
        return self.ledger.windows()

    def _stop_cameras(self) -> None:
        """All at once: each may need its time to end."""
        threads = [
            threading.Thread(target=camera.stop, args=(STOP_CAMERA_S,), name=f"stop-{name}")
            for name, camera in self.cameras.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _take(self, frame: CoarseFrame) -> None:
        """On a camera's reader thread: never waits."""
        self.runner.put(frame)

    def _tick(self) -> None:
        fetch = self.runner.links[1]
        while not self._stopped.wait(TICK_S):
            for group in self._score.tick():
                if not fetch.put(group):
                    self._shed_all(group, "stopped")
            self._close_over()

    def _shed_ticket(self, shed: Shed) -> None:
        self._shed(shed.span, shed.reason)

    def _failed(self, reason: Reason, ticket: Ticket, error: Exception) -> None:
        """A window that the model failed on goes to a person where the first look saw enough, else it is shed."""
        judgement = reason.failed(ticket, error)
        if judgement is None or not self.runner.links[3].put(judgement):
            self._shed(ticket.span, shed_reason(error))
            return
        span = ticket.span
        log.error("camera %s, rule %s: left to a person: %s", span.camera_id, span.rule_id, one_line(error))

    def _unscored(self, frame: CoarseFrame, error: Exception) -> None:
        """One line for the first frame and each hundredth: a camera may send many that cannot be scored."""
        if self.unscored % 100 == 0:
            log.error("frame %d of %s cannot be scored: %s", self.unscored + 1, frame.camera_id, error)
        self.unscored += 1

    def _shed_all(self, group: Group, reason: str) -> None:
        for span in group:
            self._shed(span, reason)

    def _shed(self, span: Span, reason: str) -> None:
        if self._end_as_shed(span.window_id, reason):
            log.warning("camera %s, rule %s: a window is not examined: %s", span.camera_id, span.rule_id, reason)

    def _end_as_shed(self, window_id: str, reason: str) -> bool:
        """A store that cannot take the row keeps the window unfinished; it is taken over at the next start."""
        try:
            ended = self.ledger.end(window_id, "shed", lambda: self._store.shed(window_id, reason))
        except StoreError as error:
            log.error("window %s: shed (%s) could not be stored: %s", window_id, reason, error)
            ended = self.ledger.end(window_id, "shed", lambda: None)
        if ended:
            self.shed_reasons[reason.split("=")[0].split(":")[0]] += 1
        return ended


def answered_together(settings: ReasonerConfig) -> int:
    """Windows that are with the reasoner at once, each of another camera: as many as a server is asked about, or as a
    local model writes together and this machine can prepare."""
    if settings.backend == "openai":
        return settings.max_requests
    return 1 if settings.speed.plain else min(settings.speed.together, os.cpu_count() or 1)
