"""Our Qwen-VL processor: chat messages and uint8 pictures to the tensors that the model's generate takes.

It needs no torchvision and hides no default: pixel budgets are explicit, times are exact text in the prompt, and
`mm_token_type_ids` is always there (without it generate silently falls back to one-dimensional positions).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from reasoner.errors import ModelIncomplete, PromptMismatch
from reasoner.folder import ModelFolder, Notes, chat_template, open_folder
from reasoner.pixels import (
    Footage,
    PatchSpec,
    Pixels,
    cut_patches,
    cut_there,
    fit,
    normalise,
    resize_frames,
    resize_image,
    uncut,
)
from reasoner.prompt import Message

if TYPE_CHECKING:
    import torch

    Patches = tuple[torch.Tensor, tuple[int, int, int]]
    """Rows of patches, and their grid: groups, rows, columns."""

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
THINK = "<think>"
START, END = "<|vision_start|>", "<|vision_end|>"
UNCUT = {
    "image_frames": ("pixel_values", "image_grid_thw"),
    "video_frames": ("pixel_values_videos", "video_grid_thw"),
}
"""Names of tensors whose frames are not cut yet: what becomes of them, and where their grids are."""


class Processor:
    """Turns messages with image or video placeholders, and their pictures, into model inputs."""

    def __init__(
        self,
        tokenizer: Any,
        spec: PatchSpec,
        *,
        notes: Notes | None = None,
        video_times: bool = True,
        template: str | None = None,
    ) -> None:
        """tokenizer: a transformers tokenizer that knows the vision tokens. template: chat template, if not its own."""
        self.tokenizer = tokenizer
        self.spec = spec
        self.notes = notes
        self.video_times = video_times
        self.template = template
        self.image_id: int = tokenizer.convert_tokens_to_ids(IMAGE)
        self.video_id: int = tokenizer.convert_tokens_to_ids(VIDEO)

    @classmethod
    def load(
        cls, folder: Path | ModelFolder, *, min_pixels: int | None = None, max_pixels: int | None = None
    ) -> Processor:
        """From a folder in the released layout. Budgets in px of one frame; none: 65 536 to 200 704."""
        from transformers import AutoTokenizer

        model = folder if isinstance(folder, ModelFolder) else open_folder(Path(folder))
        load: Any = AutoTokenizer.from_pretrained
        try:
            tokenizer = load(str(model.path), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise ModelIncomplete(f"tokenizer of {model.path} cannot be read: {_line(error)}; add it again") from error
        return cls(
            tokenizer,
            patch_spec(model, min_pixels, max_pixels),
            notes=model.notes,
            video_times=model.family.video_times == "text",
            template=chat_template(model.path),
        )

    @property
    def motion(self) -> bool:
        """Whether pictures are motion pairs, uint8 (G, 2, H, W, 3)."""
        return self.notes is not None and self.notes.pairing == "motion"

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, px, at which the model sees a picture of this size."""
        if self.notes is not None and self.notes.input_size is not None:
            return self.notes.input_size
        return fit(width, height, self.spec)

    def encode(
        self,
        messages: Sequence[Message],
        pictures: Pixels | Sequence[Pixels | Footage],
        *,
        generate: bool = True,
        normalised: bool = True,
        cut: bool = True,
    ) -> dict[str, torch.Tensor]:
        """One conversation → `input_ids`, `attention_mask`, `mm_token_type_ids` (1, L) int64, and the pixels.

        pictures: one for each placeholder in order: uint8 (H, W, 3) RGB, or (2, H, W, 3) for both temporal slots of
        an image; Footage for a video. `pixel_values` float32 (patches, 3*2*patch*patch) with `image_grid_thw` (n, 3)
        int64 and the same for videos. generate: open the assistant's turn at the end. normalised: False leaves the
        pixels uint8, for `normalise` to turn into float32 on the device of the model. cut: False leaves to it the
        cutting into patches too, with `image_frames` and `video_frames` (`pixels.uncut`) in place of the pixel values.
        Raises PromptMismatch when placeholders and pictures do not pair up.
        """
        return self.encode_text(self.render(messages, generate), pictures, normalised=normalised, cut=cut)

    def encode_text(
        self, text: str, pictures: Pixels | Sequence[Pixels | Footage], *, normalised: bool = True, cut: bool = True
    ) -> dict[str, torch.Tensor]:
        """`encode` of a conversation that `render` has made text of."""
        images = self._images([p for p in pictures if not isinstance(p, Footage)], cut)
        videos = [p for p in pictures if isinstance(p, Footage)]
        clips = [self._video(p, cut) for p in videos]
        text = self._with_video_times(text, videos)
        ids, types = self._expand(text, [_places(grid) for _, grid in images], [grid for _, grid in clips])
        tensors = _tensors(ids, types, images, clips, cut)
        return self.normalise(tensors) if normalised else tensors

    def normalise(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The pixels of `encode(..., normalised=False)` as float32 patches, wherever they are by now."""
        made = {}
        for name, tensor in tensors.items():
            if name in UNCUT:
                pixels, grids = UNCUT[name]
                made[pixels] = normalise(self._cut(tensor, tensors[grids]), self.spec)
            else:
                made[name] = normalise(tensor, self.spec) if name.startswith("pixel_values") else tensor
        return made

    def _cut(self, rows: torch.Tensor, grids: torch.Tensor) -> torch.Tensor:
        """Rows of uncut frames of several pictures, patches of each."""
        import torch

        shapes: list[tuple[int, int, int]] = [(t, h, w) for t, h, w in grids.tolist()]
        parts = torch.split(rows, [_places(shape) for shape in shapes])
        return torch.cat([cut_there(part, shape, self.spec) for part, shape in zip(parts, shapes, strict=True)])

    def render(self, messages: Sequence[Message], generate: bool = True) -> str:
        """The conversation as text, each placeholder still one pad token."""
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generate, chat_template=self.template
            )
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Generated ids as text; tags stay, control tokens go."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def written(self, ids: Sequence[int]) -> str:
        """A whole output as text: thinking that the chat template has opened for the model is opened in it too.

        Without that, thinking cut short would read as an answer.
        """
        text = self.decode(ids)
        return text if text.lstrip().startswith(THINK) else self._opening + text

    @cached_property
    def _opening(self) -> str:
        """What the template lets the assistant's turn begin with, as `<think>` of the Thinking checkpoints."""
        turn = self.render([{"role": "user", "content": [{"type": "text", "text": "?"}]}]).rstrip()
        return f"{THINK}\n" if turn.endswith(THINK) else ""

    def _images(self, pictures: Sequence[Pixels], cut: bool) -> list[Patches]:
        """Rows of patches and grid of each picture; pictures alike in shape are cut up together."""
        groups = [self._resized(picture[None] if picture.ndim == 3 else picture) for picture in pictures]
        if not groups:
            return []
        grids = [self._grid(1, group) for group in groups]
        made = cut_patches if cut else uncut
        if len({group.shape for group in groups}) == 1:
            rows = made(np.stack(groups), self.spec).chunk(len(groups))
        else:
            if not cut and len({len(group) for group in groups}) > 1:  # rows of one length
                groups = [np.broadcast_to(group, (self.spec.temporal, *group.shape[1:])) for group in groups]
            rows = tuple(made(group[None], self.spec) for group in groups)
        return list(zip(rows, grids, strict=True))

    def _resized(self, slots: Pixels) -> Pixels:
        size = self.fitted(slots.shape[2], slots.shape[1])
        return np.stack([resize_image(slot, size) for slot in slots])

    def _grid(self, groups: int, frames: Pixels) -> tuple[int, int, int]:
        side = self.spec.patch_px
        return groups, frames.shape[1] // side, frames.shape[2] // side

    def _video(self, footage: Footage, cut: bool) -> Patches:
        frames = footage.frames
        size = self.fitted(frames.shape[2], frames.shape[1])
        frames = resize_frames(frames, size)
        spare = -len(frames) % self.spec.temporal
        if spare:
            frames = np.concatenate([frames, np.repeat(frames[-1:], spare, axis=0)])
        groups = frames.reshape(-1, self.spec.temporal, *frames.shape[1:])
        return (cut_patches if cut else uncut)(groups, self.spec), self._grid(len(groups), frames)

    def _with_video_times(self, text: str, videos: Sequence[Footage]) -> str:
        """Each video placeholder becomes one per frame group, its mean time before it, as Qwen3-VL was trained."""
        parts = text.split(f"{START}{VIDEO}{END}")
        if len(parts) - 1 != len(videos):
            raise PromptMismatch(f"the prompt has {len(parts) - 1} video placeholders for {len(videos)} videos")
        if not self.video_times:
            return text
        whole = parts[0]
        for footage, after in zip(videos, parts[1:], strict=True):
            stamped = (f"<{t:.1f} seconds>{START}{VIDEO}{END}" for t in self._group_times(footage.times_s))
            whole += "".join(stamped) + after
        return whole

    def _group_times(self, times_s: Sequence[float]) -> Iterator[float]:
        step = self.spec.temporal
        padded = [*times_s, *([times_s[-1]] * (-len(times_s) % step))]
        return ((padded[i] + padded[i + step - 1]) / 2 for i in range(0, len(padded), step))

    def _expand(
        self, text: str, image_patches: Sequence[int], video_grids: Sequence[tuple[int, int, int]]
    ) -> tuple[list[int], list[int]]:
        """Token ids with every pad repeated for its picture, and each token's kind: 0 text, 1 image, 2 video."""
        square = self.spec.merge**2
        left = {self.image_id: [count // square for count in image_patches], self.video_id: []}
        for groups, rows, columns in video_grids:
            each = rows * columns // square
            left[self.video_id] += [each] * groups if self.video_times else [each * groups]
        kinds = {self.image_id: 1, self.video_id: 2}
        ids: list[int] = []
        types: list[int] = []
        for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
            kind = kinds.get(token, 0)
            if kind and not left[token]:
                raise PromptMismatch("the prompt has more placeholders than there are pictures")
            count = left[token].pop(0) if kind else 1
            ids += [token] * count
            types += [kind] * count
        if left[self.image_id] or left[self.video_id]:
            raise PromptMismatch("the prompt has fewer placeholders than there are pictures")
        return ids, types


def patch_spec(model: ModelFolder, min_pixels: int | None = None, max_pixels: int | None = None) -> PatchSpec:
    """Patch geometry from the folder's own files, normalisation likewise, else what its family was released with."""
    vision = model.config.get("vision_config", {})
    spec = PatchSpec(
        patch_px=int(vision.get("patch_size", model.family.patch_px)),
        temporal=int(vision.get("temporal_patch_size", 2)),
        merge=int(vision.get("spatial_merge_size", 2)),
        mean=model.family.mean,
        std=model.family.std,
    )
    settings = _image_settings(model.path)
    changes: dict[str, Any] = {
        name: tuple(settings[key]) for name, key in (("mean", "image_mean"), ("std", "image_std")) if key in settings
    }
    if min_pixels is not None:
        changes["min_pixels"] = min_pixels
    if max_pixels is not None:
        changes["max_pixels"] = max_pixels
    return msgspec.structs.replace(spec, **changes)


def _image_settings(path: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (path / name).exists():
            settings: dict[str, Any] = json.loads((path / name).read_text(encoding="utf-8"))
            return dict(settings.get("image_processor", settings))
    return {}


def _places(grid: tuple[int, int, int]) -> int:
    return grid[0] * grid[1] * grid[2]


def _tensors(
    ids: list[int],
    types: list[int],
    images: Sequence[Patches],
    clips: Sequence[Patches],
    cut: bool,
) -> dict[str, torch.Tensor]:
    import torch

    tensors = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.int64),
        "mm_token_type_ids": torch.tensor([types]),
    }
    for parts, (frames, (pixels, grid)) in zip((images, clips), UNCUT.items(), strict=True):
        if parts:
            tensors[pixels if cut else frames] = torch.cat([values for values, _ in parts])
            tensors[grid] = torch.tensor([shape for _, shape in parts])
    return tensors


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
