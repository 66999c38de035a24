"""An image-text pair of transformers as the scorer's two towers, through its own classes.

SigLIP, SigLIP 2 (the fixed sizes are `SiglipModel` there, NaFlex is `Siglip2Model`) and CLIP. The image tower gives the
picture's own vector, as released, and after it one vector per cell. Of SigLIP a cell's vector is what the
attention-pooling head makes of that token alone: with one key its softmax is 1, and what remains are the head's value
projection, output and MLP (the dense read-out of MaskCLIP, arXiv 2112.01071, for a pooling head). Of CLIP it is the
token through the last norm and the projection.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from detector.errors import ExportError, ModelFolderError
from detector.folder import ARCHITECTURE, WEIGHTS, ScorerFolder, Shape

SIGLIP, NAFLEX = "siglip", "siglip2"
CLIP = ("clip", "metaclip_2")
SERVED = (SIGLIP, NAFLEX, *CLIP)
"""`model_type` of what can be loaded."""


class ImageTower(nn.Module):
    """uint8 (N, H, W, 3) to unit vectors (N, 1 + cells, dim), the scaling of the checkpoint's processor included."""

    def __init__(self, pair: Any, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.vision = pair.vision_model
        self.projection = pair.visual_projection if pair.config.model_type in CLIP else nn.Identity()
        self.kind: str = pair.config.model_type
        self.shape = shape
        self.register_buffer("scale", torch.tensor([1 / (255 * each) for each in std]), persistent=False)
        self.register_buffer("shift", torch.tensor([m / s for m, s in zip(mean, std, strict=True)]), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.to(torch.float32) * self.get_buffer("scale") - self.get_buffer("shift")
        # The last reshape tells an exporter what it cannot see through the classes: sizes that do not change.
        return functional.normalize(self._vectors(x), dim=-1).reshape(-1, self.shape.length, self.shape.dim)

    def _vectors(self, x: Tensor) -> Tensor:
        if self.kind == NAFLEX:
            return self._headed(self._naflex(x))
        seen = self.vision(pixel_values=x.permute(0, 3, 1, 2))
        if self.kind == SIGLIP:
            return self._headed(seen)
        cells = self.vision.post_layernorm(seen.last_hidden_state[:, 1:])
        both: Tensor = self.projection(torch.cat([seen.pooler_output[:, None], cells], dim=1))
        return both

    def _headed(self, seen: Any) -> Tensor:
        """The pooled vector and what the pooling head makes of each token alone, float (N, 1 + cells, dim)."""
        hidden = seen.last_hidden_state
        count, cells, width = hidden.shape
        alone = self.vision.head(hidden.reshape(count * cells, 1, width)).reshape(count, cells, width)
        return torch.cat([seen.pooler_output[:, None], alone], dim=1)

    def _naflex(self, x: Tensor) -> Any:
        """NaFlex takes patches, channels last as its image processor cuts them; ours fill the grid, none is padding."""
        columns, rows = self.shape.grid
        patch = self.shape.patch
        patches = x.reshape(-1, rows, patch, columns, patch, 3).permute(0, 1, 3, 2, 4, 5)
        shapes = torch.tensor([[rows, columns]], device=x.device)
        return self.vision(
            pixel_values=patches.reshape(-1, rows * columns, patch * patch * 3),
            pixel_attention_mask=None,
            spatial_shapes=shapes,
        )


class TextTower(nn.Module):
    """int64 (M, text_length) ids, padded as the checkpoint's tokenizer pads, to unit vectors (M, dim)."""

    def __init__(self, pair: Any) -> None:
        super().__init__()
        self.text = pair.text_model
        self.projection = pair.text_projection if pair.config.model_type in CLIP else nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        return functional.normalize(self.projection(self.text(input_ids=ids).pooler_output), dim=-1)


class PairModel(nn.Module):
    """Both towers, as `detector.model.ScorerModel` has them."""

    def __init__(self, pair: Any, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.image = ImageTower(pair, shape, mean, std)
        self.text = TextTower(pair)


def build(config: Any) -> Any:
    """The pair's own class with random weights, plain attention. Raises ExportError for what is no pair we know."""
    from transformers import AutoModel

    if config.model_type not in SERVED:
        raise ExportError(f"model_type {config.model_type!r} is none of {', '.join(SERVED)}; {unknown(config)}")
    classes: Any = AutoModel
    return classes.from_config(config, attn_implementation="sdpa")


def unknown(config: Any) -> str:
    """What keeps a checkpoint from being served here, and the way out."""
    if not hasattr(config, "text_config"):
        return "it has no text tower and is none of the vision models that can be written; use a SigLIP 2 checkpoint"
    return "it is an image-text pair of another kind; use a SigLIP 2 checkpoint"


def shape_of(config: Any, picture_size: tuple[int, int], text_length: int) -> Shape:
    """Sizes of a pair's towers at a size of picture (width, height), px."""
    vision, text = config.vision_config, config.text_config
    return Shape(
        picture_size=picture_size,
        channels=3,
        patch=vision.patch_size,
        width=vision.hidden_size,
        depth=vision.num_hidden_layers,
        text_width=text.hidden_size,
        text_depth=text.num_hidden_layers,
        text_length=text_length,
        vocabulary=text.vocab_size,
        dim=config.projection_dim if config.model_type in CLIP else vision.hidden_size,
        tokens="summary+grid",
    )


def load_weights(folder: ScorerFolder) -> PairModel:
    """The towers of a scorer's folder, float32, ready to run.

    Raises ModelFolderError where the configuration is not one of ours, RuntimeError (torch's) where weights do not fit.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig

    record = folder.record
    stored = json.loads(folder.file(ARCHITECTURE).read_text("utf-8"))
    if stored.get("model_type") != record.architecture or record.architecture not in SERVED or record.scaling is None:
        raise ModelFolderError(f"{folder.file(ARCHITECTURE)} does not fit scorer.json; export the model again")
    config = AutoConfig.for_model(**stored)
    model = PairModel(build(config), record.shape, record.scaling.mean, record.scaling.std)
    model.load_state_dict({name: tensor.to(torch.float32) for name, tensor in load_file(folder.file(WEIGHTS)).items()})
    return model.eval().requires_grad_(False)
