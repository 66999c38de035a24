"""The model card: what the bundled reasoner is, how it was made, what it can and cannot see."""

from __future__ import annotations

from typing import Any

from reasoner.train.album import Album
from reasoner.train.config import SftConfig
from reasoner.train.vocabulary import SEEN


def card(
    parameters: int,
    album: Album,
    config: SftConfig,
    steps: dict[str, int],
    figures: dict[str, Any],
    fitted: dict[str, Any] | None,
) -> str:
    """Markdown. `steps`: steps that each stage took; `figures`: of `evaluate.summary`; `fitted`: of `calibrate`."""
    return "\n".join(
        [
            *_what(parameters, album),
            *_how(album, config, steps),
            *_figures(figures, fitted),
            *_limits(),
        ]
    )


def _what(parameters: int, album: Album) -> list[str]:
    width, height = album.size
    return [
        "# witness-reasoner-tiny",
        "",
        f"A `Qwen3VLForConditionalGeneration` of {parameters / 1e6:.1f} million parameters (bfloat16), trained from "
        "nothing by `witness train sft` on this repository's own labelled synthetic scenes. It makes the demo, the "
        "tests and the two-command start real. It is not for production footage.",
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


def _how(album: Album, config: SftConfig, steps: dict[str, int]) -> list[str]:
    return [
        "## How it was made",
        "",
        "```",
        "witness train sft deploy/examples/train-sft.toml --out runs/sft",
        "```",
        "",
        f"{len(album.train)} rows of synthetic scenes (seeds from {config.render.first_seed}), {len(album.val)} rows "
        f"of other scenes held out. Seed {config.seed}, {config.threads} CPU thread(s). Stage `warmup`: dense loss on "
        f"the vision tower, {config.warmup.minutes:g} minutes, {steps.get('warmup', 0)} steps of {config.warmup.batch} "
        f"pictures. Stage `sft`: text loss ({config.text_share:g} all tokens, {1 - config.text_share:g} coordinates "
        f"and times) with the dense losses as a guide, {config.sft.minutes:g} minutes, {steps.get('sft', 0)} steps of "
        f"{config.sft.batch} windows. A budget of minutes gives other weights on another machine; set `steps` to "
        "repeat a run exactly.",
        "",
    ]


def _figures(figures: dict[str, Any], fitted: dict[str, Any] | None) -> list[str]:
    lines = [
        "## What it does",
        "",
        f"{figures['rows']} held-out rows, greedy generation through the stock transformers class:",
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
