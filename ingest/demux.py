"""The one place where FFmpeg opens a camera. One container belongs to one thread. Loads PyAV."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import TypeAlias

import av
import av.error
from av.container import InputContainer
from av.packet import Packet as AvPacket
from av.video.stream import VideoStream

from ingest.config import CameraConfig, IngestConfig
from ingest.description import ALLOWED_CODECS
from ingest.errors import (
    CredentialsRefused,
    IngestError,
    SourceRefused,
    SourceStalled,
    SourceUndecodable,
    SourceUnreachable,
)
from ingest.source import Source

_REFERENCE_TIME = struct.Struct("<qi")
"""AVProducerReferenceTime: UTC in microseconds, flags (libavcodec/defs.h)."""


Coded: TypeAlias = "AvPacket[VideoStream]"  # not subscriptable when run


class Demuxer:
    """An open camera: iterate over `packets()`. Use as a context manager, on one thread only."""

    def __init__(self, source: Source, camera: CameraConfig, ingest: IngestConfig) -> None:
        self._source = source
        self._read_timeout_s = ingest.read_timeout_s
        began = time.monotonic()
        try:
            self._container = _open(source, camera, ingest)
        except (av.error.FFmpegError, OSError) as error:
            raise _translated(error, source, time.monotonic() - began >= 0.9 * ingest.open_timeout_s) from None
        try:
            self._check(ingest.max_pixels)
        except BaseException:
            self._container.close()
            raise

    def _check(self, max_pixels: int) -> None:
        shown = self._source.shown
        videos = self._container.streams.video
        if len(videos) != 1:
            raise SourceUnreachable(f"{shown} opened with {len(videos)} video streams instead of one")
        self._stream = videos[0]
        context = self._stream.codec_context
        self.codec = context.name
        if self.codec not in ALLOWED_CODECS.values():
            raise SourceRefused(f"{shown}: its video is {self.codec}; set the camera to H.264, H.265 or MJPEG")
        self.size = (context.width, context.height)
        """Coded width and height, px; (0, 0) where only the pictures will tell."""
        if self.size[0] * self.size[1] > max_pixels:
            raise SourceRefused(
                f"{shown}: its pictures are {self.size[0]}x{self.size[1]}, more than max_pixels = {max_pixels}"
            )
        self.extradata = context.extradata
        base = self._stream.time_base or context.time_base
        self.time_base = (base.numerator, base.denominator)

    def packets(self) -> Iterator[Coded]:
        """Coded pictures in decode order until the camera ends the stream. Raises the errors of ingest."""
        last = time.monotonic()
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
                    last = time.monotonic()
        except (av.error.FFmpegError, OSError) as error:
            raise _translated(error, self._source, time.monotonic() - last >= 0.9 * self._read_timeout_s) from None

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Demuxer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reported_ns(packet: Coded) -> int | None:
    """The packet's UTC by the camera's RTCP sender reports, ns; None before the first report."""
    if not packet.has_sidedata("prft"):
        return None
    data = bytes(packet.get_sidedata("prft"))
    if len(data) < _REFERENCE_TIME.size:
        return None
    wall_us, _ = _REFERENCE_TIME.unpack_from(data)
    return int(wall_us) * 1000


def _open(source: Source, camera: CameraConfig, ingest: IngestConfig) -> InputContainer:
    options = {
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",  # silence of the video is then silence, whatever the audio does
        "timeout": str(int(ingest.read_timeout_s * 1e6)),
        "protocol_whitelist": "tcp,udp,rtp",
        "analyzeduration": "500000",
        "probesize": "200000",
    }
    if source.scheme == "rtsps":
        options["protocol_whitelist"] += ",tls"
        options["tls_verify"] = "1" if camera.tls_verify else "0"
        if camera.tls_ca:
            options["ca_file"] = camera.tls_ca
    return av.open(
        camera.url, format="rtsp", timeout=(ingest.open_timeout_s, ingest.read_timeout_s), options=options
    )  # FFmpeg's own socket timeout does not see a trickle of bytes, PyAV's does; neither is enough alone


def _translated(error: Exception, source: Source, late: bool) -> IngestError:
    """FFmpeg's exceptions quote the URL with its password: only their kind goes on."""
    shown = source.shown
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return CredentialsRefused(f"{shown} refuses the user or the password; check the camera's credentials")
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceUnreachable(f"{shown}: the camera has no such stream (404); check the URL's path")
    if late or isinstance(error, (TimeoutError, av.error.ExitError)):
        return SourceStalled(f"{shown} stopped sending; waiting for it to come back")
    if isinstance(error, av.error.InvalidDataError):
        return SourceUndecodable(f"{shown} sends what is no readable video stream")
    if isinstance(error, (ConnectionError, OSError)):
        return SourceUnreachable(f"{shown}: the connection broke ({type(error).__name__})")
    return SourceUnreachable(f"{shown}: FFmpeg gave up ({type(error).__name__})")
