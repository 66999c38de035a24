"""A window that the model gave no usable or no settled answer about: what there is to show a person without it.

The frame at the peak of the first look, and in it what changed: the evidence says where to look, not what is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from detector.rule import Rule
from detector.window import Window
from ingest.config import Point
from reasoner.boxes import Box
from reasoner.config import Language
from reasoner.decision import inside
from reasoner.verdict import Calibration, Check, Claim, Confidence, Evidence, ModelRecord, Verdict

if TYPE_CHECKING:
    from reasoner.pictures import Look

METHOD = "first_look"
UNKNOWN = 0.5
MOST_SHOWN = 0.8
"""A change over more of the frame than this points at nothing: then the whole view is shown."""
_SAID = {
    "en": ("change", "The first look saw something here; the model gave no clear answer."),
    "zh": ("变化", "初步检测发现此处有变化，但模型未能给出明确回答。"),
}


def unanswered(
    window: Window,
    rule: Rule,
    zones: Mapping[str, Sequence[Point]],
    seen: Look,
    model: ModelRecord,
    reasons: tuple[str, ...],
    *,
    output: str = "",
    answer: str = "",
) -> Verdict:
    """`needs_review` with the evidence of the first look."""
    claim, evidence = first_look(window, seen, rule.language, [zones[n] for n in rule.zones if n in zones])
    return Verdict(
        window_id=window.window_id,
        decision="needs_review",
        reasons=reasons,
        answer=answer,
        output=output,
        claims=(claim,),
        evidence=(evidence,),
        confidence=unknown(window.span.score),
        onset_utc_ns=window.span.first_hot_utc_ns,
        end_utc_ns=None,
        peak_utc_ns=evidence.stamp.utc_ns,
        view=seen.view,
        model=model,
        reasoned_utc_ns=time.time_ns(),
    )


def first_look(
    window: Window, seen: Look, lang: Language, polygons: Sequence[Sequence[Point]] = ()
) -> tuple[Claim, Evidence]:
    """The frame nearest to the peak with the largest change in it, of those that stand in a zone where there are."""
    frames = window.cut.frames
    peak = min(range(len(frames)), key=lambda i: abs(frames[i].stamp.utc_ns - window.span.peak_utc_ns))
    box = _changed(seen, peak, polygons)
    label, sentence = _SAID[lang]
    claim = Claim(text=sentence, object=label, boxes=(box,), time_s=window.seconds(peak), time_bound="inferred")
    return claim, Evidence(
        claim=0,
        frame=peak,
        frame_sha256=frames[peak].sha256(),
        stamp=frames[peak].stamp,
        label=label,
        box=box,
        check=Check(method=METHOD, status="unchecked", score=UNKNOWN),
    )


def unknown(coarse: float) -> Confidence:
    """All that is known is the score of the first look; how often that is right without an answer, nobody counted."""
    return Confidence(
        p=UNKNOWN,
        interval=(0.0, 1.0),
        components={"coarse": coarse, "vlm_token": UNKNOWN},
        calibration=Calibration(id="none", method="none", ece=1.0, n=0, date=""),
    )


def _changed(seen: Look, frame: int, polygons: Sequence[Sequence[Point]]) -> Box:
    from reasoner.change import regions

    found = [box for box in regions(seen.maps[frame]) if box.area <= MOST_SHOWN]
    standing = [box for box in found if any(inside(((box.x1 + box.x2) / 2, box.y2), p) for p in polygons)]
    return next(iter(standing or found), seen.view)
