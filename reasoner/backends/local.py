"""The model in this process, always through the real transformers classes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.backends import Output
from reasoner.backends.median import Median
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelFailed, ModelIncomplete
from reasoner.folder import BUNDLED, ModelFolder, Notes, open_folder
from reasoner.processor import Processor
from reasoner.prompt import Message
from reasoner.trace import TOP, Token

if TYPE_CHECKING:
    import torch

    from reasoner.pixels import Pixels

SMALL_PARAMETERS = 100_000_000
"""A smaller model runs on one CPU thread: a second gains little, and on a busy machine their barriers cost much."""
LAST_TIME_S = 19.9
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]


class LocalBackend:
    """A checkpoint and its processor. Generation is one at a time: the model object keeps rotary state."""

    def __init__(self, model: Any, processor: Processor, folder: ModelFolder, max_new_tokens: int) -> None:
        self.name = folder.name
        self.weights_sha256 = folder.weights_sha256()
        self.coordinates = folder.notes.coordinates if folder.notes else folder.family.coordinates
        self.notes = folder.notes
        self.processor = processor
        self.model = model
        limit = min(max_new_tokens, folder.notes.max_new_tokens) if folder.notes else max_new_tokens
        self._settings = _greedy(model, processor, limit)
        # generate fills what a passed configuration leaves open from the model's own; nothing of that may leak in.
        model.generation_config = self._settings
        self._reading = reading(processor, folder.notes)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, config: ReasonerConfig) -> LocalBackend:
        """Raises ModelIncomplete, ModelUnsupported or ModelFailed, each in one line."""
        folder = open_folder(locate(config.model))
        processor = Processor.load(folder, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels)
        return cls(_load_model(folder, config), processor, folder, config.max_new_tokens)

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        import torch

        inputs = self.processor.encode(messages, pictures, normalised=False)
        with self._lock:
            recorder = _Recorder()
            try:
                with torch.inference_mode():
                    there = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
                    ids = self.model.generate(
                        **self.processor.normalise(there),
                        generation_config=self._settings,
                        logits_processor=[recorder, *self._reading],
                    )
            except torch.OutOfMemoryError as error:
                raise ModelFailed(
                    f"model {self.name}: out of memory at {inputs['input_ids'].shape[1]} tokens; "
                    "lower max_frames or max_frame_pixels, or take a smaller model"
                ) from error
        length = inputs["input_ids"].shape[1]
        new = ids[0, length:].tolist()
        tokens = recorder.tokens(new, self.processor)
        ends = set(_as_list(self._settings.eos_token_id))
        finished = bool(new) and new[-1] in ends
        return Output(self.processor.decode(new), tokens, length, len(new), finished)

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        return self.processor.fitted(width, height)

    def close(self) -> None:
        self.model = None


class _Recorder:
    """Notes the likeliest tokens of each step as generation passes by; changes nothing."""

    def __init__(self) -> None:
        self.steps: list[tuple[list[float], list[int]]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        logprobs = torch.log_softmax(scores[0].float(), dim=-1)
        values, ids = logprobs.topk(min(TOP, logprobs.shape[0]))
        if not torch.isfinite(values[0]):
            raise ModelFailed(
                "the model's probabilities are no numbers; its weights are damaged or its precision too low"
            )
        self.steps.append((values.tolist(), ids.tolist()))
        return scores

    def tokens(self, new: Sequence[int], processor: Processor) -> tuple[Token, ...]:
        """The generated tokens with their alternatives, control tokens left out."""
        texts: dict[int, str] = {}

        def text(token: int) -> str:
            if token not in texts:
                texts[token] = processor.decode([token])
            return texts[token]

        kept = []
        for token, (values, ids) in zip(new, self.steps, strict=False):
            top = tuple((text(other), value) for other, value in zip(ids, values, strict=True))
            own = values[ids.index(token)] if token in ids else values[-1]
            if text(token):
                kept.append(Token(text(token), own, top))
        return tuple(kept)


def locate(model: str) -> Path:
    """`bundled`, an existing folder, or a hub name, fetched when it is not in the local cache. → folder."""
    if model == "bundled":
        return BUNDLED
    path = Path(model).expanduser()
    if path.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        return path
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for local in (True, False):
        try:
            return Path(huggingface_hub.snapshot_download(model, allow_patterns=_HUB_FILES, local_files_only=local))
        except LocalEntryNotFoundError as error:
            missing: Exception = error
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            missing = error
    raise ModelIncomplete(
        f"model {model!r} is no folder and cannot be fetched from the hub ({type(missing).__name__}); "
        "check the name and the network, or give a local folder"
    ) from missing


def _load_model(folder: ModelFolder, config: ReasonerConfig) -> Any:
    import torch
    import transformers

    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelFailed(f'device {device!r}: this machine has no usable GPU; set device to "cpu" or "auto"')
    dtype = config.dtype if config.dtype != "auto" else "float32" if device == "cpu" else "bfloat16"
    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    architecture: Any = getattr(transformers, folder.family.architecture)
    try:
        model, report = architecture.from_pretrained(
            str(folder.path),
            local_files_only=True,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        line = " ".join(str(error).split())[:200]
        raise ModelFailed(f"model folder {folder.path} cannot be loaded: {line}; fetch it again") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelIncomplete(
            f"model folder {folder.path} lacks {len(missing)} tensors, as {missing[0]}; fetch it again"
        )
    threads = config.threads or (1 if device == "cpu" and model.num_parameters() < SMALL_PARAMETERS else 0)
    if threads:
        torch.set_num_threads(threads)
    try:
        return model.to(device).eval()
    except RuntimeError as error:
        raise ModelFailed(
            f"model {folder.name} does not fit on {device}: {' '.join(str(error).split())[:120]}"
        ) from error


def _greedy(model: Any, processor: Processor, max_new_tokens: int) -> Any:
    """Greedy settings made from nothing: a folder's own sampling settings would make audits differ."""
    import transformers

    settings: Any = transformers.GenerationConfig
    own = model.generation_config
    ends = _as_list(own.eos_token_id) or _as_list(processor.tokenizer.eos_token_id)
    pad = own.pad_token_id if own.pad_token_id is not None else (ends[0] if ends else None)
    return settings(do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad)


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
