"""The model card: what the bundled reasoner is, how it was made, what it can and cannot see."""

from __future__ import annotations

from typing import Any

from reasoner.train.album import Album
from reasoner.train.config import SftConfig
from reasoner.train.provenance import Taken, Training
from reasoner.train.vocabulary import SEEN


def card(
    parameters: int,
    album: Album,
    config: SftConfig,
    training: Training,
    figures: dict[str, Any],
    fitted: dict[str, Any] | None,
) -> str:
    """Markdown. `training`: what was done; `figures`: of `evaluate.summary`; `fitted`: of `calibrate`."""
    return "\n".join(
        [
            *_what(parameters, album, training),
            *_how(album, config, training),
            *_figures(figures, fitted),
            *_limits(),
        ]
    )


def _what(parameters: int, album: Album, training: Training) -> list[str]:
    width, height = album.size
    return [
        "# witness-reasoner-tiny",
        "",
        f"A `Qwen3VLForConditionalGeneration` of {parameters / 1e6:.1f} million parameters (bfloat16), trained from "
        f"{_start(training)} by `witness train sft` on this repository's own labelled synthetic scenes. It makes the "
        "demo, the tests and the two-command start real. It is not for production footage.",
        "",
        f"* Answers questions about: {', '.join(f'`{category}`' for category in album.categories)}, in English, to "
        "English and Chinese questions.",
        f"* Sees 5 to {album.pictures.shape[1]} pairs of frames 0.5 s apart, each pair one {width}x{height} picture: "
        "the first frame in RGB, and [its luma, what differs from the camera's background, the same of the second "
        "frame]. `witness.json` says so, and the processor prepares it.",
        "* Writes `<think>The <obj>person</obj><box>[x1,y1,x2,y2]</box>at<t>1.0</t>s ...</think>` and "
        "`<answer>Yes. A person falls from 1.5s to 5.5s.</answer>`; coordinates are multiples of 5 in 0..1000 of the "
        "view. The first word after `<think>` (`The` or `Nothing`) is where it decides.",
        f"* Look-alikes it was shown as a no: {', '.join(f'`{kind}`' for kind in SEEN if kind in album.kinds)}.",
        "",
    ]


def _start(training: Training) -> str:
    if not training.start_from_sha256:
        return "nothing"
    return f"the weights of `{training.start_from}` (sha256 `{training.start_from_sha256}`)"


def _how(album: Album, config: SftConfig, training: Training) -> list[str]:
    timed = [name for name in ("warmup", "sft") if getattr(config, name).steps is None]
    emphasis = ", ".join(f"`{name}` {times:g}" for name, times in training.emphasis.items())
    return [
        "## How it was made",
        "",
        f"By `witness train sft`, from {_start(training)}. {training.rows} rows of synthetic scenes (`clips.jsonl` of "
        f"sha256 `{training.clips_sha256}`), {len(album.val)} rows of other scenes held out. Seed {training.seed}, "
        f"{config.threads} CPU thread(s). Stage `warmup`: dense loss on the vision tower, "
        f"{_took(training.warmup, 'pictures')}. Stage `sft`: text loss ({config.text_share:g} all tokens, "
        f"{1 - config.text_share:g} coordinates and times) with the dense losses as a guide, "
        f"{_took(training.sft, 'windows')}."
        + (f" Drawn oftener than the rest, by these factors: {emphasis}." if emphasis else ""),
        "",
        f"Stage {' and '.join(f'`{name}`' for name in timed)} ended by its minutes: another machine takes other steps "
        "and gives other weights. Set `steps` to repeat a run exactly."
        if timed
        else "Both stages ended after the steps that were set: the same settings, clips and threads repeat them.",
        "",
    ]


def _took(taken: Taken, of: str) -> str:
    return (
        f"{taken.steps} steps of {taken.batch} {of} in {taken.minutes:.3g} minutes, learning rate "
        f"{taken.learning_rate:g}, the weights of step {taken.kept_step} kept"
    )


def _figures(figures: dict[str, Any], fitted: dict[str, Any] | None) -> list[str]:
    lines = [
        "## What it does",
        "",
        f"{figures['rows']} rows of the half of the held-out ones by which no weights were chosen, greedy generation "
        "through the stock transformers class:",
        "",
        "| | accuracy | precision | recall |",
        "|---|---|---|---|",
        _row("all", figures),
        *(_row(category, scores) for category, scores in figures["categories"].items()),
        "",
        f"Boxes of right yes answers: mean IoU {_number(figures['box_iou'])} with the truth at the claimed time, "
        f"{_number(figures['box_iou_half'])} of them at 0.5 or more. Onset: within 1 s in "
        f"{_number(figures['onset_within_1s'])}, median error {_number(figures['onset_error_s'])} s.",
        f"{_number(figures['seconds_per_window'])} s a window on the training machine's CPU, beside other work.",
        "",
    ]
    if fitted is not None:
        lines += [
            f"Confidence, on {fitted['windows']} windows of scenes that neither training nor the calibrator's fit saw, "
            f"through the serving code: right answers {_number(fitted['right'])}, precision "
            f"{_number(fitted['precision'])}, recall {_number(fitted['recall'])}, ECE {_number(fitted['ece'])}. When "
            f"the cited boxes are blanked, it falls in {_number(fitted['fell']['blank'])} of the true alerts, by "
            f"{_number(fitted['median_drop']['blank'])} in the median; when the frames change places, in "
            f"{_number(fitted['fell']['shuffle'])}, by {_number(fitted['median_drop']['shuffle'])}.",
            "",
        ]
    return lines


def _limits() -> list[str]:
    return [
        "## What it cannot do",
        "",
        "* It knows drawn figures, not people. Real footage is out of its world; its confidence says nothing there.",
        "* It knows the categories above and no others; free questions are matched to them by words.",
        "* Figures of a few pixels in the view, and bags that already belong to the background, give it little to see; "
        "neither has been measured on its own.",
        "* Text in the picture is never read.",
        "",
    ]


def _row(name: str, scores: dict[str, Any]) -> str:
    return f"| {name} | {' | '.join(_number(scores[key]) for key in ('accuracy', 'precision', 'recall'))} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
