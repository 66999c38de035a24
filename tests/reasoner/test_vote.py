"""Votes weighed by evidence, and the numbers by which answers are drawn."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from reasoner.backends.draw import Draw
from reasoner.confidence import combine, with_votes
from reasoner.poll import seed_of
from reasoner.vote import LITTLE, Path, tally

NOBODY = Path(None, 1.0)
PARTS = {
    "coarse": 0.8, "vlm_token": 0.8, "evidence_match": 0.7, "detector_agreement": 0.7, "temporal_agreement": 0.7,
    "consistency": 1.0, "frame_order": 1.0, "crop_check": 0.8,
}  # fmt: skip

VOTES: list[tuple[str, list[Path], float, str]] = [
    ("nobody is there", [], 0.5, "unchecked"),
    ("nobody says anything", [NOBODY] * 8, 0.5, "unchecked"),
    ("all yes", [Path(True, 1.0)] * 8, 1.0, "supported"),
    ("all no", [Path(False, 0.5)] * 8, 0.0, "contradicted"),
    ("as many", [Path(True, 0.3), Path(False, 0.3)], 0.5, "unchecked"),
    ("evidence outweighs", [Path(True, 1.0), Path(False, 0.0), Path(False, 0.0)], 1 / 1.4, "supported"),
    ("yes without evidence", [Path(True, 0.0), Path(True, 0.0), Path(False, 0.5)], 0.4, "contradicted"),
    ("who is silent does not count", [Path(True, 1.0), *[NOBODY] * 7], 1.0, "supported"),
]


@pytest.mark.parametrize(("paths", "share", "status"), [row[1:] for row in VOTES], ids=[row[0] for row in VOTES])
def test_a_vote(paths: list[Path], share: float, status: str) -> None:
    votes = tally(paths)
    assert votes.votes == sum(path.yes is not None for path in paths)
    assert votes.share == pytest.approx(share)
    assert votes.status == status


def test_votes_obey_their_evidence() -> None:
    rng = np.random.default_rng(11)
    before = combine(PARTS, None)
    for _ in range(300):
        kinds = rng.integers(0, 3, int(rng.integers(1, 9)))
        paths = [Path((True, False, None)[kind], float(rng.uniform(0, 1))) for kind in kinds]
        votes = tally(paths)
        assert tally([paths[at] for at in rng.permutation(len(paths))]) == pytest.approx(votes)
        assert LITTLE * votes.votes <= votes.yes + votes.no <= votes.votes + 1e-9
        # Between 1/2 and the share: a few votes are never certain of anything.
        low, high = sorted((0.5, votes.share))
        assert low <= votes.probability <= high and 0 < votes.probability < 1
        weaker = [path._replace(support=path.support / 2) if path.yes else path for path in paths]
        assert tally(weaker).share <= votes.share + 1e-12
        assert tally([*paths, Path(False, 0.5)]).probability < votes.probability
        assert tally([*paths, Path(True, 0.5)]).probability > votes.probability
        after = with_votes(before, votes.share, votes.probability)
        assert (after.p < before.p) == (votes.probability < before.p)
        assert after.interval[0] <= after.p <= after.interval[1]
        assert set(after.components) - set(PARTS) == {"self_consistency"}


def test_more_votes_weigh_more() -> None:
    chances = [tally([Path(True, 1.0)] * count).probability for count in (0, 1, 4, 16)]
    assert chances == sorted(chances) and chances[0] == 0.5 and 0.96 < chances[-1] < 1


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    count = 20_000
    draw = Draw(temperature, 5, 0, count)
    ids, logprobs = [7, 3, 900, 12], [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]
    drawn = Counter(draw.token(logprobs, ids, place) for place in range(count))
    weights = [math.exp(logprob / temperature) for logprob in logprobs]
    for token, weight in zip(ids, weights, strict=True):
        share = weight / sum(weights)
        assert drawn[token] / count == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count) + 1e-9)


def test_a_draw_is_fixed_by_its_seed_and_path_and_by_nothing_else() -> None:
    ids, logprobs = [4, 2, 9], [-1.0, -1.1, -1.2]

    def path(seed: int, number: int, limit: int = 40) -> list[int]:
        draw = Draw(1.0, seed, number, limit)
        return [draw.token(logprobs, ids, place) for place in range(40)]

    assert path(1, 0) == path(1, 0, 300)
    assert len({tuple(path(seed, number)) for seed in range(5) for number in range(5)}) == 25
    # A tie in either order, and the tail that floats leave.
    draw = Draw(1.0, 1, 0, 40)
    for place in range(40):
        assert draw.token([-1.0, -1.0], [5, 6], place) == draw.token([-1.0, -1.0], [6, 5], place)
        assert draw.token([0.0, -math.inf], [5, 6], place) == 5
        assert draw.token([math.nan, math.nan], [5, 6], place) in (5, 6), "what is no number is judged elsewhere"
    assert {Draw(1e-3, seed, 0, 1).token(logprobs, ids, 0) for seed in range(50)} == {4}


def test_a_window_decides_its_seed() -> None:
    seeds = [seed_of(f"{number:032x}") for number in range(200)]
    assert len(set(seeds)) == 200 and all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of("w" * 32) == seed_of("w" * 32)
