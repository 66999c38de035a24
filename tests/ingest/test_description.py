"""Which session descriptions (SDP) our parsers may see."""

import pytest

from ingest.description import MAX_DESCRIPTION_BYTES, read_description
from ingest.errors import SourceRefused

HEAD = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=cam\r\nt=0 0\r\n"
H264 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
H265 = "m=video 0 RTP/AVP 97\r\na=rtpmap:97 h265/90000\r\n"
JPEG = "m=video 0 RTP/AVP 26\r\n"
AUDIO = "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
ONVIF = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"


def video(name: str, payload: int = 96) -> str:
    return f"m=video 0 RTP/AVP {payload}\r\na=rtpmap:{payload} {name}/90000\r\n"


@pytest.mark.parametrize(
    ("body", "codec", "media"),
    [
        (HEAD + H264, "h264", 1),
        (HEAD + H265, "hevc", 1),
        (HEAD + JPEG, "mjpeg", 1),
        (HEAD + AUDIO + H264 + ONVIF, "h264", 3),
        (HEAD + video("JPEG"), "mjpeg", 1),
        ((HEAD + H264).replace("\r\n", "\n"), "h264", 1),
        (HEAD + H264.replace("RTP/AVP", "RTP/SAVP"), "h264", 1),
    ],
)
def test_accepted(body: str, codec: str, media: int) -> None:
    description = read_description(body.encode())
    assert (description.codec, description.media) == (codec, media)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        *[(HEAD + video(name), f"video is {name}") for name in ("AV1", "VP8", "VP9", "RAW", "MP4V-ES", "MP2T", "H263")],
        (HEAD + "m=video 0 RTP/AVP 33\r\n", "video is MP2T"),
        (HEAD + "m=video 0 RTP/AVP 96\r\n", "an unnamed codec"),
        (HEAD + video("H264").replace("96\r\n", "96 98\r\n", 1), "an unnamed codec"),
        (HEAD + "m=video 0 RTP/AVP 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 H265/90000\r\n", "several codecs"),
        (HEAD + "m=video 0 RTP/AVP 26\r\na=rtpmap:26 AV1/90000\r\n", "video is AV1"),
        (HEAD + H264 + video("AV1", 98), "video is AV1"),
        (HEAD + H264 + H264, "2 video streams"),
        (HEAD + AUDIO, "no video"),
        (HEAD, "no video"),
        (HEAD + H264.replace("RTP/AVP", "UDP"), "not by RTP"),
        (HEAD + "m=video\r\n", "malformed media"),
        (HEAD + "m=video 0 RTP/AVP 96\r\na=rtpmap:96\r\n", "malformed rtpmap"),
        (HEAD + AUDIO * 9 + H264, "more than 8"),
        ("", "no SDP"),
        ("<html></html>", "no SDP"),
        (HEAD + H264 + "a=x:" + "y" * MAX_DESCRIPTION_BYTES, "more than 65536"),
    ],
)
def test_refused(body: str, says: str) -> None:
    with pytest.raises(SourceRefused, match=says):
        read_description(body.encode())
