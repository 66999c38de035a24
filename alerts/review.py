"""What people say about an alert. Each review is the next revision of its record; earlier ones stay as they are."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from alerts.alert import Alert, Review, sealed
from alerts.instant import utc_text
from alerts.wording import plain

Said = Literal["claimed", "confirmed", "rejected", "escalated", "unsure"]
MAX_NAME_CHARS = 120
MAX_NOTE_CHARS = 400


def reviewed(alert: Alert, said: Said, now_utc_ns: int, by: str = "", note: str = "") -> Alert:
    """The next revision: the same alert with this review in place of the one before. Name and note are data: one line
    each, cut to 120 and 400 characters. Machine fields (state, decision) stay what the machine said."""
    return sealed(
        replace(
            alert,
            revision=alert.revision + 1,
            review=Review(
                status=said,
                by=plain(by, MAX_NAME_CHARS) or None,
                at=utc_text(now_utc_ns),
                reason=plain(note, MAX_NOTE_CHARS) or None,
            ),
        )
    )
