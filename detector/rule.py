"""A rule: what a site watches for, in words for the ViT and as a question for the reasoner."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ingest.config import Identifier

Category = Literal[
    "abandoned_object", "crowd", "fall", "fight", "fire_smoke", "intrusion",
    "loitering", "running", "tamper", "vehicle_wrong_way", "other",
]  # fmt: skip
Severity = Literal["info", "low", "high", "critical"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[rule]]` table."""

    id: Identifier
    category: Category
    watch: Annotated[str, Meta(min_length=1, max_length=300)]
    """What the ViT is to match on one frame."""
    question: Annotated[str, Meta(min_length=1, max_length=500)]
    """What the reasoner is asked about the window; yes means alert."""
    name: str = ""
    cameras: tuple[Identifier, ...] = ()
    """Cameras it applies to; none named: all."""
    zones: tuple[Identifier, ...] = ()
    """Zones in which the evidence must lie; none named: the whole frame."""
    severity: Severity = "high"
    cooldown_s: Annotated[float, Meta(ge=0)] = 120.0
    """Counted from the last moment an alert was supported: what follows within it is merged into that alert."""
    threshold: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """Score that opens the gate; none: the model's own calibrated threshold of the category."""
    language: Literal["en", "zh"] = "en"
    """Language of headline and summary."""

    def applies_to(self, camera_id: str) -> bool:
        return not self.cameras or camera_id in self.cameras
