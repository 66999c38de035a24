"""Looks into a GOP that is longer than the time between coarse frames, on its own thread. Loads PyAV."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from av.video.frame import VideoFrame

from ingest.clock import Timeline
from ingest.decode import Decoder
from ingest.errors import SourceUndecodable
from ingest.ring import Packet

Found = Callable[[Decoder, VideoFrame, Timeline], None]


class Follower:
    """Decodes the newest GOP as far as it has come, going on where it stopped before, and gives its last picture.

    It takes one GOP at a time: whoever asks while it is busy waits for a later packet. So a machine that cannot decode
    as fast as the camera sends looks less often, and reading the camera never waits for it.
    """

    def __init__(self, decoder: Callable[[], Decoder], found: Found) -> None:
        self._new_decoder, self._found = decoder, found
        self._wake = threading.Condition()
        self._gop: tuple[Sequence[Packet], Timeline] | None = None
        self._thread: threading.Thread | None = None
        self.idle = True

    def look(self, gop: Sequence[Packet], timeline: Timeline) -> None:
        """Only when `idle`. `gop` in decode order from its key frame."""
        if self._thread is None:  # most cameras never need it
            self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
            self._thread.start()
        with self._wake:
            self.idle = False
            self._gop = gop, timeline
            self._wake.notify()

    def _run(self) -> None:
        first: Packet | None = None
        decoder = self._new_decoder()
        fed = 0
        while True:
            with self._wake:
                while self._gop is None:
                    self._wake.wait()
                (gop, timeline), self._gop = self._gop, None
            if gop[0] is not first:
                first, fed, decoder = gop[0], 0, self._new_decoder()
            frame = None
            for packet in gop[fed:]:
                frame = _last(decoder, packet) or frame
            fed = len(gop)
            if frame is not None:
                self._found(decoder, frame, timeline)
            self.idle = True


def _last(decoder: Decoder, packet: Packet) -> VideoFrame | None:
    try:
        frames = decoder.feed(packet)
    except SourceUndecodable:  # the next key frame mends it, and its GOP is another one
        return None
    return frames[-1] if frames else None
