"""Each switch of `[reasoner.speed]` against plain `generate`: the same tokens, log-probabilities within a tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reasoner.backends import Output, graphs
from reasoner.backends.draft import Drafts
from reasoner.backends.early import Early
from reasoner.backends.local import LocalBackend
from reasoner.backends.writing import Writing
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed
from reasoner.prompt import Message, messages, relevance
from reasoner.speed import SpeedConfig
from reasoner.trace import TOP, Token

Pixels = NDArray[np.uint8]
Ask = tuple[list[Message], list[Pixels]]
MODELS = ("bundled", "tiny", "tiny_pixels")

OFF = SpeedConfig(
    features_mib=0,
    prefix_mib=0,
    together=1,
    prefill_tokens=0,
    graphs=False,
    draft_tokens=0,
    patch_product=False,
    device_patches=False,
)
SWITCHES: dict[str, tuple[dict[str, Any], float]] = {
    "loop": ({}, 0.0),
    "features": ({"features_mib": 64}, 0.0),
    "prefix": ({"prefix_mib": 64}, 1e-5),
    "chunks": ({"prefill_tokens": 37}, 1e-5),
    "fixed shapes": ({"graphs": True}, 1e-5),
    "drafts": ({"draft_tokens": 12}, 1e-5),
    "patch product": ({"patch_product": True}, 1e-5),
    "device patches": ({"device_patches": True}, 0.0),
    "together": ({"together": 4}, 1e-5),
    "all": ({"features_mib": 64, "prefix_mib": 64, "together": 4, "prefill_tokens": 101, "graphs": True,
             "draft_tokens": 12, "patch_product": True, "device_patches": True}, 2e-5),
}  # fmt: skip
"""Settings, and the largest difference of a log-probability; 0 is bit for bit."""
ROWS = (6, 15, 16, 24, 60, 64)
"""Rows that one picture of the tests has in a product of the tower, before and after its patches are merged."""


class Line(NamedTuple):
    """One model, loaded as `generate` runs it and again for each switch."""

    name: str
    config: ReasonerConfig
    asks: list[Ask]
    plain: list[Output]

    def load(self, **switches: Any) -> LocalBackend:
        speed = msgspec.structs.replace(OFF, **switches)
        return LocalBackend.load(msgspec.structs.replace(self.config, speed=speed))


def cameras(name: str) -> list[Ask]:
    """Interleaved windows of three cameras: each grows by pictures, sizes and lengths differ between cameras, and one
    is asked twice about the same frames."""
    motion = name == "bundled"
    style: Any = "brief" if motion else "full"
    shapes = [(2, 96, 160, 3)] * 3 if motion else [(64, 96, 3), (96, 64, 3), (128, 128, 3)]
    asks: list[Ask] = []
    for count in (1, 2) if motion else (2, 3, 5):
        for camera, shape in enumerate(shapes):
            rng = np.random.default_rng(camera)
            pictures = [rng.integers(0, 256, shape, np.uint8) for _ in range(count + camera % 2)]
            times = [0.5 * k for k in range(len(pictures))]
            asks.append((messages("Does somebody fall to the ground?", times, style=style), pictures))
    pictures = asks[-1][1]
    asks.append((messages("Is somebody running?", [0.5 * k for k in range(len(pictures))], style=style), pictures))
    return asks


@pytest.fixture(scope="module", params=MODELS)
def line(request: pytest.FixtureRequest) -> Line:
    folder = "bundled" if request.param == "bundled" else str(request.getfixturevalue(request.param))
    config = ReasonerConfig(
        model=folder, device="cpu", dtype="float32", threads=1, min_frame_pixels=1024, max_new_tokens=16,
        speed=SpeedConfig(plain=True),
    )  # fmt: skip
    asks = cameras(request.param)
    plain = LocalBackend.load(config)
    return Line(request.param, config, asks, [plain.answer(*ask) for ask in asks])


def assert_same(outputs: Sequence[Output], plain: Sequence[Output], tolerance: float) -> None:
    for made, expected in zip(outputs, plain, strict=True):
        assert [token.text for token in made.tokens] == [token.text for token in expected.tokens]
        assert made._replace(tokens=()) == expected._replace(tokens=())
        if not tolerance:
            assert made.tokens == expected.tokens
        for one, other in zip(made.tokens, expected.tokens, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=tolerance)
            # The order within a tie may differ, the odds may not.
            ours, theirs = ([p for _, p in token.top] for token in (one, other))
            assert ours == pytest.approx(theirs, abs=10 * tolerance)


def alone_as_among_others(model: Any) -> bool:
    """Whether a product of the tower gives a few rows, bit for bit, what it gives them among many: some processors are
    served by another kernel where a matrix is small."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.model.visual.modules():
        if isinstance(layer, torch.nn.Linear):
            rows = torch.randn(8 * max(ROWS), layer.in_features, generator=generator)
            whole = layer(rows)
            if not all(torch.equal(layer(rows[:count]), whole[:count]) for count in ROWS):
                return False
    return True


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_nothing(line: Line, switch: str) -> None:
    """Twice, so that what was kept is used, and then from several threads at once."""
    settings, tolerance = SWITCHES[switch]
    backend = line.load(**settings)
    if switch == "features" and not alone_as_among_others(backend.model):
        # What is kept is used as it is, but a new picture goes through the tower with fewer others than in plain.
        tolerance = 1e-5
    assert_same([backend.answer(*ask) for ask in line.asks], line.plain, tolerance)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda ask: backend.answer(*ask), line.asks[::-1]))
    assert_same(together, line.plain[::-1], tolerance)
    # Nothing of a window stays on the model, where the next camera would find it.
    assert backend.model.model.rope_deltas is None


def test_the_switches_do_what_they_say(line: Line) -> None:
    """Counts: a switch that never acts would pass the test above."""
    backend = line.load(**SWITCHES["all"][0] | {"together": 3})
    scheduler = backend.scheduler
    assert scheduler is not None
    for ask in line.asks:
        backend.answer(*ask)
    distinct = len({picture.tobytes() for _, pictures in line.asks for picture in pictures})
    shown = sum(len(pictures) for _, pictures in line.asks)
    assert (scheduler.features.misses, scheduler.features.hits) == (distinct, shown - distinct)
    prompts = sum(output.tokens_in for output in line.plain)
    prefixes = scheduler.prefixes
    assert prefixes.reused_tokens + prefixes.computed_tokens == prompts
    assert prefixes.reused_tokens > 0.2 * prompts
    assert scheduler.drafts.accepted > 0
    start = Barrier(len(line.asks))

    def at_once(ask: Ask) -> Output:
        start.wait()
        return backend.answer(*ask)

    with ThreadPoolExecutor(len(line.asks)) as pool:
        list(pool.map(at_once, line.asks))
    assert scheduler.most_together == 3


def test_a_picture_is_known_again_whatever_it_is_shown_with(line: Line) -> None:
    """Its key is that of its content, cut or not: the same in every prompt, another for each other picture."""
    for cut_there in (False, True):
        backend = line.load(device_patches=cut_there)
        pictures = {picture.tobytes(): picture for _, shown in line.asks for picture in shown}
        keys: dict[bytes, bytes] = {}
        for ask in line.asks:
            for picture, shown in zip(ask[1], backend.prompt(*ask).pictures, strict=True):
                assert shown.cut is not cut_there
                assert keys.setdefault(picture.tobytes(), shown.digest) == shown.digest
        assert len(set(keys.values())) == len(pictures)


def test_answers_are_the_same_after_stale_state_on_the_model(line: Line) -> None:
    """`generate` leaves the deltas of its last caller on the model; whoever wrote them, nothing reads them."""
    backend = line.load()
    backend.model.model.rope_deltas = torch.tensor([[12345]])
    assert_same([backend.answer(*line.asks[0])], line.plain[:1], 0.0)


def test_what_is_kept_is_bounded(line: Line) -> None:
    backend = line.load(features_mib=64, prefix_mib=64)
    scheduler = backend.scheduler
    assert scheduler is not None
    backend.answer(*line.asks[0])
    features, prefixes = scheduler.features, scheduler.prefixes
    features._limit, prefixes._limit = 2 * features.bytes, 2 * prefixes.bytes
    for ask in line.asks:
        backend.answer(*ask)
        assert 0 < features.bytes <= features._limit and prefixes.bytes <= prefixes._limit
    assert features.evicted and features.bytes == sum(each.bytes for each in features._kept.values())
    assert prefixes.bytes == sum(each.bytes for each in prefixes._kept.values())


def test_one_caller_s_failure_is_its_own(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = line.load(together=4)
    scheduler = backend.scheduler
    assert scheduler is not None
    prefill, calls = scheduler.decoder.prefill, iter(range(100))

    def fails_second(*args: Any) -> torch.Tensor:
        if next(calls) == 1:
            raise ModelFailed("out of something")
        return prefill(*args)

    monkeypatch.setattr(scheduler.decoder, "prefill", fails_second)

    def answer(ask: Ask) -> Output | ModelFailed:
        try:
            return backend.answer(*ask)
        except ModelFailed as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(answer, line.asks))
    failed = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, ModelFailed)]
    assert len(failed) == 1
    sound = [index for index in range(len(outcomes)) if index not in failed]
    assert_same([outcomes[i] for i in sound], [line.plain[i] for i in sound], 1e-5)  # type: ignore[misc]


def test_a_failing_pass_ends_its_windows_and_no_others(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = line.load(together=2)
    scheduler = backend.scheduler
    assert scheduler is not None

    def fails(*args: Any) -> torch.Tensor:
        raise RuntimeError("a kernel failed")

    with monkeypatch.context() as broken:
        broken.setattr(scheduler.decoder, "together", fails)
        with pytest.raises(RuntimeError, match="a kernel failed"):
            backend.answer(*line.asks[0])
    assert_same([backend.answer(*line.asks[1])], [line.plain[1]], 0.0)


def writing(backend: LocalBackend, ask: Ask) -> Writing:
    return Writing(backend.prompt(*ask), 16, backend._ends)


def test_numbers_that_are_none_end_one_of_four(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its row and its logits; being the longest, it leaves its row to one that masks the rest of it."""
    backend = line.load(together=4, prefix_mib=64)
    scheduler = backend.scheduler
    assert scheduler is not None
    by_length = sorted(range(len(line.asks)), key=lambda index: line.plain[index].tokens_in)
    chosen = [by_length[0], by_length[-1], by_length[1], by_length[2]]
    prefill, calls = scheduler.decoder.prefill, iter(range(100))

    def damages_second(prompt: Any, features: Any, row: int, filled: int) -> torch.Tensor:
        logits = prefill(prompt, features, row, filled)
        if next(calls) == 1:
            for buffer in (*scheduler.decoder.slots.keys, *scheduler.decoder.slots.values):
                buffer[row, :, : prompt.length] = float("nan")
            return logits * float("nan")
        return logits

    writings = [writing(backend, line.asks[index]) for index in chosen]
    with monkeypatch.context() as patch:
        patch.setattr(scheduler.decoder, "prefill", damages_second)
        with pytest.raises(ModelFailed, match="no numbers"):
            scheduler.answer(*writings)
    assert [each.error is None for each in writings] == [True, False, True, True]
    sound = [at for at in range(4) if at != 1]
    assert_same([backend._output(writings[at]) for at in sound], [line.plain[chosen[at]] for at in sound], 1e-5)
    assert_same([backend.answer(*line.asks[index]) for index in chosen], [line.plain[i] for i in chosen], 1e-5)


@pytest.mark.parametrize("fixed", [False, True], ids=["any shape", "fixed shapes"])
def test_no_memory_for_more_ends_what_is_in_work(line: Line, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a layer, while one window has a row already: both fail in one line, and the next one works."""
    backend = line.load(together=4, prefix_mib=64, graphs=fixed)
    scheduler = backend.scheduler
    assert scheduler is not None
    slots = scheduler.decoder.slots
    assert_same([backend.answer(*line.asks[0])], line.plain[:1], 1e-5)
    empty, left, grown = slots._empty, iter(range(3)), slots.grown

    def runs_out(rows: int, positions: int) -> torch.Tensor:
        if next(left, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return empty(rows, positions)

    writings = [writing(backend, ask) for ask in line.asks[:2]]
    with monkeypatch.context() as patch:
        patch.setattr(slots, "_empty", runs_out)
        with pytest.raises(ModelFailed, match=r"keys of 2 windows at \d+ tokens .*; lower max_frames"):
            scheduler.answer(*writings)
    assert all(isinstance(each.error, ModelFailed) for each in writings)
    assert (slots.rows, slots.positions, slots.bytes, scheduler.prefixes.bytes) == (0, 0, 0, 0)
    assert slots.grown > grown, "graphs of the old buffers are stale"
    again = [writing(backend, ask) for ask in line.asks[:2]]
    scheduler.answer(*again)
    assert_same([backend._output(each) for each in again], line.plain[:2], 1e-5)
    assert len({buffer.shape for buffer in (*slots.keys, *slots.values)}) == 1


def test_fixed_shapes_that_are_kept_are_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones used last are kept."""
    monkeypatch.setattr(graphs, "POSITIONS", 2)
    monkeypatch.setattr(graphs, "KEPT", 2)
    backend = line.load(graphs=True)
    assert backend.scheduler is not None and backend.scheduler.graphs is not None
    kept = backend.scheduler.graphs
    assert_same([backend.answer(*line.asks[0])], line.plain[:1], 1e-5)
    first, count = line.plain[0].tokens_in + 1, line.plain[0].tokens_out - 1
    shapes = sorted({(1, -(-at // 2) * 2) for at in range(first, first + count)})
    assert list(kept._steps) == shapes[-2:] != shapes


def test_damaged_weights_are_one_line(line: Line) -> None:
    backend = line.load()
    with torch.no_grad():
        backend.model.lm_head.weight[:] = float("nan")
    with pytest.raises(ModelFailed, match="no numbers"):
        backend.answer(*line.asks[0])


# Early exit


@pytest.fixture
def early(line: Line) -> LocalBackend:
    return LocalBackend.load(msgspec.structs.replace(line.config, speed=OFF, early_exit=True, early_exit_below=1.0))


def test_a_sure_no_ends_at_its_first_word(line: Line, early: LocalBackend) -> None:
    for ask, plain in zip(line.asks, line.plain, strict=True):
        made = early.answer(*ask)
        if line.name == "bundled":
            # The first thought decides, and it is the plain one.
            if plain.text.startswith("<think>Nothing"):
                assert made.text == "<think>Nothing</think><answer>No</answer>" and made.finished
                assert [token.text for token in made.tokens[:2]] == ["<think>", "Nothing"]
                assert made.tokens[:2] == plain.tokens[:2]
            else:
                assert made == plain
            continue
        # A random model says neither word first: it writes on from the same keys, as if nothing had been asked.
        assert made == plain


def test_the_forced_word_is_read_where_the_model_would_write_it(
    line: Line, early: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The odds after `<answer>` equal those of a prompt that ends in it, and the bound alone decides on them."""
    rule = early._early
    if rule is None or not rule.forced:
        pytest.skip("decides with its first thought")
    messages_, pictures = line.asks[0]
    inputs = early.processor.encode(messages_, pictures)
    forced = torch.tensor([rule.forced])
    longer = {
        "input_ids": torch.cat([inputs["input_ids"], forced], 1),
        "attention_mask": torch.ones(1, inputs["input_ids"].shape[1] + forced.shape[1], dtype=torch.int64),
        "mm_token_type_ids": torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(forced)], 1),
    }
    plain = LocalBackend.load(line.config)
    with torch.inference_mode():
        logprobs = torch.log_softmax(plain.model(**{**inputs, **longer}).logits[0, -1], -1)
    seen: list[Sequence[Token]] = []

    def spy(self: Early, tokens: Sequence[Token]) -> None:
        seen.append(tokens)

    monkeypatch.setattr(Early, "no_after", spy)
    early.answer(messages_, pictures)
    (tokens,) = seen
    assert "".join(token.text for token in tokens[:-1]) == "<answer>"
    assert [p for _, p in tokens[-1].top] == pytest.approx(logprobs.topk(TOP).values.tolist(), abs=1e-5)


def test_only_a_verdict_may_end_early(line: Line, early: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digit is asked for: a no put into the model's mouth would be no answer to that."""
    rule = early._early
    if rule is None or not rule.forced:
        pytest.skip("is asked nothing else")
    monkeypatch.setattr(Early, "no_after", lambda self, tokens: ("<answer>No</answer>", tuple(tokens)))
    assert early.answer(*line.asks[0]).text == "<answer>No</answer>"
    crop = line.asks[0][1][:1]
    question = relevance("Does somebody fall to the ground?", ["a person"])
    assert_same([early.answer(question, crop)], [line.load().answer(question, crop)], 0.0)


def test_odds_that_are_no_number_are_no_sure_no() -> None:
    nan = float("nan")
    token = Token("No", nan, (("No", nan), ("Yes", nan)))
    assert Early(0.05, None, (1,)).no_after((Token("<answer>", 0.0, ()), token)) is None


WORDS = [("No", 0.99, 0.05, True), ("No", 0.96, 0.03, False), ("Yes", 0.99, 0.05, False), ("The", 0.99, 0.05, False)]


@pytest.mark.parametrize(("word", "p", "below", "ends"), WORDS)
def test_the_bound_decides(word: str, p: float, below: float, ends: bool) -> None:
    other = "Yes" if word == "No" else "No"
    token = Token(word, math.log(p), ((word, math.log(p)), (other, math.log(1 - p))))
    tokens = (Token("<answer>", 0.0, (("<answer>", 0.0),)), token)
    found = Early(below, None, (1,)).no_after(tokens)
    assert found == (("<answer>No</answer>", tokens) if ends else None)


def test_a_drafter_guesses_words_and_no_numbers() -> None:
    """1 to 9 are words, from 100 on are numbers."""
    drafts = Drafts(4, range(100, 200))
    drafts.learn([1, 2, 101, 3, 102, 4, 5, 6, 7, 8])
    assert drafts.after([1, 2], 9) == ()
    assert drafts.after([1, 2, 150], 9) == (3,)
    assert drafts.after([1, 2, 150, 3, 160], 9) == (4, 5, 6, 7)
    assert drafts.after([1, 2, 150, 3, 160], 2) == (4, 5)
    assert drafts.after([9, 9, 5], 9) == (6, 7, 8)
    assert drafts.after([5], 0) == () and Drafts(0).after([5], 9) == ()
