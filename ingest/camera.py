"""The process of one camera: `python -m ingest.camera FD`, started by the supervisor and by nothing else.

Threads: the main one hears the parent; `watch` reads the camera; `follower` looks into long GOPs; `cutter` makes cuts;
`sender` speaks to the parent.
Everything it needs to know, the URL with its credentials too, comes over the inherited socket FD.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from ingest.config import CameraConfig, IngestConfig
from ingest.errors import Fault, IngestError, SourceUndecodable, SourceUnreachable
from ingest.sandbox import confine
from ingest.wire import CutOrder, Ended, Open, Opened, Order, Wire

if TYPE_CHECKING:
    from ingest.cutter import Cutter
    from ingest.demux import Demuxer
    from ingest.sender import Sender
    from ingest.source import Source

SECOND_TRY_S = 0.5


def main(fd: int) -> None:
    wire = Wire(socket.socket(fileno=fd), msgspec.msgpack.Decoder[Order](Order))
    opening = wire.receive()
    if not isinstance(opening, Open):
        return
    confine(opening.ingest.ring_mib * 1024 * 1024)
    from ingest.cutter import Cutter  # FFmpeg's code is mapped only after the limits stand
    from ingest.sender import Sender

    threading.excepthook = _end_at_once
    sender = Sender(wire)
    cutter = Cutter(opening.camera.id, opening.ingest, sender.put)
    threading.Thread(target=_watch, args=(opening, sender, cutter), name="watch", daemon=True).start()
    while isinstance(order := wire.receive(), CutOrder):
        cutter.order(order)


def _end_at_once(trouble: threading.ExceptHookArgs) -> None:
    """A thread that fails takes the process with it: the parent notices at once and starts another."""
    sys.__excepthook__(trouble.exc_type, trouble.exc_value or trouble.exc_type(), trouble.exc_traceback)
    sys.stderr.flush()
    os._exit(70)


def _watch(opening: Open, sender: Sender, cutter: Cutter) -> None:
    fault: Fault = "ended"
    try:
        reason = _follow_stream(opening, sender, cutter)
    except IngestError as error:
        fault, reason = error.fault, str(error)
    except MemoryError:
        fault, reason = "died", "the camera made its process exceed the memory limit; it is reconnected"
    cutter.ended.set()
    sender.put(Ended(fault=fault, reason=reason))


def _follow_stream(opening: Open, sender: Sender, cutter: Cutter) -> str:
    from ingest.source import parse
    from ingest.watch import Watch

    camera, ingest = opening.camera, opening.ingest
    source = parse(camera.url)
    with _open(source, camera, ingest) as demuxer:
        sender.put(Opened(codec=demuxer.codec, time_base=demuxer.time_base))
        watch = Watch(camera, ingest, demuxer, source.shown, opening.first_epoch, sender.coarse, sender.beat)
        cutter.codec, cutter.size, cutter.extradata = demuxer.codec, demuxer.size, demuxer.extradata or b""
        cutter.watch = watch
        watch.run()
    return f"{source.shown} ended the stream; connecting again"


def _open(source: Source, camera: CameraConfig, ingest: IngestConfig) -> Demuxer:
    """Asks first and opens while that connection stands; for cameras that bear only one, again after it is closed."""
    from ingest.demux import Demuxer
    from ingest.preflight import ask

    preflight = ask(source, ingest.open_timeout_s, camera.tls_verify, camera.tls_ca)
    try:
        return Demuxer(source, camera, ingest)
    except (SourceUnreachable, SourceUndecodable):
        pass
    finally:
        preflight.close()
    time.sleep(SECOND_TRY_S)
    return Demuxer(source, camera, ingest)


if __name__ == "__main__":
    main(int(sys.argv[1]))
    os._exit(0)  # threads may sit inside FFmpeg: nothing of theirs is worth waiting for
