"""What a camera may answer before FFmpeg is let near it."""

import re
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ingest.errors import CredentialsRefused, IngestError, SourceRefused, SourceStalled, SourceUnreachable
from ingest.preflight import ask
from ingest.source import parse
from tests.ingest.scripted import Script, ScriptedServer, answer

SDP = b"v=0\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
AV1 = SDP.replace(b"H264", b"AV1")
DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="n0nce"\r\nWWW-Authenticate: Basic realm="cam"\r\n'


def says(*replies: bytes | None) -> Script:
    """Answers OPTIONS, then one DESCRIBE after another."""
    left = list(replies)

    def script(method: str, request: str) -> bytes | None:
        return answer("200 OK", "Public: DESCRIBE\r\n") if method == "OPTIONS" else left.pop(0)

    return script


def test_a_plain_camera() -> None:
    with ScriptedServer(says(answer("200 OK", body=SDP))) as server:
        preflight = ask(parse(server.url("u:CANARY@")), 2.0)
        preflight.close()
        assert preflight.description.codec == "h264"
        assert server.methods == ["OPTIONS", "DESCRIBE"]
        assert "CANARY" not in "".join(server.requests)


def test_digest_is_preferred_and_answers_the_challenge() -> None:
    def script(method: str, request: str) -> bytes:
        if method == "OPTIONS":
            return answer("200 OK")
        if 'response="' in request and 'username="u"' in request and 'nonce="n0nce"' in request:
            return answer("200 OK", body=SDP)
        return answer("401 Unauthorized", DIGEST)

    with ScriptedServer(script) as server:
        ask(parse(server.url("u:CANARY@")), 2.0).close()
        assert server.methods == ["OPTIONS", "DESCRIBE", "DESCRIBE"]
        assert "CANARY" not in "".join(server.requests)


@pytest.mark.parametrize(
    ("replies", "error", "line"),
    [
        ([answer("302 Moved", "Location: rtsp://127.0.0.1:1/x\r\n")], SourceRefused, "redirects are not followed"),
        ([answer("404 Not Found")], SourceUnreachable, "no such stream"),
        ([answer("503 Busy")], SourceUnreachable, "status 503"),
        ([answer("403 Forbidden")], CredentialsRefused, "refuses the user or the password"),
        ([answer("401 Unauthorized", DIGEST), answer("401 No", DIGEST)], CredentialsRefused, "refuses the user"),
        ([answer("401 Unauthorized", "WWW-Authenticate: Bearer\r\n")], CredentialsRefused, "neither Basic nor Digest"),
        ([answer("200 OK", body=AV1)], SourceRefused, "its video is AV1"),
        ([answer("200 OK", body=b"")], SourceRefused, "no SDP"),
        ([answer("200 OK", "Content-Length: 500000000\r\n")], SourceRefused, "500000000 bytes"),
        ([answer("200 OK", "Content-Length: -5\r\n")], SourceRefused, "-5 bytes"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], SourceUnreachable, "no RTSP server"),
        ([b"x" * 100_000], SourceRefused, "without end"),
        ([None], SourceStalled, "did not answer within 1 s"),
    ],
)
def test_one_clear_line(replies: list[bytes | None], error: type[IngestError], line: str) -> None:
    with ScriptedServer(says(*replies)) as server, pytest.raises(error, match=re.escape(line)) as caught:
        ask(parse(server.url("u:CANARY@")), 1.0)
    text = str(caught.value)
    assert "CANARY" not in text
    assert "\n" not in text
    assert caught.value.__cause__ is None


def test_a_user_is_asked_for_by_name() -> None:
    with (
        ScriptedServer(says(answer("401 Unauthorized", DIGEST))) as server,
        pytest.raises(CredentialsRefused, match="add them to the camera's url"),
    ):
        ask(parse(server.url()), 1.0)


def test_a_dead_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceUnreachable, match=f"port {port}.*connection refused"):
        ask(parse(f"rtsp://u:CANARY@127.0.0.1:{port}/x"), 1.0)


def test_a_trickle_does_not_outlast_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            link, _ = listener.accept()
            with link:
                try:
                    while True:
                        link.sendall(b"R")
                        time.sleep(0.1)
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(SourceStalled):
            ask(parse(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x"), 1.0)
        assert time.monotonic() - began < 1.8


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return key, cert


@pytest.mark.parametrize(
    ("verify", "trusted", "refused"), [(True, True, ""), (True, False, "tls_ca"), (False, False, "")]
)
def test_tls(certificate: tuple[Path, Path], verify: bool, trusted: bool, refused: str) -> None:
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as link:
                    for reply in (answer("200 OK"), answer("200 OK", body=SDP)):
                        link.recv(4096)
                        link.sendall(reply)
                    link.recv(1)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        source = parse(f"rtsps://127.0.0.1:{listener.getsockname()[1]}/x")
        if refused:
            with pytest.raises(SourceRefused, match=refused):
                ask(source, 2.0, verify, str(cert) if trusted else "")
        else:
            preflight = ask(source, 2.0, verify, str(cert) if trusted else "")
            preflight.close()
            assert preflight.description.codec == "h264"
