"""UTC instants as text: RFC 3339 with milliseconds and `Z`, so that text order is time order."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta

Utc = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        description="RFC 3339 UTC with milliseconds",
        extra_json_schema={"format": "date-time"},
    ),
]


def utc_text(utc_ns: int) -> str:
    """Nanoseconds since 1970 as text; cut to the millisecond, never rounded up, so that order is kept."""
    seconds, rest = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def utc_ns(text: str) -> int:
    """The instant of such a text in ns; ValueError for any other text."""
    if not text.endswith("Z") or len(text) != 24:
        raise ValueError(f"{text!r} is not RFC 3339 UTC with milliseconds")
    whole = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return (int(whole.timestamp()) * 1000 + int(text[20:23])) * 1_000_000


def clock_text(utc_ns: int, tz: str) -> str:
    """HH:MM:SS on the site's wall clock."""
    return f"{datetime.fromtimestamp(utc_ns // 1_000_000_000, ZoneInfo(tz)):%H:%M:%S}"
