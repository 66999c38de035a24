"""Several answers to one prompt, drawn by the model in this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoner.backends import Output
from reasoner.backends.local import LocalBackend
from reasoner.backends.writing import Writing
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed
from reasoner.prompt import Message, messages
from reasoner.speed import SpeedConfig

Pixels = NDArray[np.uint8]


def load(folder: Path, **speed: Any) -> LocalBackend:
    return LocalBackend.load(
        ReasonerConfig(
            model=str(folder), device="cpu", dtype="float32", threads=1, min_frame_pixels=1024, max_new_tokens=16,
            speed=SpeedConfig(**speed),
        )
    )  # fmt: skip


def asked(seed: int = 0) -> tuple[list[Message], list[Pixels]]:
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(3)]
    return messages("Does somebody fall?", [0.0, 0.5, 1.0]), pictures


def words(outputs: list[Output]) -> list[list[str]]:
    return [[token.text for token in output.tokens] for output in outputs]


@pytest.fixture(scope="module")
def plain(tiny: Path) -> LocalBackend:
    return load(tiny, plain=True)


@pytest.mark.parametrize(
    "speed",
    [
        {},
        {"together": 1, "features_mib": 0, "prefix_mib": 0, "draft_tokens": 0},
        {"together": 3, "prefix_mib": 0, "graphs": True},
    ],
    ids=["as shipped", "one by one", "more than there are rows"],
)
def test_the_loop_draws_what_generate_draws(tiny: Path, plain: LocalBackend, speed: dict[str, Any]) -> None:
    backend, ask = load(tiny, **speed), asked()
    for seed in (1, 2):
        ours, theirs = backend.sample(*ask, 5, 1.0, seed), plain.sample(*ask, 5, 1.0, seed)
        assert words(ours) == words(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one._replace(tokens=()) == other._replace(tokens=())
            for ours_token, their_token in zip(one.tokens, other.tokens, strict=True):
                assert ours_token.logprob == pytest.approx(their_token.logprob, rel=2e-5, abs=2e-5)


def test_answers_differ_by_their_number_and_seed_and_by_nothing_else(tiny: Path) -> None:
    backend, ask = load(tiny), asked()
    greedy = backend.answer(*ask)
    first = backend.sample(*ask, 6, 1.0, 1)
    assert len({output.text for output in first}) == 6
    assert not {output.text for output in first} & {output.text for output in backend.sample(*ask, 6, 1.0, 2)}
    assert words(first)[:2] == words(backend.sample(*ask, 2, 1.0, 1)), "how many are asked for changes none of them"
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(backend.sample, *asked(seed), 3, 1.0, seed) for seed in range(2, 5)]
        again = pool.submit(backend.sample, *ask, 6, 1.0, 1)
        assert words(again.result()) == words(first), "neither does company"
        assert all(len(other.result()) == 3 for other in others)
    assert words([backend.answer(*ask)]) == words([greedy]), "the next answer is greedy again"
    assert words(backend.sample(*ask, 2, 1e-4, 1)) == words([greedy] * 2), "a cold draw is the likeliest"


def test_a_prompt_is_read_once_for_all_of_its_answers(tiny: Path) -> None:
    backend, (prompt, pictures) = load(tiny, features_mib=0, prefix_mib=0, together=8), asked()
    outputs = backend.sample(prompt, pictures, 6, 1.0, 1)
    scheduler = backend.scheduler
    assert scheduler is not None
    assert scheduler.prefixes.computed_tokens == outputs[0].tokens_in
    assert scheduler.features.misses == len(pictures)
    assert scheduler.most_together == 6


@pytest.mark.parametrize("why", ["end", "limit"])
def test_an_answer_may_be_over_with_its_first_token(
    tiny: Path, plain: LocalBackend, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `generate` has it, for one answer and for several that share a prompt."""
    backend, ask = load(tiny), asked()
    first = Writing(backend.prompt(*ask), 1, frozenset())
    assert backend.scheduler is not None
    backend.scheduler.answer(first)
    ends = first.written[:1]
    for each in (backend, plain):
        if why == "limit":
            monkeypatch.setattr(each._settings, "max_new_tokens", 1)
        else:
            monkeypatch.setattr(each._settings, "eos_token_id", ends)
            monkeypatch.setattr(each, "_ends", frozenset(ends))
    ours, theirs = backend.answer(*ask), plain.answer(*ask)
    assert (ours.tokens_out, ours.text, ours.finished) == (1, theirs.text, why == "end")
    assert theirs._replace(tokens=()) == ours._replace(tokens=())
    # Cold, so that the first token of each is the likeliest.
    several, expected = (each.sample(*ask, 3, 1e-4, 1) for each in (backend, plain))
    assert [each._replace(tokens=()) for each in several] == [each._replace(tokens=()) for each in expected]
    assert [each.tokens_out for each in several] == [1, 1, 1]


def test_a_failure_is_raised_and_leaves_nothing_behind(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, ask = load(tiny), asked()
    scheduler = backend.scheduler
    assert scheduler is not None
    expected = words(backend.sample(*ask, 3, 1.0, 1))

    def fails(*args: Any) -> Any:
        raise ModelFailed("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler.decoder.slots, "move", fails)
        with pytest.raises(ModelFailed, match="out of luck"):
            backend.sample(*ask, 3, 1.0, 1)
    assert words(backend.sample(*ask, 3, 1.0, 1)) == expected
