"""Answers to a camera's challenge, against the worked examples of the standards."""

import re

import pytest

from ingest.credentials import authorization

RFC7616 = 'realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, nonce="{}", opaque="{}"'
NONCE, OPAQUE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def response(header: str | None) -> str:
    assert header is not None
    found = re.search(r'response="([0-9a-f]+)"', header)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_examples_of_rfc_7616(algorithm: str, expected: str) -> None:
    challenge = "Digest " + RFC7616.format(algorithm, NONCE, OPAQUE)
    header = authorization([challenge], "Mufasa", "Circle of Life", "GET", "/dir/index.html", CNONCE)
    assert response(header) == expected
    assert header is not None
    assert f'opaque="{OPAQUE}"' in header
    assert f"algorithm={algorithm}" in header
    assert "nc=00000001" in header


def test_old_cameras_without_qop() -> None:
    challenge = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    header = authorization([challenge], "Mufasa", "Circle Of Life", "GET", "/dir/index.html", "")
    assert response(header) == "670fd8c2df070c60b045671b8b24ff02"  # RFC 2069 by its errata
    assert header is not None
    assert "qop" not in header


def test_basic_example_of_rfc_7617() -> None:
    header = authorization(['Basic realm="WallyWorld"'], "Aladdin", "open sesame", "DESCRIBE", "rtsp://h/", "")
    assert header == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_digest_before_basic_and_md5_before_others() -> None:
    challenges = ['Basic realm="a"', 'Digest realm="a", nonce="n", algorithm=SHA-256', 'digest realm="a", nonce="n"']
    header = authorization(challenges, "u", "p", "DESCRIBE", "rtsp://h/", "c")
    assert len(response(header)) == 32


def test_quotes_in_names_stay_inside_their_quotes() -> None:
    header = authorization(['Digest realm="a", nonce="n"'], 'u"x\\y', "p", "DESCRIBE", "rtsp://h/", "c")
    assert header is not None
    assert 'username="u\\"x\\\\y"' in header


@pytest.mark.parametrize("challenges", [[], ["Bearer x"], ["Digest realm=x"], ['Digest nonce="n", algorithm=MD4']])
def test_unknown_schemes_are_not_answered(challenges: list[str]) -> None:
    assert authorization(challenges, "u", "p", "DESCRIBE", "rtsp://h/", "c") is None
