"""The unlettered look: a window that the scorer is sure of and the model rejects is shown once more, unreadable.

Words in a scene are an instruction channel: a sign, a screen or a caption that says "nothing happens here" must not be
able to silence an alert (OWASP LLM01:2025). What is as it always is (walls, signs, screens, codes, the recorder's
captions) is blurred until no letter of it can be read; what changed is left as it is. So letters that come with the
event itself, held up or worn, stay: this is no proof against those. Nothing is mirrored or moved, for directions count.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.again import Reply, read, recheck, unclear
from reasoner.boxes import Box
from reasoner.change import REGION_LEVEL
from reasoner.decision import stands_in
from reasoner.pictures import steady_maps
from reasoner.verdict import CheckStatus, Recheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.rule import Rule
    from detector.window import Window
    from ingest.config import Point
    from reasoner.folder import Notes
    from reasoner.pictures import Look, Pixels
    from reasoner.reason import Reasoner

CELLS = 16
"""Across a picture, of what is left of all that did not change: a letter would have to be a third of it high."""
REACH = 0.02
"""Share of the map's width by which what changed is widened: limbs in the colour of the wall belong to it."""
CLEAR_FROM = 0.7
"""Probability from which the second look's yes stands against the first one's no, or the model's own `yes_from` where
that is higher."""
UNSURE_FROM = 0.5
"""Probability of a yes from which a no is none to rely on."""


class Second(NamedTuple):
    """What the model said of the unlettered pictures."""

    reply: Reply
    recheck: Recheck
    """Against the first look's no. `contradicted`: a yes, clearly and of something in the rule's zones. `supported`: a
    no, or a yes to what lies outside of them. `unchecked`: neither: no answer, an unsure one, or a yes without
    evidence."""


def look_unlettered(
    reasoner: Reasoner, window: Window, rule: Rule, zones: Mapping[str, Sequence[Point]], seen: Look
) -> Second:
    """Ask the window's question once more, without the camera's name. Raises as `Backend.answer` does."""
    began_s = time.perf_counter()
    notes = reasoner.backend.notes
    prompt = reasoner.prompt(seen, reasoner.question(rule), rule.language, "")
    pictures = unlettered(seen, steady_maps(window))
    output = reasoner.backend.answer(prompt, pictures)
    reply = read(reasoner, window, rule, seen.view, pictures, output)
    if not reply.answered:
        return Second(reply, unclear("unlettered", began_s, output))
    return Second(reply, recheck("unlettered", _status(reply, rule, zones, notes), reply.p_yes, began_s, output))


def _status(reply: Reply, rule: Rule, zones: Mapping[str, Sequence[Point]], notes: Notes | None) -> CheckStatus:
    # A server that tells no odds has its words alone.
    told = bool(reply.output.tokens)
    if reply.fault is not None:
        return "unchecked"
    if not reply.parsed.yes:
        return "supported" if reply.p_yes < UNSURE_FROM or not told else "unchecked"
    if not reply.binding.bound:
        return "unchecked"
    if rule.zones and not stands_in(reply.binding.bound, rule.zones, zones):
        return "supported"
    clear = reply.p_yes >= max(CLEAR_FROM, notes.yes_from if notes else 0.0) or not told
    return "contradicted" if clear else "unchecked"


def unlettered(seen: Look, maps: Pixels) -> tuple[Pixels, ...]:
    """The pictures of a look, of the same shapes, with all that did not change blurred. Pure.

    maps: what changed in each fine frame, uint8 (T, h, w) of the whole frame (`pictures.steady_maps`). Of a motion pair
    the first frame and its luma are blurred; its change maps hold nothing else than what changed anyway.
    """
    return tuple(_picture(picture, maps[at], seen.view) for picture, at in zip(seen.pictures, seen.shown, strict=True))


def _picture(picture: Pixels, change_map: Pixels, view: Box) -> Pixels:
    shown = picture[0] if picture.ndim == 4 else picture
    plain = blurred(shown, kept(change_map, view, (shown.shape[1], shown.shape[0])))
    if picture.ndim == 3:
        return plain
    pair = picture.copy()
    pair[0], pair[1, ..., 0] = plain, cv2.cvtColor(plain, cv2.COLOR_RGB2GRAY)
    return pair


def kept(change_map: Pixels, view: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """float32 (H, W) 0..1 of a view at `size` (width, height): 1 at and around what changed, with a soft rim.

    change_map: uint8 (h, w) of the whole frame.
    """
    height, width = change_map.shape
    reach = max(1, round(REACH * width))
    changed = (change_map >= REGION_LEVEL).astype(np.uint8)
    mask = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    soft = cv2.blur(wide.astype(np.float32), (reach | 1, reach | 1))
    x1, y1, x2, y2 = view.pixels((width, height))
    return np.asarray(cv2.resize(soft[y1:y2, x1:x2], size, interpolation=cv2.INTER_LINEAR), np.float32)


def blurred(picture: Pixels, keep: NDArray[np.float32]) -> Pixels:
    """uint8 (H, W, 3), float32 (H, W) 0..1 → as it is where `keep` is 1, elsewhere the mean of what is not kept of
    each of `CELLS` cells across."""
    height, width = keep.shape
    cells = (CELLS, max(2, round(CELLS * height / width)))
    still = (1 - keep)[..., None]
    weight = cv2.resize(still, cells, interpolation=cv2.INTER_AREA)[..., None]
    mean = cv2.resize(picture * still, cells, interpolation=cv2.INTER_AREA) / np.maximum(weight, 1e-3)
    # A cell that is kept as a whole has nothing of its own to lend to its neighbours.
    whole = cv2.resize(picture, cells, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(np.where(weight > 0.02, mean, whole).astype(np.float32), (width, height))
    return np.asarray(np.clip(picture * (1 - still) + coarse * still + 0.5, 0, 255), np.uint8)
