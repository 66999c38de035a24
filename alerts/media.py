"""Pictures to look at: a stored frame with its boxes drawn, and one sheet with all of an alert's evidence.

Drawn on demand from the stored bytes, which stay as they are. Pillow is loaded when the first picture is needed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alerts.alert import Alert
from alerts.claim import PictureBox
from alerts.errors import PictureUnreadable, UnknownRecord
from alerts.store import Store

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageDraw import ImageDraw

Format = Literal["JPEG", "PNG"]
_SHEET_WIDTH_PX = 480
_CAPTION_PX = 26


def picture_size(content: bytes) -> tuple[int, int]:
    """Width and height, px, of a picture that decodes to its end. PictureUnreadable: it does not."""
    with _opened(content) as image:
        return image.size


def boxed_frame(store: Store, alert: Alert, index: int, format: Format = "JPEG") -> bytes:
    """One fine frame of the alert's window with the boxes of every piece of evidence on it, numbered as in `evidence`.

    UnknownRecord: the alert has no such frame; PictureUnreadable: its file is no picture any more.
    """
    content = _read(store.frame_path(alert.alert_id, index), f"frame {index} of alert {alert.alert_id}")
    with _opened(content) as image:
        canvas = image.convert("RGB")
    _draw(canvas, boxes_on(alert, index))
    return _saved(canvas, format)


def counter_frame(store: Store, alert: Alert, index: int) -> bytes:
    """One frame of the window that contradicts the alert, as it is stored: it has no boxes. UnknownRecord;
    PictureUnreadable."""
    content = _read(store.counter_path(alert.alert_id, index), f"counter-evidence {index} of alert {alert.alert_id}")
    picture_size(content)
    return content


def boxes_on(alert: Alert, index: int) -> list[tuple[str, PictureBox]]:
    """Evidence id and box of everything that is pointed at on one frame."""
    pieces = (item for item in alert.evidence if item.frame.index_in_window == index)
    return [(item.id, box) for item in pieces for box in item.boxes]


def contact_sheet(store: Store, alert: Alert, format: Format = "JPEG") -> bytes:
    """Every frame that evidence names, side by side up to three in a row, each with its boxes and its time; then those
    that argue against it."""
    from PIL import Image

    tiles = []
    for index, time in sorted({(item.frame.index_in_window, item.time) for item in alert.evidence}):
        caption = f"{time[11:23]} UTC  {', '.join(key for key, _ in boxes_on(alert, index))}"
        tiles.append(_tile(boxed_frame(store, alert, index, "PNG"), caption))
    for item in alert.counter_evidence:
        content = counter_frame(store, alert, item.frame.index_in_window)
        tiles.append(_tile(content, f"{item.time[11:23]} UTC  {item.id}: against it"))
    columns = min(3, len(tiles))
    tile_height_px = max(tile.height for tile in tiles)
    sheet = Image.new("RGB", (columns * _SHEET_WIDTH_PX, -(-len(tiles) // columns) * tile_height_px), "black")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * _SHEET_WIDTH_PX, number // columns * tile_height_px))
    return _saved(sheet, format)


def _tile(content: bytes, caption: str) -> Image.Image:
    from PIL import Image, ImageDraw

    with _opened(content) as picture:
        height_px = round(picture.height * _SHEET_WIDTH_PX / picture.width)
        tile = Image.new("RGB", (_SHEET_WIDTH_PX, height_px + _CAPTION_PX), "black")
        tile.paste(picture.convert("RGB").resize((_SHEET_WIDTH_PX, height_px)))
    ImageDraw.Draw(tile).text((8, height_px + 5), caption, fill="white", font_size=14)
    return tile


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnknownRecord(f"{what} cannot be read ({error.strerror})") from None


def _opened(content: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise PictureUnreadable("is no picture that can be decoded") from None
    return image


def _draw(canvas: Image.Image, boxes: Sequence[tuple[str, PictureBox]]) -> None:
    """White strokes between black outlines: visible on any ground, by day and by night."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(canvas)
    stroke_px = max(2, round(min(canvas.size) / 240))
    for key, box in boxes:
        x1, y1, x2, y2 = box.box
        corners = (x1 * canvas.width, y1 * canvas.height, x2 * canvas.width, y2 * canvas.height)
        _rectangle(draw, corners, grow_px=stroke_px, width_px=3 * stroke_px, colour="black")
        _rectangle(draw, corners, grow_px=0, width_px=stroke_px, colour="white")
        _tag(canvas, draw, corners, _tag_text(key, box.label))


def _rectangle(
    draw: ImageDraw, corners: tuple[float, float, float, float], *, grow_px: int, width_px: int, colour: str
) -> None:
    x1, y1, x2, y2 = corners
    left, top = round(x1) - grow_px, round(y1) - grow_px
    right, bottom = max(left + 1, round(x2) - 1 + grow_px), max(top + 1, round(y2) - 1 + grow_px)
    draw.rectangle((left, top, right, bottom), outline=colour, width=width_px)


def _tag(canvas: Image.Image, draw: ImageDraw, corners: tuple[float, float, float, float], text: str) -> None:
    """The label above its box, or inside where there is no room above; never outside the picture."""
    size_px = max(11, round(min(canvas.size) / 28))
    left, top, right, bottom = draw.textbbox((0, 0), text, font_size=size_px)
    width, height = right - left + 6, bottom - top + 6
    x = max(0, min(round(corners[0]), round(canvas.width - width)))
    y = round(corners[1] - height) if corners[1] >= height else round(corners[1])
    y = max(0, min(y, round(canvas.height - height)))
    draw.rectangle((x, y, x + width, y + height), fill="black")
    draw.text((x + 3 - left, y + 3 - top), text, fill="white", font_size=size_px)


def _tag_text(key: str, label: str) -> str:
    """Evidence id and label; only the id where the built-in font has no glyphs for the label."""
    return f"{key} {label[:24]}" if label.isascii() else key


def _saved(canvas: Image.Image, format: Format) -> bytes:
    out = io.BytesIO()
    canvas.save(out, format, **({"quality": 90} if format == "JPEG" else {}))
    return out.getvalue()
