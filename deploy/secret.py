"""Secrets: where a configuration may take them from, and how they are kept out of everything that is written.

A text value may hold `${NAME}` (the environment variable NAME), and a whole value may be `file:PATH` (the contents of
a file, as container platforms mount them). `file://...` is a URL and no reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from deploy.errors import ConfigError

MAX_SECRET_BYTES = 65_536
FREE_TEXT = frozenset({"watch", "question", "name"})
"""Keys whose values are prose in any language and are taken as they stand."""

_NAME = re.compile(r"\$\{([^}]*)\}")
_FILE = re.compile(r"^file:(?!//)(.+)$", re.DOTALL)
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s\"'<>]*@")
MASK = "***"


class Resolver:
    """Replaces references in a document and remembers what must never be shown."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """folder: what a relative `file:` path is counted from."""
        self._environment = environment
        self._folder = folder
        self.values: list[str] = []

    def resolve(self, value: Any, path: str = "$", key: str = "") -> Any:
        """A copy without references; raises ConfigError that names the path and the secret, never its value."""
        if isinstance(value, dict):
            return {name: self.resolve(item, f"{path}.{name}", name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, f"{path}[{index}]", key) for index, item in enumerate(value)]
        if not isinstance(value, str) or key in FREE_TEXT:
            return value
        if reference := _FILE.match(value):
            return self._from_file(reference[1], path)
        return _NAME.sub(lambda match: self._from_environment(match, path, key), value)

    def _from_environment(self, match: re.Match[str], path: str, key: str) -> str:
        name = match[1]
        secret = self._environment.get(name)
        if not secret:
            raise ConfigError(
                f"{path}: environment variable {name or '(no name)'} is not set; export it before the start"
            )
        self.values.append(secret)
        is_part_of_url = key.endswith("url") and match.span() != (0, len(match.string))
        return quote(secret, safe="") if is_part_of_url else secret

    def _from_file(self, name: str, path: str) -> str:
        file = self._folder / name
        try:
            if file.stat().st_size > MAX_SECRET_BYTES:
                raise ConfigError(f"{path}: secret file {file} is larger than {MAX_SECRET_BYTES} bytes")
            secret = file.read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: secret file {file} is not UTF-8 text") from None
        except OSError as error:
            raise ConfigError(f"{path}: secret file {file} cannot be read: {error.strerror}") from None
        if not secret:
            raise ConfigError(f"{path}: secret file {file} is empty")
        self.values.append(secret)
        return secret


def written_in(document: Any) -> list[str]:
    """Passwords that stand in the URLs of a document as they are."""
    if isinstance(document, dict):
        return [secret for item in document.values() for secret in written_in(item)]
    if isinstance(document, list):
        return [secret for item in document for secret in written_in(item)]
    if not isinstance(document, str) or "@" not in document:
        return []
    try:
        password = urlsplit(document).password
    except ValueError:
        return []
    return [password] if password else []


class Redaction:
    """Masks exact secret values, raw and percent-encoded, and the user part of every URL."""

    MIN_CHARS = 4
    """Shorter values would mask ordinary words; in a URL they are masked all the same."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), unquote(secret))
        }
        long_enough = sorted((form for form in forms if len(form) >= self.MIN_CHARS), key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, long_enough))) if long_enough else None

    def __call__(self, text: str) -> str:
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        return _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
