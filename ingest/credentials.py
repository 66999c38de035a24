"""Answers to a camera's challenge: Basic (RFC 7617) and Digest (RFC 7616, and 2069 for old cameras). Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": hashlib.md5, "MD5-SESS": hashlib.md5, "SHA-256": hashlib.sha256, "SHA-256-SESS": hashlib.sha256}
_PREFERENCE = ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")
"""FFmpeg, which opens the stream after us, knows MD5 only: what works here has to work there."""


def authorization(
    challenges: Sequence[str], user: str, password: str, method: str, target: str, cnonce: str
) -> str | None:
    """The Authorization header for the best of the challenges (WWW-Authenticate values); None: none is understood.

    `target` is the request's URL; `cnonce` a fresh random text.
    """
    digests = {}
    basic = False
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        fields = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        if scheme.lower() == "digest" and "nonce" in fields:
            digests[fields.get("algorithm", "MD5").upper()] = fields
        elif scheme.lower() == "basic":
            basic = True
    for algorithm in _PREFERENCE:
        if algorithm in digests:
            return _digest(digests[algorithm], algorithm, user, password, method, target, cnonce)
    if basic:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _digest(
    fields: dict[str, str], algorithm: str, user: str, password: str, method: str, target: str, cnonce: str
) -> str:
    def h(text: str) -> str:
        return _HASHES[algorithm](text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields["nonce"]
    secret = h(f"{user}:{realm}:{password}")
    if algorithm.endswith("-SESS"):
        secret = h(f"{secret}:{nonce}:{cnonce}")
    request = h(f"{method}:{target}")
    answer = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    bare = {}
    if "auth" in re.split(r"[\s,]+", fields.get("qop", "")):
        count = "00000001"
        answer["response"] = h(f"{secret}:{nonce}:{count}:{cnonce}:auth:{request}")
        answer["cnonce"] = cnonce
        bare = {"qop": "auth", "nc": count}
    else:
        answer["response"] = h(f"{secret}:{nonce}:{request}")
    if "opaque" in fields:
        answer["opaque"] = fields["opaque"]
    if "algorithm" in fields:
        bare["algorithm"] = fields["algorithm"]
    quoted = [f'{name}="{_escaped(value)}"' for name, value in answer.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in bare.items()])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
