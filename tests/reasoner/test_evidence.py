"""Claims to exact frames and source boxes; checks that fall when the evidence is blanked or shifted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoner.boxes import WHOLE, Box
from reasoner.change import activity, change_maps
from reasoner.evidence import Binding, Bound, Frame, bind, nearest
from reasoner.parse import parse
from reasoner.verify import Agreement, verify

VFR = [0.0, 0.48, 1.04, 1.1, 2.9, 3.4]
"""Seconds of frames of a camera with a variable rate and a gap."""


@pytest.mark.parametrize(
    ("claimed", "frame"),
    [
        (0.0, 0),
        (0.5, 1),
        (1.0, 2),
        (1.08, 3),
        (1.9, 3),
        (2.1, 4),
        (3.4, 5),
        (3.6, 5),
        (-0.2, 0),
        (4.0, None),
        (-1, None),
    ],
)
def test_a_time_binds_to_the_nearest_frame(claimed: float, frame: int | None) -> None:
    assert nearest(VFR, claimed) == frame


def test_no_frames_no_binding() -> None:
    assert nearest([], 1.0) is None


def bound(text: str, frame: Frame | None = None) -> Binding:
    return bind(parse(text).claims, VFR, frame or Frame("rel1000", WHOLE, (320, 180)))


CLAIM = "<obj>man</obj><box>[{}]</box>at<t>{}</t>s"


@pytest.mark.parametrize(
    ("numbers", "frame", "expected"),
    [
        ("100,200,300,400", Frame("rel1000", WHOLE, (320, 192)), Box(0.1, 0.2, 0.3, 0.4)),
        ("0,0,1000,500", Frame("rel1000", Box(0.5, 0.5, 1.0, 1.0), (320, 192)), Box(0.5, 0.5, 1.0, 0.75)),
        ("32,48,160,96", Frame("pixels", WHOLE, (320, 192)), Box(0.1, 0.25, 0.5, 0.5)),
        ("0.1,0.2,0.3,0.4", Frame("pixels", WHOLE, (320, 192)), Box(0.1, 0.2, 0.3, 0.4)),
        ("-50,100,200,2000", Frame("rel1000", WHOLE, (320, 192)), Box(0.0, 0.1, 0.2, 1.0)),
    ],
    ids=["relative", "view", "pixels", "fractions", "clamped"],
)
def test_boxes_reach_the_source_frame(numbers: str, frame: Frame, expected: Box) -> None:
    box = bound(CLAIM.format(numbers, 1.0), frame).bound[0].box
    assert [box.x1, box.y1, box.x2, box.y2] == pytest.approx([expected.x1, expected.y1, expected.x2, expected.y2])


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        (CLAIM.format("1,2,300,400", 99.0), 1),
        (CLAIM.format("1,2,300,400", -5.0), 1),
        (CLAIM.format("0,0,1000,1000", 1.0), 1),
        (CLAIM.format("1200,100,1400,300", 1.0), 1),
        ("<obj>man</obj><box>[1,2,300,400]</box> stands.", 1),
        ("<obj>men</obj><box>[1,2,300,400]</box><box>[5,5,90,90]</box>at<t>50</t>s", 2),
    ],
    ids=["late", "early", "whole frame", "outside", "no time", "two boxes"],
)
def test_what_cannot_be_bound_is_a_failure(text: str, failures: int) -> None:
    binding = bound(text)
    assert (binding.bound, binding.failures) == ((), failures)


TIMES = [0.5 * k for k in range(10)]
PLACE = Box(100 / 320, 80 / 180, 124 / 320, 136 / 180)
"""Where the figure stands from 1.0 s on."""


def scene() -> NDArray[np.uint8]:
    """A still background of grey tiles, 320 x 180."""
    tiles = np.random.default_rng(3).integers(60, 160, (9, 16), dtype=np.uint8)
    return np.repeat(np.kron(tiles, np.ones((20, 20), np.uint8))[..., None], 3, axis=2)


def with_figure(still: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    copy = still.copy()
    copy[y : y + 56, x : x + 24] = (250, 240, 20)
    return copy


def footage(blank: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A figure comes at 1.0 s and stays. Blanked: the background shows where it was boxed."""
    still = scene()
    frames = [with_figure(still, 100, 80) if t >= 1.0 and not blank else still for t in TIMES]
    return np.stack(frames), still


def judge(box: Box = PLACE, time_s: float = 2.0, *, blank: bool = False, failures: int = 0) -> Agreement:
    frames, still = footage(blank)
    item = Bound(0, TIMES.index(time_s), "person", box)
    return verify([item], failures, change_maps(frames, still), activity(frames), TIMES)


def test_a_true_box_is_supported() -> None:
    agreement = judge()
    assert agreement.checks[0].status == "supported"
    assert agreement.boxes > 0.9
    assert agreement.times > 0.9


@pytest.mark.parametrize(
    "box",
    [Box(0.6, 0.1, 0.7, 0.4), Box(0.0, 0.0, 0.9, 0.9), Box(0.0, 0.9, 0.1, 1.0)],
    ids=["elsewhere", "nearly everything", "corner"],
)
def test_a_wrong_box_is_contradicted(box: Box) -> None:
    agreement = judge(box)
    assert agreement.checks[0].status == "contradicted"
    assert agreement.boxes < judge().boxes - 0.5


def test_agreement_falls_as_a_box_is_shifted() -> None:
    scores = [judge(Box(PLACE.x1 + d, PLACE.y1, PLACE.x2 + d, PLACE.y2)).boxes for d in (0.0, 0.03, 0.06, 0.12)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.8


def test_blanked_evidence_loses_its_support() -> None:
    """With the figure painted over there is no signal left: nothing is supported any more."""
    kept, blanked = judge(), judge(blank=True)
    assert not blanked.seen
    assert blanked.checks[0].status == "unchecked"
    assert blanked.boxes <= 0.5 < kept.boxes
    assert blanked.times <= 0.5 < kept.times


def test_a_box_blanked_among_other_change_is_contradicted() -> None:
    still = scene()
    frames = np.stack([with_figure(still, 250, 20) for _ in TIMES])
    agreement = verify([Bound(0, 4, "person", PLACE)], 0, change_maps(frames, still), activity(frames), TIMES)
    assert agreement.checks[0].status == "contradicted"
    assert agreement.boxes == 0.0


def test_a_time_at_which_nothing_is_there_scores_low() -> None:
    assert judge(time_s=0.0).times < 0.1
    assert judge(time_s=4.0).times > 0.9


def test_failed_claims_pull_both_agreements_down() -> None:
    assert judge(failures=1).boxes == pytest.approx(judge().boxes / 2)
    assert judge(failures=1).times == pytest.approx(judge().times / 2)
