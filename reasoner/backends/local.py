"""The model in this process, always through the real transformers classes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reasoner.backends import Output
from reasoner.backends.completion import wants_evidence
from reasoner.backends.decode import is_served
from reasoner.backends.draw import Draw
from reasoner.backends.early import ANSWER, Early
from reasoner.backends.engine import build
from reasoner.backends.median import Median
from reasoner.backends.prompted import Prompted, prompted
from reasoner.backends.writing import Writing, likeliest, traced
from reasoner.checkpoint import load_model, locate
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed
from reasoner.folder import ModelFolder, Notes, open_folder
from reasoner.processor import Processor
from reasoner.prompt import Message

if TYPE_CHECKING:
    import torch

    from reasoner.backends.scheduler import Scheduler
    from reasoner.pixels import Pixels

LAST_TIME_S = 19.9


class LocalBackend:
    """A checkpoint and its processor. Callers in several threads share the model's passes."""

    def __init__(self, model: Any, processor: Processor, folder: ModelFolder, config: ReasonerConfig) -> None:
        self.name = folder.name
        self.weights_sha256 = folder.weights_sha256()
        self.coordinates = folder.coordinates
        self.notes = folder.notes
        self.processor = processor
        self.model = model
        own = folder.notes.max_new_tokens if folder.notes else config.max_new_tokens
        self._settings = _greedy(model, processor, min(config.max_new_tokens, own))
        # generate fills what a passed configuration leaves open from the model's own; nothing of that may leak in.
        model.generation_config = self._settings
        self._reading = reading(processor, folder.notes)
        self._ends = frozenset(_as_list(self._settings.eos_token_id))
        self._early = _early(processor, folder.notes, config.early_exit_below) if config.early_exit else None
        fast = is_served(model) and not config.speed.plain
        self.scheduler = build(model, processor, self._reading, config.speed) if fast else None
        chosen = config.speed.on("cpu" if model.device.type == "cpu" else "gpu")
        self._cut = not (fast and chosen.device_patches)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, config: ReasonerConfig) -> LocalBackend:
        """Raises ModelIncomplete, ModelUnsupported or ModelFailed, each in one line."""
        folder = open_folder(locate(config.model))
        processor = Processor.load(folder, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels)
        return cls(load_model(folder, config), processor, folder, config)

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        (output,) = self._answers(messages, pictures, (None,))
        return output

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        """Written together, from one reading of the prompt; numbers are drawn too, never read at their median."""
        most = self._settings.max_new_tokens
        return self._answers(messages, pictures, [Draw(temperature, seed, path, most) for path in range(count)])

    def prompt(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Prompted:
        """A question as the engine takes it."""
        return prompted(self.model, self.processor.encode(messages, pictures, normalised=False, cut=self._cut))

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        return self.processor.fitted(width, height)

    def close(self) -> None:
        self.model = self.scheduler = None

    def _answers(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], draws: Sequence[Draw | None]
    ) -> list[Output]:
        """An answer for each draw; None is greedy."""
        inputs = self.processor.encode(messages, pictures, normalised=False, cut=self._cut)
        with self._within_memory(int(inputs["input_ids"].shape[1])):
            if self.scheduler is None:
                return [self._generated(inputs, draw) for draw in draws]
            return self._written(self.scheduler, inputs, draws, self._early if self._is_verdict(messages) else None)

    def _is_verdict(self, messages: Sequence[Message]) -> bool:
        """Whether the answer begins with a yes or a no, so that it may end there. A model of the brief prompt knows no
        other question; any other is told so in the instruction."""
        return (self.notes is not None and self.notes.prompt == "brief") or wants_evidence(messages)

    @contextmanager
    def _within_memory(self, length: int) -> Iterator[None]:
        import torch

        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ModelFailed(
                f"model {self.name}: out of memory at {length} tokens; "
                "lower max_frames, max_frame_pixels or speed.together, or take a smaller model"
            ) from error

    def _written(
        self,
        scheduler: Scheduler,
        inputs: Mapping[str, torch.Tensor],
        draws: Sequence[Draw | None],
        early: Early | None,
    ) -> list[Output]:
        """By our own loop, which shares what can be shared; the tokens are those of `generate`."""
        prompt, most = prompted(self.model, inputs), self._settings.max_new_tokens
        writings = [Writing(prompt, most, self._ends, None if draw else early, draw) for draw in draws]
        scheduler.answer(*writings)
        return [self._output(writing) for writing in writings]

    def _output(self, writing: Writing) -> Output:
        length = writing.prompt.length
        if writing.short is not None:
            text, tokens = writing.short
            return Output(text, tokens, length, len(tokens), True)
        text = self.processor.written(writing.written)
        tokens = writing.tokens(self.processor)
        return Output(text, tokens, length, len(writing.written), writing.complete)

    def _generated(self, inputs: Mapping[str, torch.Tensor], draw: Draw | None) -> Output:
        """By transformers' `generate`, one window at a time, for it keeps rotary state on the model object."""
        import torch

        recorder = _Recorder()
        reading = self._reading if draw is None else [_Drawn(draw, recorder)]
        with self._lock, torch.inference_mode():
            there = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
            ids = self.model.generate(
                **self.processor.normalise(there),
                generation_config=self._settings,
                logits_processor=[recorder, *reading],
            )
        length = int(inputs["input_ids"].shape[1])
        new = ids[0, length:].tolist()
        tokens = traced(new, recorder.tops, self.processor)
        return Output(self.processor.written(new), tokens, length, len(new), bool(new) and new[-1] in self._ends)


class _Recorder:
    """Notes the likeliest tokens of each step as generation passes by; changes nothing."""

    def __init__(self) -> None:
        self.tops: list[tuple[list[float], list[int]]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        values, ids = likeliest(scores[:1].float())
        if not values[0][0] > float("-inf"):
            raise ModelFailed(
                "the model's probabilities are no numbers; its weights are damaged or its precision too low"
            )
        self.tops.append((values[0], ids[0]))
        return scores


class _Drawn:
    """Puts the token that is drawn above all others, so that greedy generation takes it."""

    def __init__(self, draw: Draw, recorder: _Recorder) -> None:
        self._draw = draw
        self._recorder = recorder

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tops = self._recorder.tops
        chosen = scores.clone()
        chosen[0, self._draw.token(*tops[-1], len(tops) - 1)] = scores.max() + 1
        return chosen


def _greedy(model: Any, processor: Processor, max_new_tokens: int) -> Any:
    """Greedy settings made from nothing: a folder's own sampling settings would make audits differ."""
    import transformers

    settings: Any = transformers.GenerationConfig
    own = model.generation_config
    ends = _as_list(own.eos_token_id) or _as_list(processor.tokenizer.eos_token_id)
    pad = own.pad_token_id if own.pad_token_id is not None else (ends[0] if ends else None)
    return settings(do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad)


def _early(processor: Processor, notes: Notes | None, below: float) -> Early:
    decides_first = notes is not None and notes.decision_token == "think_first"
    forced = () if decides_first else processor.tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    return Early(below, notes, tuple(forced))


def reading(processor: Processor, notes: Notes | None) -> list[Any]:
    """How this model's output is read, beside greedily."""
    kinds: list[list[str]] = []
    if notes is not None and notes.coordinate_step is not None:
        kinds.append([str(value) for value in range(0, 1001, notes.coordinate_step)])
    if notes is not None and notes.time_step is not None:
        kinds.append([f"{index * notes.time_step:.1f}" for index in range(round(LAST_TIME_S / notes.time_step) + 1)])
    return [Median(processor.tokenizer.convert_tokens_to_ids(words)) for words in kinds]


def _as_list(value: int | list[int] | None) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]
