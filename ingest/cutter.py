"""Cuts, on their own thread of the camera's process: each waits until the ring has reached its end. Loads PyAV."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ingest.clip import mux
from ingest.config import IngestConfig
from ingest.decode import Decoder, fine_frames, grid
from ingest.errors import CutUnavailable, SourceUndecodable
from ingest.frame import Cut
from ingest.ring import Run
from ingest.watch import Watch
from ingest.wire import CutOrder, CutReply

MAX_WAITING = 32
"""Cuts that wait for their end or their turn; more are refused at once."""
MAX_SPAN_S = 120.0
_LOOK_EVERY_S = 0.05


class Coding(NamedTuple):
    """How a camera's packets are coded."""

    codec: str
    extradata: bytes
    size: tuple[int, int]
    """Coded width and height, px."""


class _Waiting(msgspec.Struct, frozen=True):
    order: CutOrder
    deadline_s: float


class Cutter:
    """Makes cuts from a watch's ring, the first one that is complete first."""

    def __init__(self, camera_id: str, ingest: IngestConfig, reply: Callable[[CutReply], None]) -> None:
        self._camera_id, self._ingest, self._reply = camera_id, ingest, reply
        self._orders: queue.Queue[_Waiting] = queue.Queue(MAX_WAITING)
        self._waiting: list[_Waiting] = []
        self.watch: Watch | None = None
        """Set once the camera is open, before the first cut can be made."""
        self.codec, self.size, self.extradata = "", (0, 0), b""
        self.ended = threading.Event()
        """No more packets will come."""
        threading.Thread(target=self._run, name="cutter", daemon=True).start()

    def order(self, order: CutOrder) -> None:
        if order.end_utc_ns - order.start_utc_ns > MAX_SPAN_S * 1e9 or order.end_utc_ns <= order.start_utc_ns:
            self._refuse(order, f"a cut has to be longer than 0 and at most {MAX_SPAN_S:g} s")
            return
        try:
            self._orders.put_nowait(_Waiting(order, time.monotonic() + order.timeout_s))
        except queue.Full:
            self._refuse(order, f"{MAX_WAITING} cuts of this camera are waiting already")

    def _refuse(self, order: CutOrder, reason: str) -> None:
        self._reply(CutReply(number=order.number, reason=reason))

    def _run(self) -> None:
        while True:
            self._collect()
            for waiting in [waiting for waiting in self._waiting if self._complete(waiting)]:
                self._waiting.remove(waiting)
                self._reply(self._answer(waiting.order))

    def _collect(self) -> None:
        """Takes new orders; sleeps while there is nothing to do or nothing is complete yet."""
        try:
            room = len(self._waiting) < MAX_WAITING
            if room:
                self._waiting.append(self._orders.get(timeout=_LOOK_EVERY_S if self._waiting else None))
            else:
                time.sleep(_LOOK_EVERY_S)
        except queue.Empty:
            return

    def _complete(self, waiting: _Waiting) -> bool:
        if self.ended.is_set() or time.monotonic() >= waiting.deadline_s:
            return True
        watch = self.watch
        if watch is None:
            return False
        with watch.lock:
            newest = watch.ring.newest_utc_ns()
        return newest is not None and newest >= waiting.order.end_utc_ns

    def _answer(self, order: CutOrder) -> CutReply:
        watch = self.watch
        if watch is None:
            return CutReply(number=order.number, reason="the camera has not sent a picture yet")
        with watch.lock:
            run = watch.ring.select(order.start_utc_ns, order.end_utc_ns)
        coding = Coding(self.codec, self.extradata, self.size)
        try:
            cut = cut_of(self._camera_id, run, coding, order.start_utc_ns, order.end_utc_ns, self._ingest)
        except CutUnavailable as error:
            return CutReply(number=order.number, reason=error.reason)
        return CutReply(number=order.number, cut=cut)


def cut_of(
    camera_id: str, run: Run | None, coding: Coding, start_utc_ns: int, end_utc_ns: int, ingest: IngestConfig
) -> Cut:
    """Fine frames and clip of a span, from what a ring selected for it. Raises CutUnavailable."""
    if run is None:
        raise CutUnavailable("the ring holds nothing of that span")
    wanted = grid(start_utc_ns, end_utc_ns, ingest.fine_step_s)
    try:
        fine = fine_frames(Decoder(coding.codec, coding.extradata, ingest.max_pixels), run, wanted)
    except SourceUndecodable as error:
        raise CutUnavailable(str(error)) from None
    if not fine.frames:
        raise CutUnavailable("no picture of that span could be decoded")
    return Cut(
        camera_id=camera_id,
        epoch=run.timeline.epoch,
        source_size=fine.source_size,
        frames=tuple(fine.frames),
        clip=mux(run, coding.codec, coding.extradata, coding.size),
        expected=len(wanted),
        corrupt=fine.corrupt,
    )
