"""A vision model of transformers without a text tower as the scorer's image tower: its pooled vector, one per picture.

What it pools is what its class calls `pooler_output`: of DINOv2 and CLIP the class token through the last norm, of
SigLIP the attention-pooling head, of ViT and DeiT the pooler where the checkpoint has one, else the class token through
the last norm. Nothing compares it with a text, so no rule is served by it (`detector.scorer.unserved`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from detector import export, source
from detector.errors import ExportError, ModelFolderError
from detector.folder import ARCHITECTURE, WEIGHTS, ScorerFolder, ScorerRecord, Shape

INTERPOLATED = ("dinov2", "dinov2_with_registers")
"""Kinds that fit their positions to the picture in each call."""
POOLER = ("vit", "deit")
"""Kinds whose class has a pooler that most checkpoints lack."""
KINDS = (*POOLER, *INTERPOLATED, "clip_vision_model", "siglip_vision_model")
"""`model_type` of what can be loaded."""


class ImageTower(nn.Module):
    """uint8 (N, H, W, 3) to unit vectors (N, 1, dim), the scaling of the checkpoint's processor included."""

    def __init__(self, vision: Any, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.vision = vision
        self.shape = shape
        self.register_buffer("scale", torch.tensor([1 / (255 * each) for each in std]), persistent=False)
        self.register_buffer("shift", torch.tensor([m / s for m, s in zip(mean, std, strict=True)]), persistent=False)
        if vision.config.model_type in INTERPOLATED:
            # The positions are of this size already; traced, the class would interpolate them in every call.
            embeddings = vision.embeddings
            embeddings.interpolate_pos_encoding = lambda cells, height, width: embeddings.position_embeddings

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.to(torch.float32) * self.get_buffer("scale") - self.get_buffer("shift")
        seen = self.vision(pixel_values=x.permute(0, 3, 1, 2))
        pooled = seen.last_hidden_state[:, 0] if seen.pooler_output is None else seen.pooler_output
        return functional.normalize(pooled, dim=-1).reshape(-1, 1, self.shape.dim)


class VisionModel(nn.Module):
    """The one tower, named as in `detector.model.ScorerModel`."""

    def __init__(self, vision: Any, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.image = ImageTower(vision, shape, mean, std)


def without_pooler(vision: Any) -> Any:
    """The same model; its pooled vector is the class token through the last norm."""
    vision.pooler = None
    return vision


def fitted(vision: Any, size_px: int) -> Any:
    """The same model; its positions, where its class interpolates them, are those of pictures of this size, both sides,
    in weights and configuration."""
    config = vision.config
    if config.model_type not in INTERPOLATED or config.image_size == size_px:
        return vision
    embeddings = vision.embeddings
    cells = (size_px // config.patch_size) ** 2
    positions = embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + cells, config.hidden_size), size_px, size_px)
    embeddings.position_embeddings = nn.Parameter(positions.detach().clone(), requires_grad=False)
    config.image_size = size_px
    return vision


def shape_of(config: Any, size_px: int) -> Shape:
    """Sizes of the tower; 0 for those of the text tower that it has not."""
    return Shape(
        picture_size=(size_px, size_px),
        channels=3,
        patch=config.patch_size,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        text_width=0,
        text_depth=0,
        text_length=0,
        vocabulary=0,
        dim=config.hidden_size,
        tokens="summary",
    )


def adopt(model: str, config: Any, out: Path, name: str) -> ScorerFolder:
    """Writes the folder of a checkpoint of one of `KINDS`; config: its own. For `detector.adopt.adopt`.

    Raises ExportError, one line, for a checkpoint without the constants of its pictures, its pooled vector or some of
    its weights.
    """
    look = source.processor(model)
    if not {"image_mean", "image_std"} <= look.keys():
        raise ExportError(
            f"{model} has no preprocessor_config.json with image_mean and image_std; add the one that it was "
            "trained with"
        )
    if not getattr(config, "vision_use_head", True):
        raise ExportError(f"{model} has no pooling head (vision_use_head is false); use a checkpoint with one")
    side = _side(model, config, look)
    loaded, missing = source.opened(model)
    if config.model_type in POOLER and any(key.startswith("pooler.") for key in missing):
        loaded = without_pooler(loaded)
    needed = [key for key in missing if not key.startswith(("pooler.", "embeddings.mask_token"))]
    source.check_whole(model, config.model_type, needed)
    loaded = fitted(loaded, side)
    scaling = source.scaling(look)
    shape = shape_of(loaded.config, side)
    tower = VisionModel(loaded, shape, scaling.mean, scaling.std).eval().requires_grad_(False)
    export.write_weights(tower, out)
    loaded.config.to_json_file(out / ARCHITECTURE, use_diff=False)
    alone = ScorerRecord(
        name=Path(name).name,
        shape=shape,
        scale=1.0,
        bias=0.0,
        sharpness=1.0,
        categories={},
        architecture=config.model_type,
        scaling=scaling,
        sha256={},
        training={"source": name},
    )
    return export.write_record(out, alone)


def _side(model: str, config: Any, look: dict[str, Any]) -> int:
    """Pixels of the square that a vision model looks at: what its processor crops or resizes to, where its class can
    look at any size, else its own. Raises ExportError for what is no square."""
    size = config.image_size
    if config.model_type in INTERPOLATED:
        asked = look.get("crop_size" if look.get("do_center_crop", "crop_size" in look) else "size") or {}
        asked = {"height": asked, "width": asked} if isinstance(asked, int) else asked
        if "height" in asked and "width" in asked:
            size = (asked["height"], asked["width"])
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1 or not isinstance(config.patch_size, int):
        raise ExportError(
            f"{model} looks at pictures of {size} px in cells of {config.patch_size} px; use a square one"
        )
    return int(sides.pop())


def load_weights(folder: ScorerFolder) -> VisionModel:
    """The tower of a folder, float32, ready to run.

    Raises ModelFolderError where the configuration is not one of ours, RuntimeError (torch's) where weights do not fit.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    record = folder.record
    told = json.loads(folder.file(ARCHITECTURE).read_text("utf-8"))
    if told.get("model_type") != record.architecture or record.architecture not in KINDS or record.scaling is None:
        raise ModelFolderError(f"{folder.file(ARCHITECTURE)} does not fit scorer.json; export the model again")
    classes: Any = AutoModel
    vision: Any = classes.from_config(AutoConfig.for_model(**told), attn_implementation="sdpa")
    stored = {name: tensor.to(torch.float32) for name, tensor in load_file(folder.file(WEIGHTS)).items()}
    if record.architecture in POOLER and not any(name.startswith("image.vision.pooler.") for name in stored):
        vision = without_pooler(vision)
    model = VisionModel(vision, record.shape, record.scaling.mean, record.scaling.std)
    model.load_state_dict(stored)
    return model.eval().requires_grad_(False)
