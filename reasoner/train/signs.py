"""Writing in the scene, and pictures without any: what a model must not be led by, and must do without.

Signs say nothing of what happens, whatever stands on them; and the unlettered look (`reasoner.unlettered`) shows a
window with all that did not change blurred. Both leave the change maps of a motion picture as they are: what is
painted was there before.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import WHOLE, Box
from reasoner.train.row import Thing
from reasoner.unlettered import blurred, kept

SIGN_SHARE = 0.12
"""Share of training rows with a sign in them."""
UNLETTERED_SHARE = 0.08
"""Share of training rows that are shown unlettered."""
OVER_SHARE = 0.3
"""Of the signs, those that stand before everything, as a recorder's caption does; the others hang behind who passes."""
CHINESE_SHARE = 0.3
SEEN_FROM = 0.7
"""A row is unlettered where so much of what acts in it stays to be seen."""
_CHINESE = (0x4E00, 0x9FA6)
_LETTERS = string.ascii_letters + string.digits + ":.,-!<>/|{}%"
_SIZE = 64
"""Height of the letters before they are scaled to the sign, px."""


def with_signs(
    pictures: NDArray[np.uint8], objects: Sequence[Sequence[Thing]], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Motion pictures uint8 (G, 2, H, W, 3) → fresh ones, of some with a sign, of some unlettered; the rest as it is.

    objects: what is in each picture. What acts must stay to be seen, or the pictures are not unlettered: who stands
    still before a camera that knows no background has not changed.
    """
    drawn = random.random()
    if drawn < SIGN_SHARE:
        return signed(pictures, random)
    if drawn < SIGN_SHARE + UNLETTERED_SHARE and seen_share(pictures, objects) >= SEEN_FROM:
        return unlettered(pictures)
    return pictures.copy()


def seen_share(pictures: NDArray[np.uint8], objects: Sequence[Sequence[Thing]]) -> float:
    """Of the boxes of all that act, the mean share that stays as it is in unlettered pictures; 1 where nothing acts."""
    size = pictures.shape[3], pictures.shape[2]
    shares = [
        float(kept(pair[1, ..., 1], WHOLE, size)[y1:y2, x1:x2].mean())
        for pair, things in zip(pictures, objects, strict=True)
        for x1, y1, x2, y2 in (Box(*thing.box).pixels(size) for thing in things if thing.actor)
    ]
    return float(np.mean(shares)) if shares else 1.0


def signed(pictures: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A sign with random letters at one place of all pictures, uint8 (G, 2, H, W, 3)."""
    out = pictures.copy()
    height, width = out.shape[2:4]
    wide = round(width * random.uniform(0.2, 0.9))
    sign = board(random)
    high = min(max(4, round(wide * sign.shape[0] / sign.shape[1])), height // 3)
    sign = np.asarray(cv2.resize(sign, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)
    x, y = int(random.integers(width - wide + 1)), int(random.integers(height - high + 1))
    over = random.random() < OVER_SHARE
    for pair in out:
        before = np.ones((height, width), np.float32) if over else 1 - kept(pair[1, ..., 1], WHOLE, (width, height))
        share = before[y : y + high, x : x + wide, None]
        place = pair[0, y : y + high, x : x + wide]
        place[:] = np.clip(sign * share + place * (1 - share) + 0.5, 0, 255)
        pair[1, ..., 0] = cv2.cvtColor(np.ascontiguousarray(pair[0]), cv2.COLOR_RGB2GRAY)
    return out


def board(random: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): a line of random letters on a ground of another brightness."""
    words = [_word(random) for _ in range(int(random.integers(1, 5)))]
    text, font = " ".join(words), cv2.FontFace("uni")
    _, _, long, _ = cv2.getTextSize((_SIZE, _SIZE), text, (0, 0), font, _SIZE)
    dark, light = (tuple(int(v) for v in random.integers(*around, 3)) for around in ((0, 90), (160, 256)))
    ink, ground = (dark, light) if random.random() < 0.5 else (light, dark)
    picture = np.full((round(1.6 * _SIZE), long + _SIZE, 3), ground, np.uint8)
    cv2.putText(picture, text, (_SIZE // 2, round(1.15 * _SIZE)), ink, font, _SIZE)
    return picture


def _word(random: np.random.Generator) -> str:
    count = int(random.integers(1, 9))
    if random.random() < CHINESE_SHARE:
        return "".join(chr(code) for code in random.integers(*_CHINESE, count))
    return "".join(_LETTERS[at] for at in random.integers(len(_LETTERS), size=count))


def unlettered(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All that did not change blurred, as `reasoner.unlettered` does; uint8 (G, 2, H, W, 3), fresh."""
    out = pictures.copy()
    size = out.shape[3], out.shape[2]
    for pair in out:
        pair[0] = blurred(pair[0], kept(pair[1, ..., 1], WHOLE, size))
        pair[1, ..., 0] = cv2.cvtColor(np.ascontiguousarray(pair[0]), cv2.COLOR_RGB2GRAY)
    return out
