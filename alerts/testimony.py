"""The spoken part of an alert: summary, claims, entities, and the evidence that binds them to stored frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from alerts import wording
from alerts.claim import Claim, Entity, EvidenceCheck, EvidenceItem, FrameRef, PictureBox
from alerts.errors import AlertInvalid
from alerts.evidence_names import evidence_uri, frame_name
from alerts.instant import utc_text
from detector.window import Window
from reasoner.boxes import Box
from reasoner.verdict import Evidence, Verdict

MAX_EVIDENCE = 48
"""Pieces of one record; with 12 sentences and their frames it stays below 64 KiB."""
_DETECTOR_METHODS = ("change_region", "detector_iou")
Kind = Literal["onset", "observation", "peak"]


class Testimony(msgspec.Struct, frozen=True, kw_only=True):
    summary: str
    entities: tuple[Entity, ...]
    claims: tuple[Claim, ...]
    evidence: tuple[EvidenceItem, ...]
    frames: tuple[int, ...]
    """Index of the fine frame of each piece of evidence."""
    left_out: int
    """Claims for which the summary had no room."""


def testify(
    verdict: Verdict, window: Window, alert_id: str, language: wording.Language, tz: str, moments: tuple[int, int]
) -> Testimony:
    """Claims with evidence come first; `moments` are onset and peak in UTC ns. AlertInvalid: no evidence, or a frame
    that is not the window's."""
    _require_frames(verdict, window)
    proven = {piece.claim for piece in verdict.evidence}
    order = sorted(range(len(verdict.claims)), key=lambda i: i not in proven)
    told = wording.summarise([_mention(verdict, window, i) for i in order], language, tz)
    spans = {i: span for i, span in zip(order, told.spans, strict=True) if span is not None}
    pieces = [piece for piece in verdict.evidence if piece.claim in spans][:MAX_EVIDENCE]
    entities = _entities([verdict.claims[i].object for i in spans] + [piece.label for piece in pieces])
    kinds = _kinds([piece.stamp.utc_ns for piece in pieces], moments)
    items = [_item(piece, window, f"e{n}", kinds[n - 1], alert_id, entities) for n, piece in enumerate(pieces, start=1)]
    claims = []
    for n, (i, span) in enumerate(spans.items(), start=1):
        own = [item for item, piece in zip(items, pieces, strict=True) if piece.claim == i]
        claims.append(_claim(f"c{n}", span, told.summary, entities[_label(verdict.claims[i].object)], own, verdict))
    return Testimony(
        summary=told.summary,
        entities=tuple(entities.values()),
        claims=tuple(claims),
        evidence=tuple(items),
        frames=tuple(piece.frame for piece in pieces),
        left_out=len(order) - len(spans),
    )


def _require_frames(verdict: Verdict, window: Window) -> None:
    frames = window.cut.frames
    if not verdict.evidence:
        raise AlertInvalid(f"window {verdict.window_id}: a {verdict.decision} verdict without evidence is no alert")
    for piece in verdict.evidence:
        if not (0 <= piece.frame < len(frames) and 0 <= piece.claim < len(verdict.claims)):
            raise AlertInvalid(f"window {verdict.window_id}: evidence names frame {piece.frame}, claim {piece.claim}")
        if frames[piece.frame].sha256() != piece.frame_sha256:
            raise AlertInvalid(f"window {verdict.window_id}: frame {piece.frame} is not the one reasoned over")


def _mention(verdict: Verdict, window: Window, index: int) -> wording.Mention:
    claim = verdict.claims[index]
    bound = next((p.stamp.utc_ns for p in verdict.evidence if p.claim == index), None)
    if bound is None:
        bound = window.cut.frames[0].stamp.utc_ns + round(claim.time_s * 1e9)
    return wording.Mention(claim.text, claim.object, claim.time_s, bound)


def _label(text: str) -> str:
    return wording.plain(text, 120) or "object"


def _entities(labels: Sequence[str]) -> dict[str, Entity]:
    """One entity for each label, in order of appearance."""
    found: dict[str, Entity] = {}
    for label in map(_label, labels):
        if label not in found:
            found[label] = Entity(id=f"o{len(found) + 1}", label=label, label_source="reasoner")
    return found


def _kinds(times_ns: list[int], moments: tuple[int, int]) -> list[Kind]:
    """The piece nearest to onset and the one nearest to peak are called so, the others are observations."""
    kinds: list[Kind] = ["observation"] * len(times_ns)
    onset, peak = (min(range(len(times_ns)), key=lambda i: abs(times_ns[i] - moment)) for moment in moments)
    kinds[peak] = "peak"
    kinds[onset] = "onset"
    return kinds


def _item(
    piece: Evidence, window: Window, key: str, kind: Kind, alert_id: str, entities: dict[str, Entity]
) -> EvidenceItem:
    stamp, label = window.cut.frames[piece.frame].stamp, _label(piece.label)
    width, height = window.cut.source_size
    score = min(1.0, max(0.0, piece.check.score))
    compared = piece.check.status != "unchecked" and piece.check.method in _DETECTOR_METHODS
    box = PictureBox(
        entity_id=entities[label].id,
        box=_rounded(piece.box),
        label=label,
        origin="reasoner",
        score=score,
        px_short_side=max(1, round(min((piece.box.x2 - piece.box.x1) * width, (piece.box.y2 - piece.box.y1) * height))),
        iou_with_detector=score if compared else None,
    )
    return EvidenceItem(
        id=key,
        kind=kind,
        time=utc_text(stamp.utc_ns),
        frame=FrameRef(
            pts=stamp.pts,
            time_base=f"{stamp.time_base[0]}/{stamp.time_base[1]}",
            index_in_window=piece.frame,
            sha256=piece.frame_sha256,
        ),
        boxes=(box,),
        image_uri=evidence_uri(alert_id, frame_name(piece.frame)),
        image_sha256=piece.frame_sha256,
        check=EvidenceCheck(method=piece.check.method, status=piece.check.status, score=score),
    )


def _claim(
    key: str, span: tuple[int, int], summary: str, subject: Entity, own: list[EvidenceItem], verdict: Verdict
) -> Claim:
    states = {item.check.status for item in own}
    checked = [item.check.score for item in own if item.check.status != "unchecked"]
    return Claim(
        id=key,
        text=summary[span[0] : span[1]],
        span=span,
        predicate="seen",
        subject=subject.id,
        evidence_ids=tuple(item.id for item in own),
        verdict="supported"
        if "supported" in states
        else "contradicted"
        if states == {"contradicted"}
        else "unverified",
        p=max(checked, default=verdict.confidence.p),
    )


def _rounded(box: Box) -> tuple[float, float, float, float]:
    """Five decimals (a hundredth of a pixel at 4K), unless that would make the box empty."""
    x1, y1, x2, y2 = (round(v, 5) for v in (box.x1, box.y1, box.x2, box.y2))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else (box.x1, box.y1, box.x2, box.y2)
