"""What a camera says it will send (SDP, RFC 8866), and whether our parsers may see it. Pure."""

from __future__ import annotations

import re

import msgspec

from ingest.errors import SourceRefused

MAX_DESCRIPTION_BYTES = 64 * 1024
MAX_MEDIA = 8
ALLOWED_CODECS = {"H264": "h264", "H265": "hevc", "JPEG": "mjpeg"}
"""RTP encoding names that are let through to FFmpeg, and FFmpeg's names for them."""
_STATIC = {"26": "JPEG", "28": "NV", "31": "H261", "32": "MPV", "33": "MP2T", "34": "H263"}
"""Video payload types that need no rtpmap (RFC 3551 §6)."""
_RTPMAP = re.compile(r"^a=rtpmap:(\d{1,3})\s+([A-Za-z0-9._+-]{1,32})/", re.IGNORECASE)
_MEDIA = re.compile(r"^m=(\w{1,16})\s+\d+(?:/\d+)?\s+(\S+)\s+(.+)$")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    codec: str
    """FFmpeg's name of the one video stream: h264, hevc or mjpeg."""
    media: int
    """Media in the session, with the audio and data that are never set up."""


def read_description(body: bytes) -> Description:
    """Accepts a session with exactly one video stream, in H.264, H.265 or JPEG only. Raises SourceRefused.

    Anything else would choose which of FFmpeg's many depacketisers and decoders a stranger may talk to.
    """
    if len(body) > MAX_DESCRIPTION_BYTES:
        raise SourceRefused(f"its description has {len(body)} bytes, more than {MAX_DESCRIPTION_BYTES}")
    lines = body.decode("utf-8", "replace").splitlines()
    if not lines or not lines[0].startswith("v=0"):
        raise SourceRefused("its description is no SDP; is the URL's path right?")
    sections: list[list[str]] = []
    for line in lines:
        if line.startswith("m="):
            sections.append([line])
        elif sections:
            sections[-1].append(line)
    if len(sections) > MAX_MEDIA:
        raise SourceRefused(f"its description lists {len(sections)} media, more than {MAX_MEDIA}")
    codecs = [codec for section in sections for codec in _video_codecs(section)]
    videos = sum(1 for section in sections if section[0].startswith("m=video"))
    if not videos:
        raise SourceRefused("it offers no video; is the URL's path that of a video stream?")
    if videos > 1:
        raise SourceRefused(f"it offers {videos} video streams in one session; use the URL of a single one")
    return Description(codec=codecs[0], media=len(sections))


def _video_codecs(section: list[str]) -> list[str]:
    media = _MEDIA.match(section[0])
    if media is None:
        raise SourceRefused("its description has a malformed media line")
    kind, transport, formats = media.groups()
    if kind != "video":
        return []
    if not transport.upper().startswith("RTP/"):
        raise SourceRefused(f"its video is carried by {transport[:16]}, not by RTP")
    names = dict(_STATIC)
    for line in section[1:]:
        mapped = _RTPMAP.match(line)
        if mapped:
            names[mapped.group(1)] = mapped.group(2).upper()
        elif line.lower().startswith("a=rtpmap"):
            raise SourceRefused("its description has a malformed rtpmap line")
    codecs = []
    for payload in formats.split():
        name = names.get(payload, "an unnamed codec")
        if name not in ALLOWED_CODECS:
            raise SourceRefused(f"its video is {name}; set the camera to H.264, H.265 or MJPEG")
        codecs.append(ALLOWED_CODECS[name])
    if len(set(codecs)) != 1:
        raise SourceRefused("it offers one video stream in several codecs; set the camera to one")
    return codecs[:1]
