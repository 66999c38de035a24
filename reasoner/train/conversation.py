"""A row as the conversation to be learnt: the prompt of the serving side, and the text that its parser reads back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reasoner.boxes import WHOLE, Box, Coordinates, to_model, to_view
from reasoner.numerals import read_boxes
from reasoner.polarity import yes_or_no
from reasoner.prompt import Message, Style, messages, sanitise
from reasoner.scanner import TAG
from reasoner.train.questions import language
from reasoner.train.stgr import Cited, StgrRow, as_box, with_boxes

if TYPE_CHECKING:
    from reasoner.train.shown import Shown

_SENTENCE_MARKS = re.compile(r"[.!?。！？\n]+")
_TOLD = {
    "en": ("The {} is seen.", "Nothing of the kind is seen."),
    "zh": ("画面中可见{}。", "画面中没有这种情况。"),
}
"""A row without a reasoning of its own: one sentence for each claim, and that of a no."""


class Conversation(NamedTuple):
    """Prompt and target. The pictures are the `Shown` ones, in order of the prompt's placeholders."""

    prompt: list[Message]
    target: str
    """From `<think>` to `</answer>`."""


def converse(
    row: StgrRow, shown: Shown, coordinates: Coordinates, size: tuple[int, int], style: Style = "full"
) -> Conversation:
    """coordinates: what the model's family writes; size: width and height, px, at which it sees the pictures."""
    prompt = messages(
        row.question,
        shown.times_s,
        language(row.question),
        style=style,
        coordinates=coordinates,
        duration_s=shown.duration_s,
    )
    return Conversation(prompt, target(row, coordinates, shown.view, size))


def target(row: StgrRow, coordinates: Coordinates, view: Box = WHOLE, size: tuple[int, int] = (1, 1)) -> str:
    """The text to be learnt, its boxes in the model's coordinates of the view."""

    def rewritten(content: str) -> str:
        boxes = [as_box(box.numbers, row.convention, row.image_size) for box in read_boxes(content)[0]]
        return _written(boxes, coordinates, view, size)

    thought = row.reasoning_process
    if thought is None:
        lang = language(row.question)
        thought = told(row.cited(), row.answer, lang, coordinates, view, size)
    else:
        thought = with_boxes(_inert(thought), rewritten)
    return f"<think>{thought}</think>\n<answer>{with_boxes(_inert(row.answer_text()), rewritten)}</answer>"


def told(
    cited: Sequence[Cited],
    answer: str,
    lang: str = "en",
    coordinates: Coordinates = "norm01",
    view: Box = WHOLE,
    size: tuple[int, int] = (1, 1),
) -> str:
    """A reasoning made of claims alone: what a site's verdict and a flat row know of theirs."""
    seen, unseen = _TOLD[lang]
    grounded = [
        f"<obj>{plain_name(one.object)}</obj>{boxes}at<t>{time_text(one.time_s)}</t>s"
        for one in cited
        if (boxes := "".join(_boxes(one.boxes, coordinates, view, size)))
    ]
    if grounded:
        return ("" if lang == "zh" else " ").join(seen.format(claim) for claim in grounded)
    return unseen if yes_or_no(answer) is False else ""


def plain_name(name: str) -> str:
    """An object's name as the parser gives it back: one line, no tags, nothing that would end the sentence."""
    return " ".join(_SENTENCE_MARKS.sub(" ", sanitise(name)).split())[:120].strip() or "object"


def time_text(time_s: float) -> str:
    """Seconds with one decimal, or up to three where they are needed."""
    text = f"{time_s:.3f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _boxes(boxes: Sequence[Box], coordinates: Coordinates, view: Box, size: tuple[int, int]) -> Iterator[str]:
    for box in boxes:
        if to_view(box, view) is not None:
            yield f"<box>{_written([box], coordinates, view, size)}</box>"


def _written(boxes: Sequence[Box], coordinates: Coordinates, view: Box, size: tuple[int, int]) -> str:
    """`[x1,y1,x2,y2]`, or a list of them; a box outside of the view is left out."""
    numbers = [found for box in boxes if (found := to_model(box, coordinates, view, size)) is not None]
    decimals = 3 if coordinates == "norm01" else 0
    each = ["[" + ",".join(f"{value:.{decimals}f}" for value in found) + "]" for found in numbers]
    return each[0] if len(each) == 1 else f"[{','.join(each)}]"


def _inert(text: str) -> str:
    """A row's text with its claims, but without control tokens and without the tags that make up the whole."""
    plain = text.replace("<|", "< |").replace("|>", "| >")
    return TAG.sub(lambda tag: "" if tag[2].lower() in ("think", "answer") else tag[0], plain).strip()
