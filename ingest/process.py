"""The parent's handle on one camera's process: started with one connection, ended with it or killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec

import ingest
from ingest.config import CameraConfig, IngestConfig
from ingest.errors import CutUnavailable, SourceDied
from ingest.frame import Cut
from ingest.source import parse, without_secrets
from ingest.wire import Coarse, CutOrder, CutReply, Open, Report, Wire

GRACE_S = 2.0
"""Between the polite request to end and the kill."""
SEND_TIMEOUT_S = 2.0


class CameraProcess:
    """Runs from birth to `end()`. `heard` gets every report but cut replies, on this handle's own reader thread; then
    `gone` is set. Must be started on a thread that outlives it: the process dies with the thread that made it.
    """

    def __init__(
        self,
        camera: CameraConfig,
        settings: IngestConfig,
        first_epoch: int,
        heard: Callable[[CameraProcess, Report], None],
    ) -> None:
        self._camera = camera
        self._heard = heard
        self._orders: dict[int, Future[Cut]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.gone = threading.Event()
        self.started_s = self.last_heard_s = time.monotonic()
        self.first_utc_ns: int | None = None
        self.last_utc_ns: int | None = None
        """Capture times of the first and the newest coarse frame: roughly what the ring covers."""
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ingest.camera", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=_environment(),
                process_group=0,  # Ctrl-C in a terminal goes to a whole group: the parent says when a camera ends
            )
        self._socket = ours
        self._wire = Wire(ours, msgspec.msgpack.Decoder[Report](Report))
        self._hold_sends(Open(camera=camera, ingest=settings, first_epoch=first_epoch))
        self._reader = threading.Thread(target=self._read, name=f"camera-{camera.id}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cut(self, start_utc_ns: int, end_utc_ns: int, timeout_s: float) -> Future[Cut]:
        """Fails with CutUnavailable."""
        order: Future[Cut] = Future()
        number = next(self._numbers)
        with self._lock:
            self._orders[number] = order
        if self.gone.is_set() or not self._hold_sends(
            CutOrder(number=number, start_utc_ns=start_utc_ns, end_utc_ns=end_utc_ns, timeout_s=timeout_s)
        ):
            self._fail_orders()
        return order

    def _hold_sends(self, message: Open | CutOrder) -> bool:
        with self._lock:
            try:
                self._wire.send(message)
            except OSError:
                return False
        return True

    def _read(self) -> None:
        with contextlib.suppress(SourceDied):  # a process that breaks the protocol is treated as one that ended
            while (report := self._wire.receive()) is not None:
                self.last_heard_s = time.monotonic()
                if isinstance(report, CutReply):
                    self._settle(report)
                    continue
                if isinstance(report, Coarse):
                    self.last_utc_ns = report.frame.stamp.utc_ns
                    if self.first_utc_ns is None:
                        self.first_utc_ns = self.last_utc_ns
                self._heard(self, report)
        self.gone.set()
        self._fail_orders()

    def _settle(self, reply: CutReply) -> None:
        with self._lock:
            order = self._orders.pop(reply.number, None)
        if order is None or not order.set_running_or_notify_cancel():
            return
        if reply.cut is not None:
            order.set_result(reply.cut)
        else:
            order.set_exception(CutUnavailable(f"camera {self._camera.id}: {reply.reason}"))

    def _fail_orders(self) -> None:
        with self._lock:
            orders, self._orders = list(self._orders.values()), {}
        for order in orders:
            if order.set_running_or_notify_cancel():
                order.set_exception(CutUnavailable(f"camera {self._camera.id}: its process ended before the cut"))

    def end(self, grace_s: float = GRACE_S) -> None:
        """Closes the socket, which ends a healthy process; TERM for one that does not hear, KILL after `grace_s`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(grace_s / 4)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(grace_s)
        self._socket.close()
        self._errors.close()

    def epitaph(self) -> str:
        """One line on how the process ended by itself, without credentials."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return f"camera {self._camera.id}: its process closed its line; it is started again"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 4096))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        told = f" ({without_secrets(last, parse(self._camera.url))[:200]})" if last else ""
        return f"camera {self._camera.id}: its process {how}{told}; it is started again"


def _environment() -> dict[str, str]:
    """Nothing of ours but where the interpreter finds its modules: secrets live in environments."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
        if name in os.environ
    }
    package = Path(ingest.__file__ or "").resolve().parent.parent
    return kept | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2"}
