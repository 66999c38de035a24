"""Boxed frames and the contact sheet are pictures with white boxes where the alert points; the clip plays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alerts.alert import Alert
from alerts.errors import PictureUnreadable, UnknownRecord
from alerts.media import boxed_frame, contact_sheet, picture_size
from alerts.store import Store
from tests.alerts import sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        window = sample.window()
        opened.flag(window.span)
        opened.put_window(window)
        opened.raise_alert(window.window_id, sample.alert(window))
        yield opened


@pytest.fixture
def alert(store: Store) -> Alert:
    return store.alerts()[0]


def pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_a_box_is_white_between_black_lines(store: Store, alert: Alert) -> None:
    drawn = pixels(boxed_frame(store, alert, 2, "PNG"))
    x1, _, x2, y2 = (round(v * s) for v, s in zip(alert.evidence[0].boxes[0].box, sample.SIZE * 2, strict=True))
    bottom, middle = y2 - 1, (x1 + x2) // 2
    assert drawn[bottom, middle] == 255
    assert drawn[bottom + 2, middle] == 0
    assert drawn[bottom - 3, middle] == 0
    assert drawn.shape == (sample.SIZE[1], sample.SIZE[0])


def test_only_the_frame_that_is_pointed_at_has_boxes(store: Store, alert: Alert) -> None:
    plain = pixels(store.frame_path(alert.alert_id, 1).read_bytes())
    assert (pixels(boxed_frame(store, alert, 1, "PNG")) == plain).all()
    assert store.frame_path(alert.alert_id, 2).read_bytes() == sample.window().cut.frames[2].jpeg


@pytest.mark.parametrize(("format", "magic"), [("JPEG", b"\xff\xd8"), ("PNG", b"\x89PNG")])
def test_formats(store: Store, alert: Alert, format: Any, magic: bytes) -> None:
    for content in (boxed_frame(store, alert, 2, format), contact_sheet(store, alert, format)):
        assert content.startswith(magic)
        assert min(picture_size(content)) > 50


def test_the_sheet_has_a_tile_for_each_frame(store: Store, alert: Alert) -> None:
    width, height = picture_size(contact_sheet(store, alert))
    assert (width, height) == (2 * 480, 480 * sample.SIZE[1] // sample.SIZE[0] + 26)


def test_what_is_no_picture_is_said(store: Store, alert: Alert) -> None:
    with pytest.raises(UnknownRecord):
        boxed_frame(store, alert, 77)
    store.frame_path(alert.alert_id, 2).write_bytes(b"nothing")
    with pytest.raises(PictureUnreadable):
        boxed_frame(store, alert, 2)


def test_the_clip_plays(store: Store, alert: Alert) -> None:
    import av

    with av.open(str(store.clip_path(alert.alert_id))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
