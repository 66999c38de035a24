"""One window, one question: look, ask, parse, bind, verify, weigh, decide. The room's story in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from detector.rule import Rule
from detector.window import Window
from ingest.config import Point
from reasoner import degenerate
from reasoner.again import attempt
from reasoner.backends import Backend, Output, open_backend
from reasoner.case import Case, Weighed
from reasoner.confidence import combine
from reasoner.config import Language, ReasonerConfig
from reasoner.crop_check import crop_check
from reasoner.decision import components, decide, stands_in, sureness
from reasoner.doubt import contest, doubt
from reasoner.evidence import Binding, Frame, bind
from reasoner.parse import Parsed, parse
from reasoner.prompt import Message, messages, prompt_sha256
from reasoner.unanswered import unanswered
from reasoner.verdict import ModelRecord, Verdict

if TYPE_CHECKING:
    from reasoner.pictures import Look, Target


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
        from reasoner.isolated import IsolatedBackend

        notes = self.backend.notes
        runs = self.config.backend + " in a process of its own" * isinstance(self.backend, IsolatedBackend)
        knows = f", knows {', '.join(notes.categories)}" if notes and notes.categories else ", any question"
        return f"{self.backend.name} ({runs}, {self.backend.coordinates} boxes{knows})"

    def probe(self) -> str:
        """One line; for a model on a server, after asking it. Raises ServerRefused when it serves other models."""
        from reasoner.backends.openai import ServerBackend

        served = f"; {self.backend.probe()}" if isinstance(self.backend, ServerBackend) else ""
        return self.describe() + served

    def counts(self) -> dict[str, float]:
        """Requests, retries, time-outs and waits of a server, restarts of an isolated model; empty for any other."""
        counts: dict[str, float] = dict(getattr(self.backend, "counts", {}))
        return counts

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
        notes = self.backend.notes
        fault = degenerate.fault(output, parsed, binding, None if notes and notes.prompt == "brief" else rule.language)
        if fault == "probabilities_invalid":
            output = output._replace(tokens=())
        stands = not rule.zones or stands_in(binding.bound, rule.zones, zones)
        weighed = self.weigh(window, rule, seen, output, parsed, binding, again=stands and fault is None)
        # An answer that is no answer is unsure by itself; no threshold makes a no of it.
        counts = notes is None or parsed.yes is None or sureness(weighed.confidence.components) >= notes.yes_from
        if counts and stands and fault is None:
            weighed = doubt(self, window, rule, zones, seen, binding, weighed)
        decision, reasons = decide(
            parsed, binding, weighed.agreement, weighed.confidence.p, self.config.review_below, weighed.rechecks
        )
        if decision != "rejected" and not counts:
            decision, reasons = "rejected", ("unsure_yes",)
        if decision != "rejected" and not stands:
            decision, reasons = "rejected", ("outside_zones",)
        case = Case(window, prompt, output, parsed, binding, weighed, seen.view)
        if fault is None and decision == "rejected" and window.span.sure and self.config.unlettered:
            return contest(self, case, rule, zones, seen, reasons)
        if fault is None and decision == "confirmed" and (standing := case.standing()) is not case:
            return standing.verdict(decision, (*reasons, "claim_dropped"), self.backend)
        if fault is None:
            return case.verdict(decision, reasons, self.backend)
        if parsed.yes is not False and decision != "rejected":
            return case.verdict("needs_review", (fault, *reasons), self.backend)
        if not self.doubtful(window):
            return case.verdict("rejected", (fault,), self.backend)
        return unanswered(
            window,
            rule,
            zones,
            seen,
            case.model(self.backend),
            (fault,),
            output=output.text,
            answer=parsed.answer or "",
        )

    def doubtful(self, window: Window) -> bool:
        """Whether the first look saw enough for a person to be asked where the model gives no answer."""
        return window.span.sure or (bool(window.span.scores) and window.span.score >= self.config.unanswered_from)

    def failed(self, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]]) -> Verdict | None:
        """The verdict of a window that the model failed on: for a person, `model_failed`; None where the first look saw
        too little for that. Raises PictureUnreadable."""
        from reasoner.pictures import look

        if not self.doubtful(window):
            return None
        seen = look(window, self.target())
        prompt = self.prompt(seen, self.question(rule), rule.language, "")
        model = ModelRecord(
            name=self.backend.name,
            weights_sha256=self.backend.weights_sha256,
            prompt_sha256=prompt_sha256(prompt),
            tokens_in=0,
            tokens_out=0,
        )
        return unanswered(window, rule, zones, seen, model, ("model_failed",))

    def weigh(
        self,
        window: Window,
        rule: Rule,
        seen: Look,
        output: Output,
        parsed: Parsed,
        binding: Binding,
        *,
        again: bool = True,
    ) -> Weighed:
        """How far the window's pixels bear out bound claims, and the confidence that this leaves.

        again: whether the model may be asked once more, about the cited boxes alone, where it says yes.
        """
        from reasoner.verify import verify

        times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
        agreement = verify(binding.bound, binding.failures, seen.maps, seen.activity, times_s, parsed.spans)
        notes = self.backend.notes
        crop = None
        if again and self.config.crop_check and parsed.yes is not False and binding.bound:
            crop = attempt("crop", lambda: crop_check(self, window, rule, seen, binding.bound))
        # A check that told nothing counts for nothing: the model's own word stands in.
        score = crop.score if crop is not None and crop.outcome == "answered" else None
        parts = components(window.span.score, output, parsed, binding, agreement, notes, score)
        confidence = combine(parts, notes.calibrator if notes else None)
        return Weighed(agreement, confidence, () if crop is None else (crop,))

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
