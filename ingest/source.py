"""Where a camera is: which URLs are allowed, and how they are shown without their credentials."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote, urlsplit

import msgspec

from ingest.errors import SourceRefused

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart. `repr` and every message show `shown`, never the credentials."""

    scheme: str
    host: str
    port: int
    target: str
    """The URL as it is sent to the camera: without user and password."""
    user: str | None
    password: str | None

    @property
    def shown(self) -> str:
        """The URL for people: `***@` stands where credentials were, and queries are left out for they may hold some."""
        bare = self.target.partition("?")[0]
        return bare if self.user is None else bare.replace("://", "://***@", 1)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every spelling in which a credential could turn up in a foreign message, the longest first."""
        spelt: set[str] = set()
        for value in (self.user, self.password):
            if value:
                spelt |= {value, quote(value, safe=""), quote(value)}
        query = self.target.partition("?")[2]
        if query:
            spelt.add(query)
        return tuple(sorted(spelt, key=len, reverse=True))

    def __repr__(self) -> str:
        return f"Source({self.shown})"


def parse(url: str, *, allow_loopback: bool = True) -> Source:
    """Takes a camera's URL apart. Raises SourceRefused when the policy says no; the message holds no credential."""
    shown = redact(url)
    if _CONTROL.search(url):
        raise SourceRefused("a camera URL holds spaces or control characters; write them percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise SourceRefused(f"{shown} is no URL; write rtsp://USER:PASSWORD@HOST:PORT/PATH") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise SourceRefused(f"{shown}: only rtsp:// and rtsps:// cameras are read")
    if not host:
        raise SourceRefused(f"{shown} names no host; write rtsp://USER:PASSWORD@HOST:PORT/PATH")
    if port == 0:
        raise SourceRefused(f"{shown}: port 0 is no port")
    if not allow_loopback and _is_loopback(host):
        raise SourceRefused(f"{shown} is this machine itself; loopback cameras are not allowed here")
    user = unquote(parts.username) if parts.username is not None else None
    password = unquote(parts.password) if parts.password is not None else None
    place = f"[{host}]" if ":" in host else host
    where = place if port is None else f"{place}:{port}"
    target = f"{scheme}://{where}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    return Source(
        scheme=scheme, host=host, port=port or DEFAULT_PORTS[scheme], target=target, user=user, password=password
    )


def check_url(url: str, *, allow_loopback: bool = True) -> None:
    """Raises SourceRefused unless this is an rtsp(s):// URL with a host, and off loopback where that is asked."""
    parse(url, allow_loopback=allow_loopback)


def redact(url: str) -> str:
    """The URL without user, password, query and fragment. Works on anything, also on what is no URL at all."""
    scheme, divider, rest = url.partition("://")
    if not divider:
        return "(no URL)"
    head = re.split(r"[?#]", rest, maxsplit=1)[0]
    credentials, at, tail = head.rpartition("@")
    if not at:  # an @ behind ? or # may still end credentials that were not percent-encoded
        tail, hidden = head, rest.rpartition("@")
        if hidden[1]:
            credentials, at, tail = hidden[0], "@", re.split(r"[?#]", hidden[2], maxsplit=1)[0]
    safe_scheme = scheme if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else "(no scheme)"
    clean = _CONTROL.sub("", tail)
    return f"{safe_scheme}://{'***@' if at and credentials is not None else ''}{clean}"


def without_secrets(text: str, source: Source) -> str:
    """A foreign message on one line with every credential of the source blotted out."""
    line = " ".join(text.split())
    for secret in source.secrets:
        line = line.replace(secret, "***")
    return line


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or bool(mapped and mapped.is_loopback)
