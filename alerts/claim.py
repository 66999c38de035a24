"""What an alert says and what proves it: entities, claims, pieces of evidence."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from alerts.instant import Utc

Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Pixels = Annotated[int, Meta(ge=1)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Meta(min_length=1, max_length=120)]
Key = Annotated[str, Meta(pattern=r"^[a-z][0-9]{1,3}$")]
NormBox = tuple[Unit, Unit, Unit, Unit]


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody or something that claims speak of."""

    id: Key
    label: Name
    label_source: Literal["reasoner", "detector", "operator"]
    track_ids: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement of the summary: the unit of verification."""

    id: Key
    text: Annotated[str, Meta(min_length=1, max_length=400)]
    span: tuple[Count, Count]
    """Start and end of `text` in the summary, in characters."""
    predicate: Name
    subject: Key
    evidence_ids: tuple[Key, ...]
    verdict: Literal["supported", "contradicted", "unverified"]
    p: Unit
    """Best check score of its evidence; the alert's own probability where nothing could be checked."""
    object: Key | None = None


class FrameRef(msgspec.Struct, frozen=True, kw_only=True):
    """The exact stored picture."""

    pts: int
    time_base: Annotated[str, Meta(pattern=r"^[0-9]+/[0-9]+$")]
    index_in_window: Count
    """Among the fine frames of the window that raised the alert; of counter-evidence, of the one it is from."""
    sha256: Sha256


class PictureBox(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where: 0..1 of the displayed frame, origin top left, x right, y down."""

    entity_id: Key
    box: NormBox
    label: Name
    origin: Literal["reasoner", "detector", "tracker", "operator"]
    score: Unit
    px_short_side: Pixels
    """Shorter side in px of the source frame; small boxes are weak evidence."""
    iou_with_detector: Unit | None = None

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ValueError(f"no box in 0..1: {self.box}")


class EvidenceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's independent look at this piece."""

    method: Name
    """`change_region`, `detector_iou`, `crop_requery`, `masked_counterfactual`, `track_consistency`, ..."""
    status: Literal["supported", "contradicted", "unchecked"]
    score: Unit


class EvidenceItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim bound to one stored frame."""

    id: Key
    kind: Literal["onset", "observation", "peak", "absence", "end"]
    time: Utc
    frame: FrameRef
    boxes: tuple[PictureBox, ...]
    image_uri: Annotated[str, Meta(min_length=1)]
    image_sha256: Sha256
    check: EvidenceCheck
    time_range: tuple[Utc, Utc] | None = None
    note: Annotated[str, Meta(max_length=120)] = ""
