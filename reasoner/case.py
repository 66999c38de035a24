"""All that is known of one window when its verdict is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from detector.window import Window
from reasoner.backends import Backend, Output
from reasoner.boxes import Box
from reasoner.evidence import Binding, nearest
from reasoner.parse import Parsed
from reasoner.prompt import Message, prompt_sha256
from reasoner.verdict import Check, Confidence, Decision, Evidence, ModelRecord, Recheck, Verdict

if TYPE_CHECKING:
    from reasoner.verify import Agreement


HEATING_S = 1.0
"""An event is under way for at least about so long before the scorer is hot: in 11 alerts of 360 simulated scenes whose
window began in the middle of the event, 0.7 to 2.9 s, median 1.3 s, which would be too early for every second one."""


class Weighed(NamedTuple):
    """What was found for and against an answer."""

    agreement: Agreement
    confidence: Confidence
    rechecks: tuple[Recheck, ...]


class Case(NamedTuple):
    """A window, what was asked of it, what came back and what that is worth."""

    window: Window
    prompt: Sequence[Message]
    output: Output
    parsed: Parsed
    binding: Binding
    weighed: Weighed
    view: Box

    def standing(self) -> Case:
        """Without the claims that their own check contradicts, where others are supported: what is shown as evidence
        has stood its check. The confidence has counted all of them."""
        checks = self.weighed.agreement.checks
        fallen = {item.claim for item, check in zip(self.binding.bound, checks, strict=True) if _against(check)}
        kept = [index for index in range(len(self.binding.claims)) if index not in fallen]
        pairs = [pair for pair in zip(self.binding.bound, checks, strict=True) if pair[0].claim not in fallen]
        if not fallen or not any(check.status == "supported" for _, check in pairs):
            return self
        bound = tuple(item._replace(claim=kept.index(item.claim)) for item, _ in pairs)
        binding = self.binding._replace(claims=tuple(self.binding.claims[index] for index in kept), bound=bound)
        agreement = self.weighed.agreement._replace(checks=tuple(check for _, check in pairs))
        return self._replace(binding=binding, weighed=self.weighed._replace(agreement=agreement))

    def verdict(self, decision: Decision, reasons: tuple[str, ...], backend: Backend) -> Verdict:
        onset_utc_ns, end_utc_ns = self._when()
        if decision != "rejected" and onset_utc_ns < self.window.cut.frames[0].stamp.utc_ns:
            reasons = (*reasons, "onset_not_seen")
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
            confidence=self.weighed.confidence,
            rechecks=self.weighed.rechecks,
            onset_utc_ns=onset_utc_ns,
            end_utc_ns=end_utc_ns,
            peak_utc_ns=best.stamp.utc_ns if best else self.window.span.peak_utc_ns,
            view=self.view,
            model=self.model(backend),
            reasoned_utc_ns=time.time_ns(),
        )

    def model(self, backend: Backend) -> ModelRecord:
        return ModelRecord(
            name=backend.name,
            weights_sha256=backend.weights_sha256,
            prompt_sha256=prompt_sha256(self.prompt),
            tokens_in=self.output.tokens_in,
            tokens_out=self.output.tokens_out,
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
            for item, check in zip(self.binding.bound, self.weighed.agreement.checks, strict=True)
        )

    def _when(self) -> tuple[int, int | None]:
        """Onset and end in UTC, of exact frames but for an onset before the first: the answer's span, else the claims'
        times, else the hot part."""
        frames = self.window.cut.frames
        times_s = [self.window.seconds(index) for index in range(len(frames))]
        spans = [(span.start_s, span.end_s) for span in self.parsed.spans]
        spans += [(claim.time_s, claim.time_s) for claim in self.binding.claims] if not spans else []
        indices = [(nearest(times_s, start), nearest(times_s, min(end, times_s[-1]))) for start, end in spans]
        starts = [start for start, _ in indices if start is not None]
        ends = [end for _, end in indices if end is not None]
        onset = frames[min(starts)].stamp.utc_ns if starts else self.window.span.first_hot_utc_ns
        if starts and min(starts) == 0:
            onset = self._before()
        end = frames[max(ends)].stamp.utc_ns if ends else None
        return onset, end if end is not None and end >= onset else None

    def _before(self) -> int:
        """Onset in UTC of what goes on already in the window's first frame: where the scorer has been hot without a
        pause since before that, a little before this heat, at most one window's length earlier."""
        first, last = self.window.cut.frames[0].stamp.utc_ns, self.window.cut.frames[-1].stamp.utc_ns
        since = self.window.span.hot_since_utc_ns
        if since is None or since > first:
            return first
        return max(since - round(HEATING_S * 1e9), first - (last - first))


def _against(check: Check) -> bool:
    return check.status == "contradicted"
