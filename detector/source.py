"""A checkpoint of transformers, as it is read: its weights, and how its processor scales a picture."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from detector.errors import ExportError
from detector.folder import Scaling

HALF = Scaling(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def opened(model: str) -> tuple[Any, set[str]]:
    """The checkpoint's model, and the names of the weights that it has not. Raises ExportError."""
    from transformers import AutoModel

    try:
        loaded, told = AutoModel.from_pretrained(
            model, dtype="float32", attn_implementation="sdpa", output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unloadable(model, error) from None
    return loaded, set(told["missing_keys"])


def check_whole(model: str, kind: str, missing: Collection[str]) -> None:
    """missing: weights that the class wants and the checkpoint has not; they would be random. Raises ExportError."""
    if missing:
        raise ExportError(f"{model} lacks {len(missing)} weights of a {kind!r}, as {min(missing)}")


def unloadable(model: str, error: Exception) -> ExportError:
    """The one line for whatever transformers raises."""
    return ExportError(f"{model} cannot be loaded ({' '.join(str(error).split())[:200]})")


def processor(model: str) -> dict[str, Any]:
    """The checkpoint's settings for pictures; empty where it has none."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(model)
    except OSError:
        return {}
    return dict(settings)


def scaling(look: dict[str, Any]) -> Scaling:
    """The default is that of every released SigLIP."""
    if look.get("do_normalize") is False:
        return Scaling(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if "image_mean" not in look:
        return HALF
    mean, std = (tuple(map(float, look[key])) for key in ("image_mean", "image_std"))
    return Scaling(mean=mean, std=std)  # type: ignore[arg-type]  # three channels: of RGB
