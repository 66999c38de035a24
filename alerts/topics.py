"""The topics of the bus and the settings they are created with; names are without the site's prefix."""

from alerts.bus import ALERTS, DEAD_LETTERS, HEALTH, STATE

_DAY_MS = 24 * 3600 * 1000
TOPICS: dict[str, dict[str, str]] = {
    ALERTS: {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)},
    STATE: {"cleanup.policy": "compact"},
    HEALTH: {"cleanup.policy": "compact,delete", "retention.ms": str(7 * _DAY_MS)},
    DEAD_LETTERS: {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)},
}
"""Applied where a topic is missing; an existing one is left as it is."""
