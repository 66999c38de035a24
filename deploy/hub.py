"""The Hugging Face hub, or a mirror with its layout, over HTTP: what a revision holds, and the bytes of a file.

huggingface_hub itself would do, but its downloads begin anew in every process, follow any redirect and trust the
transfer; here a killed download goes on, and what arrives is compared with its hash.

    GET SITE/api/models/NAME/revision/REVISION?blobs=true     the commit, and per file its size and hash
    GET SITE/NAME/resolve/COMMIT/FILE                         the bytes, usually behind redirects; Range is honoured
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from deploy.errors import PullFailed, PullInterrupted, UsageError
from reasoner.pulled import COMMIT, NAME, PulledFile

TIMEOUT_S = 30.0
"""For a connection, and for each piece of an answer."""
MAX_REDIRECTS = 5
MAX_LISTING = 16 << 20
PIECE = 1 << 20
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which trying again may help."""


class _Lfs(msgspec.Struct):
    sha256: str = ""
    size: int = -1


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blob_id: str = msgspec.field(default="", name="blobId")
    lfs: _Lfs | None = None


class _Info(msgspec.Struct):
    sha: str
    siblings: list[_Sibling]


class Listing(NamedTuple):
    """One commit of a repository."""

    revision: str
    files: tuple[PulledFile, ...]


class Hub:
    """One site. token: sent to this site and to no other."""

    def __init__(self, site: str, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Raises UsageError for an address that is neither https nor http on this machine."""
        parts = urlsplit(site)
        if not _safe(site, site):
            raise UsageError(
                f"{parts.scheme or 'no'}://{parts.hostname or ''}: a model site must be https (or on this machine)"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError("the address of a model site takes no password or query; set HF_ENDPOINT and HF_TOKEN")
        self.site = site.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_Redirects(site))

    def listing(self, name: str, revision: str) -> Listing:
        """What a branch, tag or commit stands for now. Raises UsageError, PullInterrupted, PullFailed."""
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a model on the hub; it is like Qwen/Qwen3-VL-8B-Instruct")
        where = f"/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
        with self._open(where, {}, f"{name} at revision {revision}") as reply:
            body = _pieces(reply, MAX_LISTING + 1)
        try:
            info = msgspec.json.decode(body, type=_Info)
        except msgspec.DecodeError as error:
            raise PullFailed(f"{self.site} does not speak the hub's protocol ({error}); check the mirror") from error
        if not COMMIT.fullmatch(info.sha) or (COMMIT.fullmatch(revision) and info.sha != revision):
            raise PullFailed(f"{self.site} answered with commit {info.sha[:64]!r} for {revision}; check the mirror")
        return Listing(info.sha, tuple(_file(sibling) for sibling in info.siblings))

    def fetch(
        self, name: str, revision: str, file: PulledFile, stream: IO[bytes], on_bytes: Callable[[int], None]
    ) -> None:
        """Append to `stream` what its end still lacks of the file.

        Raises PullInterrupted when the connection ends early, which leaves what came.
        """
        begin = stream.seek(0, 2)
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with self._open(f"/{name}/resolve/{revision}/{quote(file.name)}", headers, file.name) as reply:
            if begin and not _goes_on(reply, begin, file.size):
                # The site sends the whole file again, whatever was asked.
                on_bytes(-begin)
                begin = stream.seek(0)
                stream.truncate()
            for piece in iter(lambda: _piece(reply), b""):
                begin += len(piece)
                if begin > file.size:
                    raise PullFailed(
                        f"{self.site} sent more of {file.name} than its {file.size} bytes; check the mirror"
                    )
                stream.write(piece)
                on_bytes(len(piece))
        if begin < file.size:
            raise PullInterrupted(f"{self.site} broke off {file.name} at {begin} of {file.size} bytes")

    def _open(self, path: str, headers: dict[str, str], what: str) -> Any:
        request = urllib.request.Request(
            self.site + path, headers={"User-Agent": "witness", "Accept-Encoding": "identity", **headers}
        )
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            return self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, what) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise PullFailed(f"{self.site} shows no valid certificate ({error.reason.verify_message})") from None
            raise PullInterrupted(f"{self.site} cannot be reached ({error.reason})") from None
        except (OSError, http.client.HTTPException) as error:
            raise PullInterrupted(f"{self.site} cannot be reached ({error or type(error).__name__})") from error

    def _refused(self, error: urllib.error.HTTPError, what: str) -> Exception:
        if error.code in AGAIN:
            return PullInterrupted(
                f"{self.site} is busy (status {error.code})", _seconds(error.headers.get("Retry-After"))
            )
        if error.code in (401, 403):
            return PullFailed(
                f"{self.site} does not give {what} (status {error.code}): check the name; where the model has terms, "
                "accept them on its page and set HF_TOKEN"
            )
        if error.code == 404:
            return UsageError(f"{self.site} has no {what}; check name and revision")
        return PullFailed(f"{self.site} refused {what} (status {error.code}{_reason(error)})")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few redirects, and none to where an eavesdropper or a service of this machine would answer."""

    max_redirections = MAX_REDIRECTS
    max_repeats = 2

    def __init__(self, site: str) -> None:
        self._site = site

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _safe(newurl, self._site):
            raise PullFailed(
                f"{self._site} redirects to {urlsplit(newurl).scheme}://{urlsplit(newurl).hostname}, which is not https"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _safe(url: str, site: str) -> bool:
    """https; or http on this machine, where the site itself is such a one."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return True
    return (
        parts.scheme == urlsplit(site).scheme == "http"
        and _loopback(parts.hostname)
        and _loopback(urlsplit(site).hostname)
    )


def _loopback(host: str | None) -> bool:
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _file(sibling: _Sibling) -> PulledFile:
    lfs = sibling.lfs or _Lfs()
    size = lfs.size if lfs.size >= 0 else sibling.size
    return PulledFile(
        name=sibling.rfilename,
        size=-1 if size is None else size,
        sha256=lfs.sha256,
        blob_sha1="" if sibling.lfs else sibling.blob_id,
    )


def _goes_on(reply: Any, begin: int, size: int) -> bool:
    """Whether a reply holds the rest of a file from `begin`."""
    return bool(
        reply.status == 206 and reply.headers.get("Content-Range", "").strip() == f"bytes {begin}-{size - 1}/{size}"
    )


def _piece(reply: Any) -> bytes:
    try:
        return bytes(reply.read1(PIECE))
    except (OSError, http.client.HTTPException) as error:
        raise PullInterrupted(f"the connection broke off ({error or type(error).__name__})") from error


def _pieces(reply: Any, most: int) -> bytes:
    body = b""
    while len(body) < most and (piece := _piece(reply)):
        body += piece
    return body


def _seconds(text: str | None) -> float:
    """Of a Retry-After header; a date counts as nothing said."""
    return float(text) if text and text.isdigit() else 0.0


def _reason(error: urllib.error.HTTPError) -> str:
    said = " ".join(str(error.reason).split())[:100]
    return f", {said}" if said else ""
