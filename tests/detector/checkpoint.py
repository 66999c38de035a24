"""Small checkpoints of image-text pairs of transformers, random but whole: weights, tokenizer, processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KINDS = ("siglip", "siglip2", "clip")
VOCABULARY = 400
LENGTH = 16
MEAN, STD = (0.48, 0.45, 0.4), (0.27, 0.26, 0.28)


def config(kind: str) -> Any:
    """`siglip`, `siglip2` (NaFlex) or `clip`, in the smallest sizes at which every part does something."""
    from transformers import CLIPConfig, Siglip2Config, SiglipConfig

    same = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = {**same, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, **special}
    vision = {**same, "patch_size": 16}
    match kind:
        case "siglip":
            return SiglipConfig(text_config=text, vision_config={**vision, "image_size": 64})
        case "siglip2":
            return Siglip2Config(text_config=text, vision_config={**vision, "num_patches": 36})
        case "clip":
            return CLIPConfig(text_config=text, vision_config={**vision, "image_size": 64}, projection_dim=24)
    raise ValueError(kind)


def tokenizer(path: Path) -> None:
    """A BPE as that of the released SigLIP 2: spaces are a letter, <pad> is 0, <eos> ends each text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    learned.normalizer = normalizers.Replace(" ", "▁")
    learned.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
    learned.decoder = decoders.Replace("▁", " ")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"],
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyz▁,."],
        show_progress=False,
    )
    learned.train_from_iterator(["a photo of people walking by", "this is a photo of a person on the floor"], trainer)
    learned.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=learned,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(path)


def checkpoint(kind: str, path: Path, seed: int = 0) -> Path:
    """Writes the checkpoint's folder as `save_pretrained` does."""
    import torch
    from transformers import AutoModel

    torch.manual_seed(seed)
    classes: Any = AutoModel
    model = classes.from_config(config(kind))
    with torch.no_grad():
        model.logit_scale.fill_(4.7)
        if hasattr(model, "logit_bias"):
            model.logit_bias.fill_(-16.5)
        for name, parameter in model.named_parameters():
            # Fresh biases are all zero and fresh norms all one: two of them mixed up would go unnoticed.
            if parameter.ndim == 1 and "logit" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    tokenizer(path)
    look = {"image_mean": MEAN, "image_std": STD, "image_processor_type": "SiglipImageProcessor"}
    (path / "preprocessor_config.json").write_text(json.dumps(look), "utf-8")
    return path
