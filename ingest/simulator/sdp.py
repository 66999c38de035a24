"""Session descriptions (RFC 8866) of one video stream."""

from __future__ import annotations

from base64 import b64encode

from ingest.simulator import nal
from ingest.simulator.rtp import PAYLOAD_TYPE
from ingest.simulator.stream import CLOCK_HZ, Stream

TRACK = "trackID=0"


def describe(name: str, stream: Stream) -> bytes:
    kind = PAYLOAD_TYPE[stream.codec]
    title = "".join(c for c in name if c.isprintable()) or "camera"
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        f"s={title}",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {kind}",
        *_format(kind, stream),
        f"a=framerate:{stream.fps:.3f}",
        f"a=control:{TRACK}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _format(kind: int, stream: Stream) -> list[str]:
    if stream.codec == "mjpeg":
        return [f"a=rtpmap:{kind} JPEG/{CLOCK_HZ}"]
    units = nal.split_annex_b(stream.extradata)
    if stream.codec == "h264":
        sets = ",".join(b64encode(unit).decode() for unit in units)
        profile = next(unit[1:4].hex().upper() for unit in units if nal.kind("h264", unit) == 7)
        parameters = f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}"
        return [f"a=rtpmap:{kind} H264/{CLOCK_HZ}", f"a=fmtp:{kind} {parameters}"]
    named = {32: "sprop-vps", 33: "sprop-sps", 34: "sprop-pps"}
    sets = ";".join(
        f"{key}=" + ",".join(b64encode(unit).decode() for unit in units if nal.kind("hevc", unit) == number)
        for number, key in named.items()
    )
    return [f"a=rtpmap:{kind} H265/{CLOCK_HZ}", f"a=fmtp:{kind} {sets}"]
