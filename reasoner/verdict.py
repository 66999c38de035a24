"""The reasoner's result for a window: answer, claims, evidence, confidence and decision."""

from typing import Literal

import msgspec

from ingest.clock import Stamp
from reasoner.boxes import WHOLE, Box

Decision = Literal["confirmed", "needs_review", "rejected"]
CheckStatus = Literal["supported", "contradicted", "unchecked"]
RecheckKind = Literal["crop", "masked", "samples", "closer", "unlettered"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One grounded statement of the model, already in source coordinates."""

    text: str
    """The sentence it stands in, without tags."""
    object: str
    boxes: tuple[Box, ...]
    time_s: float
    """Seconds from the first fine frame of the window, as the model said it."""
    time_bound: Literal["explicit", "inferred"] = "explicit"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The independent look at one piece of evidence."""

    method: str
    """`change_region` (regions found without the reasoner) or another named method."""
    status: CheckStatus
    score: float


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A claim bound to an exact frame."""

    claim: int
    """Index into the verdict's claims."""
    frame: int
    """Index into the window's fine frames."""
    frame_sha256: str
    stamp: Stamp
    label: str
    box: Box
    check: Check


class Recheck(msgspec.Struct, frozen=True, kw_only=True):
    """The model asked once more about what it cites, without what it said."""

    kind: RecheckKind
    """`crop`: the cited boxes on their own; `masked`: everything but them; `samples`: the same window, answered several
    times with chance in the answers; `closer`: their surroundings at a higher resolution, in more frames; `unlettered`:
    all that did not change blurred, asked where a no stands against a first look that is sure."""
    status: CheckStatus
    score: float
    """0..1. `crop`: how far the crop bears out a yes; `masked`: how much of the yes is gone without the boxes;
    `samples`: the share of yes among the votes, each weighed by its evidence, 0.5 where nobody votes;
    `closer`, `unlettered`: how likely a yes is then."""
    cost_s: float
    tokens: int
    """Read and written for it."""
    outcome: Literal["answered", "unclear", "failed"] = "answered"
    """`unclear`: what came back is no answer; `failed`: the model or server gave nothing. Neither changes a confidence:
    the status is `unchecked` and the score 0.5."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What turned the components into a probability, and how well it does that on labelled data it never saw."""

    id: str
    method: Literal["isotonic", "logistic", "none"]
    ece: float
    n: int
    date: str


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """Calibrated probability that the rule's question is true, with what it was made of (each 0..1)."""

    p: float
    interval: tuple[float, float]
    components: dict[str, float]
    """`coarse`, `vlm_token`, `detector_agreement` (boxes), `temporal_agreement` (times), `evidence_match` (both),
    `consistency` (answer and claims), `frame_order`, `crop_check` (the cited boxes asked about again on their own; the
    token's where nothing is cited); in the grey band also `counterfactual`, `self_consistency` (the share of yes among
    sampled answers that vote) and `second_look`."""
    calibration: Calibration


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which model said it, reproducibly."""

    name: str
    weights_sha256: str
    prompt_sha256: str
    tokens_in: int
    tokens_out: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One window's verdict. `rejected` has no evidence to show; the other decisions have at least one piece."""

    window_id: str
    decision: Decision
    reasons: tuple[str, ...]
    """Of any but a rejected one, `onset_not_seen`: it went on in the first frame already, and its onset is that of the
    first look's scores. Of a confirmed one, `claim_dropped`: a claim that its check contradicts is left out. Why not
    `confirmed`: `answer_no`, `low_confidence`, `evidence_conflict`, `no_evidence`, `outside_zones`,
    `unsure_yes` (a yes below the probability from which the model's own counts), `looks_disagree` (another answer to
    another look), `recheck_failed` (the model or server gave nothing when it was asked once more), or what kept the
    output from being an answer (`reasoner.degenerate.Fault`)."""
    answer: str
    """The model's answer without tags."""
    output: str
    """The model's whole output, as it came."""
    claims: tuple[Claim, ...]
    evidence: tuple[Evidence, ...]
    confidence: Confidence
    rechecks: tuple[Recheck, ...] = ()
    onset_utc_ns: int
    end_utc_ns: int | None
    peak_utc_ns: int
    view: Box = WHOLE
    model: ModelRecord
    reasoned_utc_ns: int
    """Wall clock when the verdict was reached."""
