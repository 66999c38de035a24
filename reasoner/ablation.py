"""What becomes of a verdict's confidence when what it cites is taken away.

The claims stay as they are and are checked again by the serving code before other pixels, and the model is asked again
about those: how sure it is then counts, what it would claim then does not. The calibrator is fitted on such cases, and
the accuracy benchmark publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from reasoner.boxes import Box
from reasoner.evidence import Binding, Bound, Frame, bind
from reasoner.parse import Parsed, parse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detector.rule import Rule
    from detector.window import Window
    from ingest.frame import Cut
    from reasoner.backends import Output
    from reasoner.pictures import Look
    from reasoner.reason import Reasoner
    from reasoner.verdict import Confidence

JPEG_QUALITY = 90
"""As ingest writes fine frames."""


class Heard(NamedTuple):
    """A window as the model was shown it, and what it said."""

    window: Window
    rule: Rule
    seen: Look
    output: Output
    parsed: Parsed
    binding: Binding


def hear(reasoner: Reasoner, window: Window, rule: Rule, place: str) -> Heard:
    """Ask about a window, up to the bound claims; as `Reasoner.reason` does. `place`: the camera's name."""
    from reasoner.pictures import look

    seen = look(window, reasoner.target())
    prompt = reasoner.prompt(seen, reasoner.question(rule), rule.language, place)
    output = reasoner.backend.answer(prompt, seen.pictures)
    times_s = [window.seconds(index) for index in range(len(window.cut.frames))]
    parsed = parse(output.text, times_s[-1])
    return Heard(window, rule, seen, output, parsed, bind(parsed.claims, times_s, frame_of(reasoner, seen)))


def frame_of(reasoner: Reasoner, seen: Look) -> Frame:
    """The coordinate frame of what the model was shown."""
    return Frame(reasoner.backend.coordinates, seen.view, reasoner.backend.fitted(*seen.size))


def confidence(reasoner: Reasoner, claims: Heard, pixels: Heard) -> Confidence:
    """In the claims of one hearing before the pixels of another."""
    return reasoner.weigh(
        pixels.window, pixels.rule, pixels.seen, pixels.output, claims.parsed, claims.binding
    ).confidence


def held_against(reasoner: Reasoner, heard: Heard, then: Window) -> Heard:
    """The model's words as they are, its claims bound to the frames of another time that lie as far apart."""
    from reasoner.pictures import look

    times_s = [then.seconds(index) for index in range(len(then.cut.frames))]
    binding = bind(heard.parsed.claims, times_s, frame_of(reasoner, heard.seen))
    return heard._replace(window=then, seen=look(then, reasoner.target()), binding=binding)


def blanked(window: Window, bound: Sequence[Bound]) -> Window:
    """With every cited box filled, in its frame, as the camera usually shows it there: its background, else the
    frames' median."""
    places: dict[int, list[Box]] = {}
    for item in bound:
        places.setdefault(item.frame, []).append(item.box)
    return _filled(window, places)


def masked(window: Window, bound: Sequence[Bound]) -> Window:
    """With the region around all cited boxes filled so in every frame: what is cited is nowhere to be seen there."""
    boxes = [item.box for item in bound]
    region = Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
    )
    return _filled(window, {index: [region] for index in range(len(window.cut.frames))})


def _filled(window: Window, places: Mapping[int, Sequence[Box]]) -> Window:
    import cv2
    import numpy as np

    from reasoner.pictures import decode

    pictures = [decode(frame.jpeg, "a fine frame") for frame in window.cut.frames]
    still = decode(window.background, "a background") if window.background else np.median(pictures, axis=0)
    frames = list(window.cut.frames)
    for index, boxes in places.items():
        picture = pictures[index].copy()
        height, width = picture.shape[:2]
        fill = cv2.resize(np.asarray(still, np.uint8), (width, height), interpolation=cv2.INTER_AREA)
        for box in boxes:
            x1, y1, x2, y2 = box.pixels((width, height))
            picture[y1:y2, x1:x2] = fill[y1:y2, x1:x2]
        frames[index] = msgspec.structs.replace(frames[index], jpeg=_jpeg(picture))
    return _with(window, msgspec.structs.replace(window.cut, frames=tuple(frames)))


def shuffled(window: Window, rng: np.random.Generator) -> Window:
    """Pictures in another order at the same times; none stays where it was."""
    frames = window.cut.frames
    order = derangement(len(frames), rng)
    moved = tuple(msgspec.structs.replace(own, jpeg=frames[i].jpeg) for own, i in zip(frames, order, strict=True))
    return _with(window, msgspec.structs.replace(window.cut, frames=moved))


def derangement(count: int, rng: np.random.Generator) -> list[int]:
    """A permutation of 0 .. count-1 without a fixed point; of fewer than two numbers there is none to be had."""
    while True:
        order: list[int] = rng.permutation(count).tolist()
        if count < 2 or all(place != number for place, number in enumerate(order)):
            return order


def _with(window: Window, cut: Cut) -> Window:
    return msgspec.structs.replace(window, cut=cut)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} could not be encoded")
    return bytes(data)
