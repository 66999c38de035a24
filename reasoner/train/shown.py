"""What a row shows of its video: frames as the serving side picks and prepares them. Loads PyAV and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoner.boxes import WHOLE, Box, to_view
from reasoner.errors import VideoUnreadable
from reasoner.parse import parse
from reasoner.pictures import Target, look_at
from reasoner.pixels import Pixels
from reasoner.recording import Recording
from reasoner.train.errors import BadRows
from reasoner.train.mistakes import below
from reasoner.train.stgr import StgrRow, as_box

FOLDERS = {
    "gqa": "gqa", "timerft": "timerft", "TVG": "tvg_r1", "videoespresso": "videoespresso/videos",
    "STR_plm": "stgr/plm/videos", "STR": "stgr/temporal_grounding/videos", "videor1": "videor1",
}  # fmt: skip
"""Where the videos of a `source` (by its beginning) lie in the authors' download, below its `videos` folder."""
IMAGE_FOLDERS = ("treevgr", "gqa")
LATE_S = 0.5
"""A cited time may lie so far behind the last frame: annotators read players' clocks."""


class Pick(NamedTuple):
    """Which frames of a video a row shows."""

    step_s: float = 0.5
    """Spacing in a short video, the serving side's own; in a long one the spacing is wider."""
    most: int = 24
    cited: bool = True
    """Show the cited frames: each takes the place of the frame nearest to it, so that there are none too many."""
    jitter: float = 0.5
    """Other frames are moved by up to this share of half the spacing: an odd time must not betray a cited frame."""
    view: bool = False
    """Show the region that changed, as the serving side does, where it holds every cited box."""


class Shown(NamedTuple):
    """Pictures uint8 (H, W, 3) RGB with the seconds of each from the start of the video."""

    pictures: tuple[Pixels, ...]
    times_s: tuple[float, ...]
    duration_s: float
    view: Box
    """Part of the frame that the pictures show."""


def show(row: StgrRow, root: Path, pick: Pick, seed: int) -> Shown:
    """root: the folder of videos. BadRows: no such file below it, no video, or a cited time behind its end."""
    file = locate(row, root)
    if row.video_path is None:
        return Shown((_picture(file, row),), (0.0,), 0.0, WHOLE)
    cited_s, boxes = _cited(row)
    try:
        with Recording(file) as recording:
            last_s = recording.duration_s
            _in_time(row, cited_s, file, last_s)
            wanted = moments(last_s, cited_s if pick.cited else [], pick, np.random.default_rng((seed, row.place)))
            frames = recording.at(wanted)
    except VideoUnreadable as error:
        raise BadRows(f"row {row.place}: {error}") from error
    pictures, view = _viewed(frames.pictures, frames.times_s, pick, boxes)
    return Shown(pictures, tuple(round(t, 3) for t in frames.times_s), last_s, view)


def check(row: StgrRow, root: Path, lengths_s: dict[Path, float | str]) -> None:
    """Whether `show` can show the row, by the file's length and first picture. BadRows as there.

    lengths_s: what is known of files; those that are met here are added, with the reason where one cannot be read.
    """
    file = locate(row, root)
    if row.video_path is None:
        _picture(file, row)
        return
    if file not in lengths_s:
        try:
            with Recording(file) as recording:
                recording.at([0.0])
                lengths_s[file] = recording.duration_s
        except VideoUnreadable as error:
            lengths_s[file] = str(error)
    length_s = lengths_s[file]
    if isinstance(length_s, str):
        raise BadRows(f"row {row.place}: {length_s}")
    _in_time(row, _cited(row)[0], file, length_s)


def _in_time(row: StgrRow, cited_s: Sequence[float], file: Path, last_s: float) -> None:
    if cited_s and cited_s[-1] > last_s + LATE_S:
        raise BadRows(
            f"row {row.place}: cites {cited_s[-1]:g} s, but {file.name} ends at {last_s:.1f} s; "
            "correct the time, or remove the row"
        )


def moments(duration_s: float, cited_s: Sequence[float], pick: Pick, random: np.random.Generator) -> list[float]:
    """Seconds of the frames to show, ascending: an even grid with jitter, the cited times in place of their nearest."""
    count = max(1, min(pick.most, int(duration_s / pick.step_s + 1e-6) + 1))
    spacing = pick.step_s if count < pick.most else max(pick.step_s, duration_s / count)
    grid = np.arange(count) * spacing
    if cited_s and pick.jitter:
        grid = grid + random.uniform(-0.5, 0.5, count) * spacing * pick.jitter
    free = [float(t) for t in np.clip(grid, 0.0, duration_s)]
    taken = []
    for time in cited_s[: pick.most]:
        if free:
            free.remove(min(free, key=lambda t: abs(t - time)))
        taken.append(time)
    return sorted([*free, *taken])


def locate(row: StgrRow, root: Path) -> Path:
    """The row's file: below the folder, or where the authors' download keeps videos of its source. BadRows: neither."""
    name = row.video_path or row.image_path or ""
    homes = [folder for start, folder in FOLDERS.items() if row.source.startswith(start)][:1]
    homes += IMAGE_FOLDERS if row.image_path else ()
    try:
        for home in ("", *homes):
            file = below(root, f"{home}/{name}" if home else name)
            if file.is_file():
                return file
    except BadRows as error:
        raise BadRows(f"row {row.place}: {error}") from None
    where = f" (nor in {', '.join(homes)})" if homes else ""
    raise BadRows(f"row {row.place}: there is no {name} in {root}{where}; add the file, or remove the row")


def _cited(row: StgrRow) -> tuple[list[float], list[Box]]:
    """Every time (ascending) and box that the row speaks of, in its key frames and in its texts."""
    claims = parse(f"<think>{row.reasoning_process or ''}</think><answer>{row.answer}</answer>").claims
    times_s = {frame.time for frame in row.key_frames} | {claim.time_s for claim in claims if claim.time_s is not None}
    boxes = [box for one in row.cited() for box in one.boxes]
    boxes += [as_box(box.numbers, row.convention, row.image_size) for claim in claims for box in claim.boxes]
    return sorted(times_s), boxes


def _viewed(
    frames: NDArray[np.uint8], times_s: Sequence[float], pick: Pick, boxes: Sequence[Box]
) -> tuple[tuple[Pixels, ...], Box]:
    if not pick.view:
        return tuple(frames), WHOLE
    looked = look_at(frames, None, times_s, Target(motion=False, input_size=None, max_pictures=len(frames)))
    if any((inside := to_view(box, looked.view)) is None or _cut(box, inside, looked.view) for box in boxes):
        return tuple(frames), WHOLE
    return looked.pictures, looked.view


def _cut(box: Box, inside: Box, view: Box) -> bool:
    """Whether a view shows less than nearly all of a box; `inside` is in 0..1 of the view."""
    return inside.area * view.area < 0.95 * box.area


def _picture(file: Path, row: StgrRow) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadRows(f"row {row.place}: {file.name} is no picture ({type(error).__name__}); replace it") from None
