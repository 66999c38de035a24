"""A checkpoint of transformers becomes a scorer's folder: weights, graphs, tokenizer, and how to read its scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector import contrast, export, source
from detector.errors import ExportError
from detector.folder import ARCHITECTURE, TOKENIZER, CategoryRecord, Scaling, ScorerFolder, ScorerRecord

if TYPE_CHECKING:
    from detector.pair import PairModel

PROMPT = "this is a photo of {watch}"
"""Of the released SigLIP and CLIP evaluations; the category is a word of ours that they have not seen."""
ASPECT = 16 / 9
"""Of the pictures of a NaFlex checkpoint: that of most cameras."""

UNCALIBRATED = CategoryRecord(
    slope=1.0,
    offset=contrast.log_odds(contrast.BASE_RATE),
    novelty=1.0,
    threshold=0.5,
    strict=0.9,
    recall=0.0,
    flags_per_minute=0.0,
)
"""For `detector.contrast`: the excess over what is usual are log-odds already. Novelty adds one nat at most, which
never opens the gate by itself. Recall and flags are not known."""


def adopt(model: str, out: Path, name: str | None = None) -> ScorerFolder:
    """Writes the folder of an image-text pair, or of an image tower alone, named as on the Hugging Face hub or by its
    local folder; `name` is what it is called where `model` is a place that says nothing.

    Raises ExportError, one line, for a model that cannot be had or is of a kind we do not know.
    """
    from transformers import AutoConfig

    from detector import pair, vision

    try:
        config: Any = AutoConfig.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise source.unloadable(model, error) from None
    if config.model_type in vision.KINDS:
        return vision.adopt(model, config, out, name or model)
    if config.model_type not in pair.SERVED:
        raise ExportError(f"{model} is a {config.model_type!r}: {pair.unknown(config)}")
    loaded, missing = source.opened(model)
    source.check_whole(model, config.model_type, missing)
    out.mkdir(parents=True, exist_ok=True)
    length = _tokenizer(model, config, out / TOKENIZER)
    look = source.processor(model)
    shape = pair.shape_of(config, picture_size(config, look), length)
    scaling = source.scaling(look)
    towers = pair.PairModel(loaded, shape, scaling.mean, scaling.std).eval().requires_grad_(False)
    export.write_weights(towers, out)
    config.to_json_file(out / ARCHITECTURE, use_diff=False)
    return export.write_record(out, record(name or model, loaded, towers, scaling))


def picture_size(config: Any, look: dict[str, Any]) -> tuple[int, int]:
    """Width and height of the network's input, px: the checkpoint's own; of NaFlex, as many patches of a camera's
    aspect as its processor allows."""
    vision = config.vision_config
    if config.model_type != "siglip2":
        return int(vision.image_size), int(vision.image_size)
    patches = int(look.get("max_num_patches", vision.num_patches))
    rows = max(1, math.isqrt(int(patches / ASPECT)))
    return vision.patch_size * (patches // rows), vision.patch_size * rows


def record(model: str, loaded: Any, towers: PairModel, scaling: Scaling) -> ScorerRecord:
    """How an uncalibrated pair is served; without hashes."""
    scale = float(loaded.logit_scale.detach().exp())
    bias = float(loaded.logit_bias.detach()) if hasattr(loaded, "logit_bias") else 0.0
    return ScorerRecord(
        name=Path(model).name,
        shape=towers.shape,
        scale=scale,
        bias=bias,
        # Over cells, the weights of the pool are the softmax of the released logits.
        sharpness=scale,
        categories={},
        default=UNCALIBRATED,
        neutral=contrast.NEUTRAL,
        prompt=PROMPT,
        architecture=loaded.config.model_type,
        scaling=scaling,
        sha256={},
        training={"source": model},
    )


def _tokenizer(model: str, config: Any, out: Path) -> int:
    """Writes the checkpoint's tokenizer with its padding and truncation inside; returns the length of its texts.

    SigLIP was trained on texts in lower case, padded to the full length, and looks at the padding.
    """
    from tokenizers import Tokenizer, normalizers
    from transformers import AutoTokenizer

    length: int = config.text_config.max_position_embeddings
    try:
        theirs = AutoTokenizer.from_pretrained(model)
        ours = Tokenizer.from_str(theirs.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ExportError(f"{model} has no tokenizer.json that can be read ({reason}); add it to its folder") from None
    if config.model_type in ("siglip", "siglip2"):
        kept = [ours.normalizer] if ours.normalizer else []
        ours.normalizer = normalizers.Sequence([normalizers.Lowercase(), *kept])
    pad = theirs.pad_token or theirs.eos_token
    ours.enable_padding(direction=theirs.padding_side, pad_id=ours.token_to_id(pad), pad_token=pad, length=length)
    ours.enable_truncation(length)
    ours.save(str(out))
    return length
