"""Asks a camera what it will send, in Python, before FFmpeg may parse a byte of it: OPTIONS and DESCRIBE (RFC 2326)."""

from __future__ import annotations

import secrets
import socket
import ssl
import time

import msgspec

from ingest.credentials import authorization
from ingest.description import MAX_DESCRIPTION_BYTES, Description, read_description
from ingest.errors import CredentialsRefused, IngestError, SourceRefused, SourceStalled, SourceUnreachable
from ingest.source import Source

MAX_HEAD_BYTES = 16 * 1024
USER_AGENT = "witness"


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "")


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """What the camera will send, and the connection over which it said so.

    Servers that make a stream on demand unmake it when the last one who asked hangs up: close this one only after the
    stream has been opened.
    """

    description: Description
    link: socket.socket

    def close(self) -> None:
        self.link.close()


def ask(source: Source, timeout_s: float, tls_verify: bool = True, tls_ca: str = "") -> Preflight:
    """Checks reachability, credentials, redirects and codecs within `timeout_s`.

    Raises SourceUnreachable, SourceStalled, CredentialsRefused or SourceRefused, each with one clear line.
    """
    deadline = time.monotonic() + timeout_s
    link = _connect(source, deadline, tls_verify, tls_ca)
    try:
        return Preflight(description=_Conversation(link, source, deadline).describe(), link=link)
    except BaseException as error:
        link.close()
        if isinstance(error, IngestError) or not isinstance(error, OSError):
            raise
        if isinstance(error, TimeoutError):
            raise SourceStalled(
                f"{source.shown} accepts connections but did not answer within {timeout_s:g} s; restart the camera"
            ) from None
        raise SourceUnreachable(f"{source.shown} closed the connection while it was asked for its stream") from None


def _connect(source: Source, deadline: float, tls_verify: bool, tls_ca: str) -> socket.socket:
    where = f"{source.shown} (port {source.port})"
    try:
        link = socket.create_connection((source.host, source.port), max(0.1, deadline - time.monotonic()))
    except socket.gaierror:
        raise SourceUnreachable(f"{where}: the host name is not known; check it and the network's DNS") from None
    except TimeoutError:
        raise SourceUnreachable(f"{where}: no answer to the connection; is the camera on and reachable?") from None
    except OSError as error:
        why = "connection refused" if isinstance(error, ConnectionRefusedError) else (error.strerror or "no connection")
        raise SourceUnreachable(f"{where}: {why.lower()}; check address, port and that the camera is on") from None
    if source.scheme != "rtsps":
        return link
    try:
        context = ssl.create_default_context(cafile=tls_ca or None)
        if not tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(link, server_hostname=source.host)
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise SourceRefused(
            f"{where}: its TLS certificate is not trusted ({error.verify_message}); set the camera's tls_ca"
        ) from None
    except OSError as error:
        link.close()
        reason = getattr(error, "reason", None) or type(error).__name__
        raise SourceUnreachable(f"{where}: no TLS connection ({reason}); is this an rtsps:// port?") from None


class _Conversation:
    def __init__(self, link: socket.socket, source: Source, deadline: float) -> None:
        self._link, self._source, self._deadline = link, source, deadline
        self._sequence = 0
        self._held = b""

    def describe(self) -> Description:
        self._ask("OPTIONS", {})
        answer = self._ask("DESCRIBE", {"Accept": "application/sdp"})
        if answer.status == 401:
            answer = self._ask("DESCRIBE", {"Accept": "application/sdp", "Authorization": self._authorization(answer)})
        shown = self._source.shown
        if answer.status in (401, 403):
            raise CredentialsRefused(f"{shown} refuses the user or the password; check the camera's credentials")
        if 300 <= answer.status < 400:
            raise SourceRefused(f"{shown} sends us to another address; redirects are not followed, give the final URL")
        if answer.status == 404:
            raise SourceUnreachable(f"{shown}: the camera has no such stream (404); check the URL's path")
        if answer.status != 200:
            raise SourceUnreachable(f"{shown} answered with status {answer.status} instead of its stream")
        try:
            return read_description(answer.body)
        except SourceRefused as error:
            raise SourceRefused(f"{shown}: {error}") from None

    def _authorization(self, answer: _Answer) -> str:
        source = self._source
        if source.user is None:
            raise CredentialsRefused(f"{source.shown} wants a user and a password; add them to the camera's url")
        challenges = answer.all("www-authenticate")
        header = authorization(
            challenges, source.user, source.password or "", "DESCRIBE", source.target, secrets.token_hex(8)
        )
        if header is None:
            raise CredentialsRefused(f"{source.shown} asks for a login that is neither Basic nor Digest")
        return header

    def _ask(self, method: str, headers: dict[str, str]) -> _Answer:
        self._sequence += 1
        lines = [f"{method} {self._source.target} RTSP/1.0", f"CSeq: {self._sequence}", f"User-Agent: {USER_AGENT}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._link.settimeout(self._left())
        self._link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return self._answer()

    def _answer(self) -> _Answer:
        shown = self._source.shown
        while b"\r\n\r\n" not in self._held:
            if len(self._held) > MAX_HEAD_BYTES:
                raise SourceRefused(f"{shown} sends an answer without end; this is no RTSP camera")
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("RTSP/") or not rest[:3].isdigit():
            raise SourceUnreachable(f"{shown}: what answers there is no RTSP server; check the port")
        fields = [line.partition(":") for line in lines[1:]]
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
        length = next((value for name, value in headers if name == "content-length"), "0")
        if not length.isdigit() or int(length) > MAX_DESCRIPTION_BYTES:
            raise SourceRefused(f"{shown} announces a description of {length[:12]} bytes, over {MAX_DESCRIPTION_BYTES}")
        while len(self._held) < int(length):
            self._more()
        body, self._held = self._held[: int(length)], self._held[int(length) :]
        return _Answer(status=int(rest[:3]), headers=headers, body=body)

    def _more(self) -> None:
        self._link.settimeout(self._left())
        part = self._link.recv(8192)
        if not part:
            raise ConnectionResetError
        self._held += part

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
