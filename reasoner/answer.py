"""The answer to a question about a file: the record that is printed as JSON, and its text shape."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from reasoner.config import Language
from reasoner.verdict import CheckStatus, Decision, ModelRecord

HIGH_ABOVE = 0.8

Band = Literal["high", "medium", "low"]


class AskEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One box at one frame of the file."""

    object: str
    time_s: float
    """Seconds from the first frame, by PTS."""
    frame: int
    """round-half-up of seconds x frames per second of the container."""
    box_px: tuple[int, int, int, int]
    """x1, y1, x2, y2 in pixels of the decoded frame."""
    check: CheckStatus


class AskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `witness ask --json` prints."""

    video: str
    question: str
    lang: Language
    answer: str
    """In the language asked for, times counted from the start of the file."""
    yes: bool | None
    span_s: tuple[float, float] | None
    """When it happens, where the answer says so."""
    evidence: tuple[AskEvidence, ...]
    confidence: float
    """Of the answer given, 0..1."""
    band: Band
    decision: Decision
    """Of the rule-like reading of the question: confirmed, needs_review, or rejected (a no, or nothing to show)."""
    reasons: tuple[str, ...]
    duration_s: float
    fps: float
    size_px: tuple[int, int]
    windows: int
    """Fine windows that were asked about."""
    model: ModelRecord
    output: str
    """The model's own words about the window that decided."""


def band(confidence: float, review_below: float) -> Band:
    """`low` below the review threshold, `high` above 0.8, `medium` between (both ends of it included)."""
    if confidence < review_below:
        return "low"
    return "high" if confidence > HIGH_ABOVE else "medium"


def shown(confidence: float, of: Band, review_below: float = 0.6) -> float:
    """Two decimals that never contradict the band: 0.597 is shown as 0.59, not as 0.60(low)."""
    lowest, highest = {"low": (0.0, review_below - 0.01), "medium": (review_below, HIGH_ABOVE), "high": (0.81, 1.0)}[of]
    return min(max(round(confidence, 2), lowest), highest)


def frame_number(seconds: float, fps: float) -> int:
    """round-half-up of seconds x fps: 12.3 x 25 = 307.5 → 308. Rounding first to 1e-6 undoes binary fractions."""
    return math.floor(round(seconds * fps, 6) + 0.5)


_WORDS = {
    "en": {
        "head": "Answer:{}", "evidence": "Evidence:", "none": "Evidence:none", "confidence": "Confidence:{:.2f}({})",
        "item": "- Time:{:.1f}s(frame {}),box:(x1={}, y1={}, x2={}, y2={})",
        "high": "high", "medium": "medium", "low": "low,needs human review",
    },
    "zh": {
        "head": "答案:{}", "evidence": "证据:", "none": "证据:无", "confidence": "置信度:{:.2f}({})",
        "item": "- 时间戳:{:.1f}秒(对应第{}帧),边界框:(x1={}, y1={}, x2={}, y2={})",
        "high": "高", "medium": "中", "low": "低,需人工核实",
    },
}  # fmt: skip


def render(result: AskResult, lang: Language) -> str:
    """The text shape of an answer; its punctuation is ASCII in both languages."""
    words = _WORDS[lang]
    lines = [words["head"].format(result.answer)]
    lines.append(words["evidence"] if result.evidence else words["none"])
    lines += [words["item"].format(item.time_s, item.frame, *item.box_px) for item in result.evidence]
    lines.append(words["confidence"].format(shown(result.confidence, result.band), words[result.band]))
    return "\n".join(lines)
