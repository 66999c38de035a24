"""`witness ask`: one recorded video, one question; coarse to fine, answer, evidence, confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from detector.rule import Rule
from reasoner.answer import AskEvidence, AskResult, band, frame_number, render
from reasoner.config import Language, ReasonerConfig
from reasoner.keywords import category_of
from reasoner.parse import parse
from reasoner.phrases import sentence
from reasoner.reason import Reasoner
from reasoner.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.window import Window
    from reasoner.recording import Coarse, Recording

__all__ = ["AskResult", "ask", "render"]

COARSE_STEP_S = 5.0
DENSE_STEP_S = 1.0
DENSE_UNTIL_S = 120.0
"""Files up to this long are looked over each second: decoding them is cheap and short events are not missed."""
FINE_STEP_S = 0.5
MOST_WINDOWS = 12
GOOD_ENOUGH = 0.9
"""A confirmed answer this sure ends the search."""
FOREIGN_AT_MOST = 0.5
"""Confidence of an answer to a question outside a model's categories: its own certainty means nothing there."""


def ask(
    video: Path,
    question: str,
    config: ReasonerConfig,
    lang: Language = "en",
    fps: float | None = None,
    *,
    reasoner: Reasoner | None = None,
) -> AskResult:
    """Answer a question about a file. Raises VideoUnreadable for what is no video, and the model's own errors.

    reasoner: one that is loaded already; else it is loaded from `config` and closed again.
    """
    from reasoner.recording import Recording

    if not question.strip():
        raise ValueError('the question is empty; ask something, as "Does somebody fall?"')
    with Recording(video, fps) as recording:
        used = reasoner or Reasoner.load(config)
        try:
            return _ask(recording, question, used, lang)
        finally:
            if reasoner is None:
                used.close()


def _ask(recording: Recording, question: str, reasoner: Reasoner, lang: Language) -> AskResult:
    notes = reasoner.backend.notes
    category = category_of(question, notes.keywords) if notes else None
    rule = Rule(
        id="ask",
        category=category or "other",  # type: ignore[arg-type]
        watch=question[:300],
        question=question[:500],
        language=lang,
    )
    dense = recording.duration_s <= DENSE_UNTIL_S
    coarse = recording.coarse(DENSE_STEP_S if dense else COARSE_STEP_S)
    background = usual(coarse)
    best: tuple[Window, Verdict] | None = None
    surest_yes = 0.0
    count = 0
    for start_s, end_s in _candidates(recording, coarse, rule, reasoner):
        window = recording.window(start_s, end_s, FINE_STEP_S, background)
        verdict = reasoner.reason(window, rule, {})
        count += 1
        surest_yes = max(surest_yes, verdict.confidence.components["vlm_token"])
        if best is None or _rank(verdict) > _rank(best[1]):
            best = (window, verdict)
        if verdict.decision == "confirmed" and verdict.confidence.p >= GOOD_ENOUGH:
            break
    assert best is not None
    case = _Found(*best, surest_yes, count)
    foreign = notes is not None and bool(notes.categories) and category is None
    return _result(recording, rule, category, case, reasoner.config.review_below, foreign)


def _rank(verdict: Verdict) -> tuple[int, float]:
    """A yes with evidence before a yes without, before a no; then by confidence."""
    order = {"confirmed": 2, "needs_review": 2, "rejected": 0 if "answer_no" in verdict.reasons else 1}
    return order[verdict.decision], verdict.confidence.p


def usual(coarse: Coarse) -> NDArray[np.uint8] | None:
    """What the camera usually shows: the median of the coarse pictures, (H, W, 3); None with fewer than five."""
    import numpy as np

    if len(coarse.times_s) < 5:
        return None
    some = coarse.pictures[:: max(1, len(coarse.pictures) // 60)]
    return np.asarray(np.median(some, axis=0), np.uint8)


def _candidates(recording: Recording, coarse: Coarse, rule: Rule, reasoner: Reasoner) -> list[tuple[float, float]]:
    """Spans worth a fine look, most promising first; all of a short file."""
    notes = reasoner.backend.notes
    length = (
        (notes.max_groups * (notes.group_step_s or 1.0))
        if notes and notes.max_groups
        else (reasoner.config.max_frames * FINE_STEP_S)
    )
    spans = windows_over(recording.duration_s, length)
    if len(spans) > 1:
        scores = promise(coarse, spans)
        spans = [spans[i] for i in sorted(range(len(spans)), key=lambda i: -scores[i])][:MOST_WINDOWS]
        if notes is None:
            spans = [*_first_answer(recording, coarse, rule, reasoner, length), *spans][:MOST_WINDOWS]
    return spans


def windows_over(duration_s: float, length_s: float) -> list[tuple[float, float]]:
    """Spans of `length_s`, each half over the next, that cover a file; one when it is short."""
    if duration_s <= length_s:
        return [(0.0, max(duration_s, FINE_STEP_S))]
    count = math.ceil((duration_s - length_s) / (length_s / 2)) + 1
    stride = (duration_s - length_s) / (count - 1)
    return [(stride * i, stride * i + length_s) for i in range(count)]


def promise(coarse: Coarse, spans: Sequence[tuple[float, float]]) -> list[float]:
    """How much happens in each span by the coarse pictures: change against the usual picture, and movement."""
    from reasoner.change import REGION_LEVEL, activity, change_maps

    changed = (change_maps(coarse.pictures) >= REGION_LEVEL).mean(axis=(1, 2)) + activity(coarse.pictures)
    scores = []
    for start, end in spans:
        inside = [float(changed[i]) for i, t in enumerate(coarse.times_s) if start - 2.5 <= t <= end + 2.5]
        # Half for the strongest moment: a short event is not averaged away.
        scores.append(0.5 * max(inside) + 0.5 * sum(inside) / len(inside) if inside else 0.0)
    return scores


def _first_answer(
    recording: Recording, coarse: Coarse, rule: Rule, reasoner: Reasoner, length_s: float
) -> list[tuple[float, float]]:
    """Where a general model sees it on the coarse pictures: spans round the times it claims."""
    from reasoner.prompt import messages

    most = reasoner.config.max_frames
    last = len(coarse.times_s) - 1
    shown = sorted({round(i * last / max(1, most - 1)) for i in range(most)} & set(range(last + 1)))
    prompt = messages(
        rule.question,
        [coarse.times_s[i] for i in shown],
        rule.language,
        coordinates=reasoner.backend.coordinates,
        duration_s=recording.duration_s,
    )
    parsed = parse(reasoner.backend.answer(prompt, [coarse.pictures[i] for i in shown]).text, recording.duration_s)
    times = [span.start_s for span in parsed.spans] + [c.time_s for c in parsed.claims if c.time_s is not None]
    starts = sorted({max(0.0, min(t - length_s / 3, recording.duration_s - length_s)) for t in times})
    return [(start, start + length_s) for start in starts[:3]]


class _Found(NamedTuple):
    """What the search ended with."""

    window: Window
    verdict: Verdict
    surest_yes: float
    """Highest token probability of a yes over all windows."""
    windows: int


def _result(
    recording: Recording, rule: Rule, category: str | None, found: _Found, review_below: float, foreign: bool
) -> AskResult:
    verdict = found.verdict
    offset_s = found.window.cut.frames[0].stamp.utc_ns / 1e9
    parsed = parse(verdict.output)
    span = (parsed.spans[0].start_s + offset_s, parsed.spans[0].end_s + offset_s) if parsed.spans else None
    yes = parsed.yes
    # A no speaks for every window that was looked at, so it is as sure as the least sure of them.
    confidence = 1 - found.surest_yes if yes is False else verdict.confidence.p
    if foreign:
        confidence = min(confidence, FOREIGN_AT_MOST)
    evidence = tuple(
        AskEvidence(
            object=item.label,
            time_s=round(item.stamp.utc_ns / 1e9, 3),
            frame=frame_number(item.stamp.utc_ns / 1e9, recording.fps),
            box_px=item.box.pixels(recording.size),
            check=item.check.status,
        )
        for item in sorted(verdict.evidence, key=lambda item: item.stamp.utc_ns)
    )
    return AskResult(
        video=recording.path.name,
        question=rule.question,
        lang=rule.language,
        answer=sentence(verdict.answer, rule.language, category, span, offset_s),
        yes=yes,
        span_s=span,
        evidence=evidence,
        confidence=round(confidence, 4),
        band=band(confidence, review_below),
        decision=verdict.decision,
        reasons=(*verdict.reasons, "unknown_question") if foreign else verdict.reasons,
        duration_s=round(recording.duration_s, 3),
        fps=round(recording.fps, 4),
        size_px=recording.size,
        windows=found.windows,
        model=verdict.model,
        output=verdict.output,
    )
