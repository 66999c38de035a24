"""One short look at a camera, for a check before the work begins."""

from __future__ import annotations

import queue
import time

from ingest.config import CameraConfig, IngestConfig
from ingest.errors import IngestError, SourceDied, SourceStalled, error_for
from ingest.frame import CoarseFrame
from ingest.process import CameraProcess
from ingest.source import parse
from ingest.status import ProbeReport
from ingest.wire import Coarse, Ended, Opened, Report


def probe(config: CameraConfig, ingest: IngestConfig, timeout_s: float) -> ProbeReport:
    """Opens the camera once, in a process of its own, up to its first decoded picture.

    Raises the errors of ingest, each with one clear line: SourceRefused, SourceUnreachable, CredentialsRefused,
    SourceStalled, SourceUndecodable or SourceDied.
    """
    source = parse(config.url)
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    began_s = time.monotonic()
    process = CameraProcess(config, ingest, 1, lambda _, report: reports.put(report))
    codec = ""
    frame: CoarseFrame | None = None
    try:
        while not codec or frame is None:
            left_s = began_s + timeout_s - time.monotonic()
            try:
                report = reports.get(timeout=max(0.0, min(left_s, 0.2)))
            except queue.Empty:
                if process.gone.is_set() and reports.empty():
                    raise SourceDied(process.epitaph()) from None
                if left_s <= 0:
                    raise SourceStalled(f"{source.shown} gave no picture within {timeout_s:g} s") from None
                continue
            if isinstance(report, Opened):
                codec = report.codec
            elif isinstance(report, Ended):
                raise _failure(report)
            elif isinstance(report, Coarse):  # may overtake the word that the stream is open
                frame = frame or report.frame
        return ProbeReport(
            camera_id=config.id,
            codec=codec,
            size=frame.source_size,
            first_picture_s=round(time.monotonic() - began_s, 3),
            clock_source=frame.stamp.source,
            clock_offset_ms=None,
        )
    finally:
        process.end()


def _failure(ended: Ended) -> IngestError:
    return error_for(ended.fault, ended.reason)
