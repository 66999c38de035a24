"""One clip through the line: the stages of `deploy/stages.py` and `deploy/fetch.py` and a real store, without threads.

The stages are called in the order in which records would reach them: a coarse frame is scored when its key frame has
been taken, and a span is cut once the ring has reached its end. Nothing here knows what truly happens in the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from alerts.errors import AlertsError, StoreError
from alerts.store import Store
from bench.accuracy.camera import RecordedCamera, Recording
from bench.accuracy.models import Models
from deploy.admission import Ticket
from deploy.fetch import Fetch, Group
from deploy.ledger import Ledger
from deploy.stages import Decide, Published, Reason, Score, shed_reason
from deploy.summary import Windows
from detector.gate import Gate
from detector.window import Span, Window
from ingest.config import CameraConfig
from ingest.errors import IngestError
from ingest.simulator.stream import Stream
from reasoner.errors import ReasonerError
from reasoner.verdict import Verdict


class Judged(NamedTuple):
    """A window, what the reasoner made of it, and the alert where it raised one."""

    window: Window
    verdict: Verdict
    published: Published | None


class Played(NamedTuple):
    """All that came of one clip."""

    judged: tuple[Judged, ...]
    scores: tuple[tuple[int, tuple[float, ...]], ...]
    """(UTC ns, score of each rule) of every coarse frame."""
    windows: Windows


class Line:
    """Score, fetch, reason, decide for one recorded camera."""

    def __init__(self, models: Models, config: CameraConfig, camera: RecordedCamera, store: Store) -> None:
        rules = {rule.id: rule for rule in models.rules}
        sites = {config.id: config}
        self._store, self._ledger, self._camera = store, Ledger(), camera
        self._scorer = models.scorer()
        gate = Gate(models.rules, self._scorer.thresholds.tolist(), models.detector.gate, self._scorer.sure_from)
        self._score = Score(self._scorer, gate, store, self._ledger)
        self._fetch = Fetch({config.id: camera}, rules, store, self._scorer.background_jpeg, self._shed)
        self._reason = Reason(models.reasoner, sites, rules, store)
        self._published: list[Published] = []
        self._decide = Decide(sites, rules, lambda: models.origin, store, self._ledger, self._published.append)
        self._judged: list[Judged] = []
        self._waiting: list[Group] = []

    def play(self) -> Played:
        """From the first packet to the last outcome."""
        for full_to_ns in self._camera.play():
            frames, self._camera.seen = self._camera.seen, []
            if frames:
                self._waiting += self._score(frames)
            ready = [group for group in self._waiting if max(span.end_utc_ns for span in group) <= full_to_ns]
            self._waiting = [group for group in self._waiting if group not in ready]
            self._examine(ready)
        self._examine([*self._waiting, *self._score.flush()])
        return Played(tuple(self._judged), tuple(self._scorer.said), self._ledger.windows())

    def _examine(self, groups: list[Group]) -> None:
        for group in groups:
            try:
                tickets = self._fetch([group])
            except (IngestError, StoreError) as error:
                for span in group:
                    self._shed(span, error)
                continue
            for ticket in tickets:
                try:
                    self._conclude(ticket)
                except (AlertsError, ReasonerError) as error:
                    self._shed(ticket.span, error)

    def _conclude(self, ticket: Ticket) -> None:
        (judgement,) = self._reason([ticket])
        before = len(self._published)
        self._decide([judgement])
        new = self._published[before] if len(self._published) > before else None
        self._judged.append(Judged(judgement.window, judgement.verdict, new))

    def _shed(self, span: Span, error: Exception) -> None:
        reason = shed_reason(error)
        self._ledger.end(span.window_id, "shed", lambda: self._store.shed(span.window_id, reason))


@contextmanager
def opened(models: Models, stream: Stream, name: str) -> Iterator[tuple[RecordedCamera, Line]]:
    """The camera and the line of one clip; the ring can be cut until the end of the context."""
    config = CameraConfig(id=name, url=f"rtsp://127.0.0.1/{name}")
    with Recording(stream) as recording, TemporaryDirectory() as data, Store.open(Path(data) / "store") as store:
        camera = RecordedCamera(config, models.ingest, recording)
        yield camera, Line(models, config, camera, store)


def scored(models: Models, stream: Stream, name: str) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """The scorer alone on a clip: (UTC ns, score of each rule) of every coarse frame."""
    scorer = models.scorer()
    config = CameraConfig(id=name, url=f"rtsp://127.0.0.1/{name}")
    with Recording(stream) as recording:
        camera = RecordedCamera(config, models.ingest, recording)
        for _ in camera.play():
            frames, camera.seen = camera.seen, []
            if frames:
                scorer.score(frames)
    return tuple(scorer.said)
