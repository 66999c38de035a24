"""The stages of the line as plain functions over batches, each a small object that holds what it needs.

score: coarse frames → spans; fetch (deploy/fetch.py): spans → tickets; reason: tickets → judgements; decide: judgements
→ alerts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from alerts.alert import Alert
from alerts.errors import AlertsError, EvidenceLost, RevisionConflict, StoreError, StoreFull
from alerts.origin import Origin
from alerts.policy import Merged, New, Rejected, Retracted, decide
from deploy.admission import Ticket
from deploy.errors import one_line
from deploy.fetch import Group, together
from deploy.ledger import Ledger
from detector.rule import Rule
from detector.window import Span, Window
from ingest.config import CameraConfig, Point
from ingest.errors import CutUnavailable
from ingest.frame import CoarseFrame
from reasoner.backends.subject import about
from reasoner.errors import PictureUnreadable, ReasonerError
from reasoner.verdict import Verdict

if TYPE_CHECKING:
    from alerts.store import Store
    from detector.gate import Gate
    from detector.scorer import Scorer
    from reasoner.reason import Reasoner

log = logging.getLogger(__name__)

MAX_REASON_CHARS = 200


class Judgement(NamedTuple):
    """A window with what the reasoner made of it."""

    window: Window
    verdict: Verdict


class Published(NamedTuple):
    """An alert and the moment its row was committed."""

    alert: Alert
    committed_utc_ns: int
    of_this_run: bool = True
    """False when an earlier run flagged the window and this one finished it."""


class Score:
    """Scores coarse frames, lets the gate decide, stores what it flags. One thread at a time uses the gate."""

    def __init__(self, scorer: Scorer, gate: Gate, store: Store, ledger: Ledger) -> None:
        self._scorer = scorer
        self._gate = gate
        self._store = store
        self._ledger = ledger
        self._lock = threading.Lock()
        self.unflagged = 0
        """Spans that could not be stored and were therefore never flagged."""

    def __call__(self, frames: Sequence[CoarseFrame]) -> list[Group]:
        scores = self._scorer.score(frames)
        now = time.time_ns()
        with self._lock:
            return self._flag(
                span
                for frame, row in zip(frames, scores, strict=True)
                for span in self._gate.update(frame.camera_id, frame.epoch, frame.stamp.utc_ns, row.tolist(), now)
            )

    def tick(self) -> list[Group]:
        """Spans that are complete although their camera has sent nothing new."""
        with self._lock:
            return self._flag(self._gate.tick(time.time_ns()))

    def flush(self) -> list[Group]:
        """Spans still open when the run ends."""
        with self._lock:
            return self._flag(self._gate.flush(time.time_ns()))

    def _flag(self, spans: Iterable[Span]) -> list[Group]:
        flagged: list[Span] = []
        for span in spans:
            try:
                if self._store.flag(span):
                    self._ledger.flag(span.window_id)
                    flagged.append(span)
            except StoreError as error:
                self.unflagged += 1
                log.error("window %s of %s cannot be flagged: %s", span.window_id, span.camera_id, error)
        return together(flagged)


class Reason:
    """Asks the reasoner about spooled windows."""

    def __init__(
        self, reasoner: Reasoner, cameras: Mapping[str, CameraConfig], rules: Mapping[str, Rule], store: Store
    ) -> None:
        self._reasoner = reasoner
        self._cameras = cameras
        self._rules = rules
        self._store = store

    def __call__(self, tickets: Sequence[Ticket]) -> list[Judgement]:
        return [self._reason(ticket.span) for ticket in tickets]

    def _reason(self, span: Span) -> Judgement:
        window = self._store.load_window(span.window_id)
        camera, rule = self._cameras[span.camera_id], self._rules[span.rule_id]
        with about(span.window_id):
            verdict = self._reasoner.reason(window, rule, zones(rule, camera), camera.name or camera.id)
        return Judgement(window, verdict)

    def failed(self, ticket: Ticket, error: Exception) -> Judgement | None:
        """What a person is asked instead, when the model and not the evidence was at fault; None: nothing. For a link's
        `on_poison`, so it does not raise."""
        if isinstance(error, (StoreError, EvidenceLost, PictureUnreadable)):
            return None
        span = ticket.span
        try:
            window = self._store.load_window(span.window_id)
            camera, rule = self._cameras[span.camera_id], self._rules[span.rule_id]
            verdict = self._reasoner.failed(window, rule, zones(rule, camera))
        except (AlertsError, ReasonerError, OSError, RuntimeError, ValueError) as another:
            log.error("window %s: nothing can be shown of it: %s", span.window_id, one_line(another))
            return None
        return None if verdict is None else Judgement(window, verdict)


class Decide:
    """Lets the site's policy make an alert of a verdict, and stores the outcome in one transaction."""

    def __init__(
        self,
        cameras: Mapping[str, CameraConfig],
        rules: Mapping[str, Rule],
        origin: Callable[[], Origin],
        store: Store,
        ledger: Ledger,
        on_alert: Callable[[Published], None],
    ) -> None:
        """origin: asked at each decision; on_alert: told of each new alert after it was committed."""
        self._cameras = cameras
        self._rules = rules
        self._origin = origin
        self._store = store
        self._ledger = ledger
        self._on_alert = on_alert

    def __call__(self, judgements: Sequence[Judgement]) -> list[None]:
        for judgement in judgements:
            try:
                self._decide(*judgement)
            except RevisionConflict:  # a person reviewed the alert in between: decide on what there is now
                self._decide(*judgement)
        return []

    def _decide(self, window: Window, verdict: Verdict) -> None:
        span, store = window.span, self._store
        camera, rule = self._cameras[span.camera_id], self._rules[span.rule_id]
        latest = store.latest_alert(camera.id, rule.id)
        ours = self._ledger.of_this_run(span.window_id)
        match decide(verdict, window, rule, camera, self._origin(), latest, time.time_ns()):
            case New(alert=alert):
                if self._ledger.end(span.window_id, "alert", lambda: store.raise_alert(span.window_id, alert, verdict)):
                    self._on_alert(Published(alert, time.time_ns(), ours))
            case Merged(alert=alert):
                self._ledger.end(span.window_id, "merged", lambda: store.merge(span.window_id, alert, verdict))
            case Retracted(alert=alert):
                if self._ledger.end(span.window_id, "rejected", lambda: store.retract(span.window_id, alert, verdict)):
                    what = alert.headline
                    log.warning("camera %s, rule %s: taken back after a later look: %s", camera.id, rule.id, what)
            case Rejected(reason=reason):
                self._ledger.end(span.window_id, "rejected", lambda: store.reject(span.window_id, verdict, reason))


def zones(rule: Rule, camera: CameraConfig) -> dict[str, tuple[Point, ...]]:
    """The polygons of a camera in which a rule's evidence must lie; empty: the whole frame."""
    return {name: camera.zones[name] for name in rule.zones if name in camera.zones}


def shed_reason(error: Exception) -> str:
    """Why a window could not be examined, short enough for a row."""
    match error:
        case CutUnavailable():
            reason = f"cut_unavailable: {error.reason}"
        case StoreFull():
            reason = "store_full"
        case EvidenceLost():
            reason = "evidence_lost"
        case _:
            reason = f"failed: {type(error).__name__}: {one_line(error)}"
    return reason[:MAX_REASON_CHARS]
