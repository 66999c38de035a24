"""One camera from outside its process: keeps it connected, hands on its coarse frames, asks it for cuts."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError

import msgspec

from ingest.backoff import Backoff
from ingest.config import CameraConfig, IngestConfig
from ingest.errors import CutUnavailable, Fault
from ingest.frame import CoarseFrame, Cut
from ingest.probe import probe
from ingest.process import CameraProcess
from ingest.retired import Retired, best_holder
from ingest.source import check_url
from ingest.status import CameraEvent, CameraStatus, ProbeReport, State
from ingest.wire import Beat, Coarse, Ended, Opened, Report

__all__ = ["Camera", "CameraEvent", "CameraStatus", "ProbeReport", "probe"]

TICK_S = 1.0
START_S = 8.0
"""For a process to start on a busy machine."""
LATE_S = 3.0
"""Beyond the process's own timeouts: after that it is not the camera that hangs."""
CUT_GRACE_S = 30.0
"""For decoding a cut once its end has been reached, on a busy machine."""


class Camera:
    """Supervises one camera. Thread-safe.

    `on_coarse` and `on_event` are called on the camera's own threads and must return quickly. When a connection ends,
    its process stays for as long as its ring is worth something: a window flagged in its last seconds can still be cut.
    """

    def __init__(
        self,
        config: CameraConfig,
        ingest: IngestConfig,
        on_coarse: Callable[[CoarseFrame], None],
        on_event: Callable[[CameraEvent], None],
    ) -> None:
        check_url(config.url)
        self.config = config
        self._ingest = ingest
        self._on_coarse, self._on_event = on_coarse, on_event
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: CameraProcess | None = None
        self._retired = Retired()
        self._ended: Ended | None = None
        self._online_since_s: float | None = None
        self._last_picture_s = 0.0
        self._past = Beat()
        self._beat = Beat()
        self._status = CameraStatus(camera_id=config.id, state="connecting")

    def start(self) -> None:
        if self._thread is not None:
            raise RuntimeError(f"camera {self.config.id} was started already")
        self._thread = threading.Thread(target=self._supervise, name=f"supervise-{self.config.id}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Ends the processes and waits for them. Cuts that still wait fail with CutUnavailable."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def status(self) -> CameraStatus:
        with self._lock:
            past, beat = self._past, self._beat
            dropped = {
                reason: past.dropped.get(reason, 0) + beat.dropped.get(reason, 0)
                for reason in sorted({*past.dropped, *beat.dropped})
            }
            return msgspec.structs.replace(
                self._status,
                received_packets=past.packets + beat.packets,
                received_bytes=past.bytes + beat.bytes,
                key_frames=past.key_frames + beat.key_frames,
                dropped=dropped,
                ring_s=beat.ring_s,
                ring_bytes=beat.ring_bytes,
                camera_offset_ms=beat.camera_offset_ms,
            )

    def cut(self, start_utc_ns: int, end_utc_ns: int, timeout_s: float) -> Cut:
        """Fine frames and clip of a span; waits up to `timeout_s` for its end to come. Raises CutUnavailable."""
        process = self._holder(start_utc_ns, end_utc_ns)
        order = process.cut(start_utc_ns, end_utc_ns, timeout_s)
        try:
            return order.result(timeout_s + CUT_GRACE_S)
        except FutureTimeoutError:
            order.cancel()
            raise CutUnavailable(f"camera {self.config.id}: its process did not answer in time") from None

    def _holder(self, start_utc_ns: int, end_utc_ns: int) -> CameraProcess:
        with self._lock:
            newest = self._process
        held = self._retired.processes() + ([newest] if newest else [])
        best = best_holder(held, newest, start_utc_ns, end_utc_ns)
        if best is None:
            raise CutUnavailable(f"camera {self.config.id} holds no pictures of that time; it is {self._status.state}")
        return best

    # --- the supervising thread ---

    def _supervise(self) -> None:
        backoff = Backoff(self._ingest.backoff_max_s, random.Random())
        self._change("connecting")
        first = True
        try:
            while not self._stopping.is_set():
                if not first:
                    with self._lock:
                        self._status = msgspec.structs.replace(self._status, reconnects=self._status.reconnects + 1)
                first = False
                ended = self._connection()
                if ended is None:
                    break
                online_s = time.monotonic() - self._online_since_s if self._online_since_s else 0.0
                self._change("offline", ended.fault, ended.reason)
                self._pause(backoff.delay_s(ended.fault, online_s))
        finally:
            self._end_all()
            self._change("stopped")

    def _connection(self) -> Ended | None:
        """One connection from start to end; None: we are to stop."""
        self._ended = None
        self._online_since_s = None
        self._wake.clear()
        with self._lock:
            next_epoch = self._status.epoch + 1
        process = CameraProcess(self.config, self._ingest, next_epoch, self._heard)
        with self._lock:
            self._process = process
        while not self._stopping.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            ended = self._ended or self._overdue(process)
            if ended is None and process.gone.is_set():
                ended = Ended(fault="died", reason=process.epitaph())
            if ended is not None:
                self._retire(process, worth_keeping=self._ended is not None)
                return ended
            self._retired.clear()
        return None

    def _overdue(self, process: CameraProcess) -> Ended | None:
        """The watchdog: the process has its own timeouts, this one is for a process that does not keep them."""
        now_s = time.monotonic()
        settings = self._ingest
        if self._online_since_s is None:
            allowed_s = START_S + 3 * settings.open_timeout_s + settings.read_timeout_s + LATE_S
            silent_s = now_s - process.started_s
        else:
            allowed_s, silent_s = settings.read_timeout_s + LATE_S, now_s - process.last_heard_s
            if silent_s <= allowed_s:
                allowed_s, silent_s = 10.0 + 2 * LATE_S, now_s - self._last_picture_s
        if silent_s <= allowed_s:
            return None
        return Ended(
            fault="stalled",
            reason=f"camera {self.config.id}: no picture for {silent_s:.0f} s; its process is ended and started again",
        )

    def _retire(self, process: CameraProcess, worth_keeping: bool) -> None:
        with self._lock:
            self._process = None
            self._past = _added(self._past, self._beat)
            self._beat = Beat()
            keep = worth_keeping and process.first_utc_ns is not None and not process.gone.is_set()
        if keep:
            self._retired.keep(process, self._ingest.ring_s)
        else:
            process.end()
        self._retired.clear()

    def _pause(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._stopping.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._stopping.wait(min(left_s, TICK_S))
            self._retired.clear()

    def _end_all(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()
        self._retired.clear(everything=True)

    def _change(self, state: State, fault: Fault | None = None, reason: str = "") -> None:
        with self._lock:
            before = self._status
            self._status = msgspec.structs.replace(before, state=state, fault=fault, reason=reason)
            same = (before.state, before.fault, before.reason) == (state, fault, reason)
            epoch = before.epoch
        if not same or state == "connecting":
            self._tell(state, epoch, fault, reason)

    def _tell(self, state: State, epoch: int, fault: Fault | None = None, reason: str = "") -> None:
        self._on_event(
            CameraEvent(
                camera_id=self.config.id, state=state, epoch=epoch, utc_ns=time.time_ns(), fault=fault, reason=reason
            )
        )

    # --- a process's reader thread ---

    def _heard(self, process: CameraProcess, report: Report) -> None:
        if process is not self._process:
            return
        if isinstance(report, Coarse):
            self._picture(report.frame)
        elif isinstance(report, Beat):
            with self._lock:
                self._beat = report
        elif isinstance(report, Opened):
            with self._lock:
                self._status = msgspec.structs.replace(self._status, codec=report.codec)
        elif isinstance(report, Ended):
            self._ended = report
            self._wake.set()

    def _picture(self, frame: CoarseFrame) -> None:
        now_s = self._last_picture_s = time.monotonic()
        with self._lock:
            before = self._status
            self._status = msgspec.structs.replace(
                before,
                epoch=frame.epoch,
                size=frame.source_size,
                last_frame_utc_ns=frame.stamp.utc_ns,
                coarse_decoded=before.coarse_decoded + 1,
            )
        if self._online_since_s is None:
            self._online_since_s = now_s
            self._change("online")
        elif frame.epoch != before.epoch:
            self._tell("online", frame.epoch, None, "the camera's clock or picture size changed")
        self._on_coarse(frame)


def _added(past: Beat, beat: Beat) -> Beat:
    return Beat(
        packets=past.packets + beat.packets,
        bytes=past.bytes + beat.bytes,
        key_frames=past.key_frames + beat.key_frames,
        dropped={
            reason: past.dropped.get(reason, 0) + beat.dropped.get(reason, 0)
            for reason in {*past.dropped, *beat.dropped}
        },
    )
