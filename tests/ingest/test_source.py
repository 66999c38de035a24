"""Which camera URLs are allowed, and that none is ever shown with its credentials."""

import random
import string
from urllib.parse import quote

import pytest

from ingest.config import CameraConfig, IngestConfig
from ingest.errors import IngestError, SourceRefused
from ingest.source import check_url, parse, redact, without_secrets
from ingest.wire import Open


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "target"),
    [
        ("rtsp://cam.example/s1", "cam.example", 554, None, None, "rtsp://cam.example/s1"),
        ("RTSPS://cam.example/s1", "cam.example", 322, None, None, "rtsps://cam.example/s1"),
        ("rtsp://u:p@10.0.0.5:8554/a?b=1", "10.0.0.5", 8554, "u", "p", "rtsp://10.0.0.5:8554/a?b=1"),
        ("rtsp://user.name:p%40ss%3Aw%2Frd@h/x", "h", 554, "user.name", "p@ss:w/rd", "rtsp://h/x"),
        ("rtsp://u@h/", "h", 554, "u", None, "rtsp://h/"),
        ("rtsp://u:@h/", "h", 554, "u", "", "rtsp://h/"),
        ("rtsp://[fe80::1]:99/x", "fe80::1", 99, None, None, "rtsp://[fe80::1]:99/x"),
        ("rtsp://h", "h", 554, None, None, "rtsp://h"),
    ],
)
def test_allowed(url: str, host: str, port: int, user: str | None, password: str | None, target: str) -> None:
    source = parse(url)
    found = (source.host, source.port, source.user, source.password, source.target)
    assert found == (host, port, user, password, target)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h/x", "only rtsp"),
        ("file:///etc/passwd", "only rtsp"),
        ("/etc/passwd", "only rtsp"),
        ("concat:a|b", "only rtsp"),
        ("", "only rtsp"),
        ("rtsp:///x", "names no host"),
        ("rtsp://u:p@/x", "names no host"),
        ("rtsp://h:99999/x", "is no URL"),
        ("rtsp://h:0/x", "no port"),
        ("rtsp://h:x/x", "is no URL"),
        ("rtsp://[::1/x", "is no URL"),
        ("rtsp://h/a b", "control characters"),
        ("rtsp://h/a\r\nX: y", "control characters"),
    ],
)
def test_refused(url: str, says: str) -> None:
    with pytest.raises(SourceRefused, match=says) as caught:
        check_url(url)
    assert isinstance(caught.value, (IngestError, ValueError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "a.localhost"]
)
def test_loopback_only_where_allowed(host: str) -> None:
    check_url(f"rtsp://{host}/x")
    with pytest.raises(SourceRefused, match="this machine"):
        check_url(f"rtsp://{host}/x", allow_loopback=False)


def test_neighbours_pass_where_loopback_may_not() -> None:
    check_url("rtsp://10.0.0.5/x", allow_loopback=False)


CANARIES = ["S3cret", "p%40ss:w/rd", "user.name", "a@b@c", "pa?ss", "pa#ss", "pä ss", "x" * 80, "p&q=r;", "%zz"]


@pytest.mark.parametrize("secret", CANARIES)
@pytest.mark.parametrize("spell", [str, lambda text: quote(text, safe="")], ids=["raw", "encoded"])
def test_no_canary_is_shown(secret: str, spell: "type[str]") -> None:
    canary = f"CANARY{spell(secret)}"
    url = f"rtsp://CANARYuser:{canary}@cam.example:554/stream?token=CANARYtoken"
    shown = [redact(url), repr(CameraConfig(id="a", url=url))]
    shown.append(repr(Open(camera=CameraConfig(id="a", url=url), ingest=IngestConfig(), first_epoch=1)))
    try:
        source = parse(url)
    except SourceRefused as refusal:
        shown.append(str(refusal))
    else:
        foreign = f"Server returned 401 for '{url}' and {source.password} of {source.user}\n and more"
        shown += [source.shown, repr(source), without_secrets(foreign, source)]
    for text in shown:
        assert "CANARY" not in text
        assert "\n" not in text


def test_nothing_before_an_at_sign_survives() -> None:
    rng = random.Random(7)
    alphabet = string.ascii_letters + string.digits + ":%._-~!$&'()*+,;=?#/ "
    for _ in range(2000):
        secret = "".join(rng.choices(alphabet, k=rng.randint(1, 24)))
        url = f"rtsp://u:<<{secret}>>@cam.example/live"
        assert "<<" not in redact(url), url


def test_what_is_no_url_is_not_echoed() -> None:
    assert redact("S3cret") == "(no URL)"
