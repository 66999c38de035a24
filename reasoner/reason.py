"""One window, one question: look, ask, parse, bind, verify, weigh, decide. The room's story in one file."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from detector.rule import Rule
from detector.window import Window
from ingest.config import Point
from reasoner.backends import Backend, Output, open_backend
from reasoner.boxes import Box
from reasoner.confidence import combine
from reasoner.config import Language, ReasonerConfig
from reasoner.decision import components, decide, stands_in
from reasoner.evidence import Binding, Frame, bind, nearest
from reasoner.parse import Parsed, parse
from reasoner.prompt import Message, messages, prompt_sha256
from reasoner.verdict import Confidence, Decision, Evidence, ModelRecord, Verdict

if TYPE_CHECKING:
    from reasoner.pictures import Look, Target
    from reasoner.verify import Agreement


class Reasoner:
    """A loaded model and the settings by which its answers become verdicts. Safe to call from several threads."""

    def __init__(self, backend: Backend, config: ReasonerConfig) -> None:
        self.backend = backend
        self.config = config

    @classmethod
    def load(cls, config: ReasonerConfig) -> Reasoner:
        """Raises a ReasonerError in one line when the model is missing, damaged, unknown or out of reach."""
        return cls(open_backend(config), config)

    def close(self) -> None:
        self.backend.close()

    def describe(self) -> str:
        """One line: which model, how it runs, what it knows."""
        notes = self.backend.notes
        knows = f", knows {', '.join(notes.categories)}" if notes and notes.categories else ", any question"
        return f"{self.backend.name} ({self.config.backend}, {self.backend.coordinates} boxes{knows})"

    def supports(self, rule: Rule) -> str | None:
        """None when the model can serve the rule; else one line saying why not and the way out."""
        notes = self.backend.notes
        if notes is None or not notes.categories or rule.category in notes.categories:
            return None
        return (
            f"rule {rule.id!r}: model {self.backend.name} was not trained on category {rule.category!r} "
            f"(it knows {', '.join(notes.categories)}); choose one of these, or set [reasoner] model to a general "
            'one such as "Qwen/Qwen3-VL-8B-Instruct"'
        )

    def reason(
        self, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]], camera_name: str = ""
    ) -> Verdict:
        """The verdict of one window. Raises PictureUnreadable for damaged frames, ModelFailed and Server errors."""
        from reasoner.pictures import look

        seen = look(window, self.target())
        prompt = self.prompt(seen, self.question(rule), rule.language, camera_name)
        output = self.backend.answer(prompt, seen.pictures)
        times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
        parsed = parse(output.text, times_s[-1])
        frame = Frame(self.backend.coordinates, seen.view, self.backend.fitted(*seen.size))
        binding = bind(parsed.claims, times_s, frame)
        agreement, confidence = self.weigh(window, seen, output, parsed, binding)
        notes = self.backend.notes
        decision, reasons = decide(parsed, binding, agreement, confidence.p, self.config.review_below)
        if decision != "rejected" and notes is not None and confidence.components["vlm_token"] < notes.yes_from:
            decision, reasons = "rejected", ("unsure_yes",)
        if decision != "rejected" and rule.zones and not stands_in(binding.bound, rule.zones, zones):
            decision, reasons = "rejected", ("outside_zones",)
        case = _Case(window, prompt, output, parsed, binding, agreement, confidence, seen.view)
        return case.verdict(decision, reasons, self.backend)

    def weigh(
        self, window: Window, seen: Look, output: Output, parsed: Parsed, binding: Binding
    ) -> tuple[Agreement, Confidence]:
        """How far the window's pixels bear out bound claims, and the confidence that this leaves."""
        from reasoner.verify import verify

        times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
        agreement = verify(binding.bound, binding.failures, seen.maps, seen.activity, times_s, parsed.spans)
        notes = self.backend.notes
        parts = components(window.span.score, output, parsed, binding, agreement, notes)
        return agreement, combine(parts, notes.calibrator if notes else None)

    def target(self) -> Target:
        """What the model wants to be shown."""
        from reasoner.pictures import Target

        notes = self.backend.notes
        if notes is None:
            return Target(motion=False, input_size=None, max_pictures=self.config.max_frames)
        return Target(
            motion=notes.pairing == "motion",
            input_size=notes.input_size,
            max_pictures=notes.max_groups or self.config.max_frames,
            contiguous=notes.max_groups is not None,
        )

    def question(self, rule: Rule) -> str:
        """The rule's question; of a model with few categories, the words it was trained on."""
        notes = self.backend.notes
        return notes.questions.get(rule.category, rule.question) if notes else rule.question

    def prompt(self, seen: Look, question: str, lang: Language, place: str) -> list[Message]:
        notes = self.backend.notes
        return messages(
            question,
            seen.times_s,
            lang,
            style=notes.prompt if notes else "full",
            coordinates=self.backend.coordinates,
            place=place,
        )


def category_of(question: str, keywords: Mapping[str, Sequence[str]]) -> str | None:
    """The category whose words a question holds most of; None with none. English words match at their start."""
    text = question.lower()
    hits = {category: sum(_holds(text, word.lower()) for word in words) for category, words in keywords.items()}
    best = max(hits, key=lambda category: hits[category], default=None)
    return best if best is not None and hits[best] else None


def _holds(text: str, word: str) -> bool:
    if not word.isascii():
        return word in text
    return re.search(rf"(?<![a-z]){re.escape(word)}", text) is not None


class _Case(NamedTuple):
    """All that is known of one window when its verdict is written."""

    window: Window
    prompt: Sequence[Message]
    output: Output
    parsed: Parsed
    binding: Binding
    agreement: Agreement
    confidence: Confidence
    view: Box

    def verdict(self, decision: Decision, reasons: tuple[str, ...], backend: Backend) -> Verdict:
        onset_utc_ns, end_utc_ns = self._when()
        evidence = () if decision == "rejected" else self._evidence()
        best = max(evidence, key=lambda item: item.check.score, default=None)
        return Verdict(
            window_id=self.window.window_id,
            decision=decision,
            reasons=reasons,
            answer=self.parsed.answer or "",
            output=self.output.text,
            claims=self.binding.claims,
            evidence=evidence,
            confidence=self.confidence,
            onset_utc_ns=onset_utc_ns,
            end_utc_ns=end_utc_ns,
            peak_utc_ns=best.stamp.utc_ns if best else self.window.span.peak_utc_ns,
            view=self.view,
            model=ModelRecord(
                name=backend.name,
                weights_sha256=backend.weights_sha256,
                prompt_sha256=prompt_sha256(self.prompt),
                tokens_in=self.output.tokens_in,
                tokens_out=self.output.tokens_out,
            ),
            reasoned_utc_ns=time.time_ns(),
        )

    def _evidence(self) -> tuple[Evidence, ...]:
        frames = self.window.cut.frames
        return tuple(
            Evidence(
                claim=item.claim,
                frame=item.frame,
                frame_sha256=frames[item.frame].sha256(),
                stamp=frames[item.frame].stamp,
                label=item.label,
                box=item.box,
                check=check,
            )
            for item, check in zip(self.binding.bound, self.agreement.checks, strict=True)
        )

    def _when(self) -> tuple[int, int | None]:
        """Onset and end in UTC of exact frames: the answer's span, else the claims' times, else the hot part."""
        frames = self.window.cut.frames
        times_s = [self.window.seconds(index) for index in range(len(frames))]
        spans = [(span.start_s, span.end_s) for span in self.parsed.spans]
        spans += [(claim.time_s, claim.time_s) for claim in self.binding.claims] if not spans else []
        indices = [(nearest(times_s, start), nearest(times_s, min(end, times_s[-1]))) for start, end in spans]
        starts = [start for start, _ in indices if start is not None]
        ends = [end for _, end in indices if end is not None]
        onset = frames[min(starts)].stamp.utc_ns if starts else self.window.span.first_hot_utc_ns
        end = frames[max(ends)].stamp.utc_ns if ends else None
        return onset, end if end is not None and end >= onset else None
