"""Basic (RFC 7617) and Digest (RFC 2069, the form that RTSP cameras speak) authentication of a request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from ingest.simulator.message import Request

REALM = "witness"


class Door:
    """Lets requests in that carry the one user name and password; without credentials it stands open."""

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        self._credentials = credentials
        self._nonce = secrets.token_hex(16)

    def admits(self, request: Request) -> bool:
        if self._credentials is None:
            return True
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            expected = base64.b64encode(":".join(self._credentials).encode()).decode()
            return hmac.compare_digest(rest.strip().encode(), expected.encode())
        if scheme.lower() == "digest":
            return self._digest_agrees(request.method, dict(re.findall(r'(\w+)="([^"]*)"', rest)))
        return False

    def challenge(self) -> str:
        """Value of WWW-Authenticate, both schemes: the stronger one first."""
        return f'Digest realm="{REALM}", nonce="{self._nonce}"\r\nWWW-Authenticate: Basic realm="{REALM}"'

    def _digest_agrees(self, method: str, given: dict[str, str]) -> bool:
        assert self._credentials is not None
        user, password = self._credentials
        secret = _md5(f"{user}:{REALM}:{password}")
        asked = _md5(f"{method}:{given.get('uri', '')}")
        expected = _md5(f"{secret}:{self._nonce}:{asked}")
        return given.get("username") == user and hmac.compare_digest(given.get("response", ""), expected)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
