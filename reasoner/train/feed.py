"""The serving processor in the shape that TRL asks for: what training feeds a model is what serving feeds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from reasoner.pixels import Pixels
from reasoner.processor import Processor
from reasoner.prompt import Message


class Feed(ProcessorMixin):
    """Conversations and texts, many at a time, through one `Processor`.

    Padding is at the left, always: TRL pads prompts there, and token kinds padded at the other side would shift every
    picture of a shorter prompt without an error.
    """

    def __init__(self, tokenizer: Any, served: Processor) -> None:
        tokenizer.padding_side = "left"
        template = served.template or tokenizer.chat_template
        super().__init__(tokenizer, chat_template=template)  # type: ignore[no-untyped-call]
        self.served = served

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Any,
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        **_: Any,
    ) -> Any:
        """One conversation or several → text; with `tokenize` lists of ids, not padded, and the pictures' tensors.

        Pictures are the `image` of a content part.
        """
        if not tokenize:
            if conversation and isinstance(conversation[0], list):
                return [self.served.render(_bare(one), add_generation_prompt) for one in conversation]
            return self.served.render(_bare(conversation), add_generation_prompt)
        encoded = [
            self.served.encode(_bare(one), _pictures(one), generate=add_generation_prompt) for one in conversation
        ]
        names = ("input_ids", "attention_mask", "mm_token_type_ids")
        return BatchFeature(
            {**{name: [one[name][0].tolist() for one in encoded] for name in names}, **_pixels(encoded)}
        )

    def __call__(self, images: Any = None, text: Any = None, **_: Any) -> BatchFeature:
        """Texts with placeholders and, for each, its pictures → tensors padded at the left."""
        texts = [text] if isinstance(text, str) else list(text)
        each = images if images is not None else [()] * len(texts)
        return self.padded([self.served.encode_text(one, list(own)) for one, own in zip(texts, each, strict=True)])

    def conversations(self, asked: Sequence[tuple[Sequence[Message], Sequence[Pixels]]]) -> BatchFeature:
        """Messages with their pictures, the assistant's turn opened → tensors padded at the left."""
        return self.padded([self.served.encode(messages, list(pictures)) for messages, pictures in asked])

    def padded(self, encoded: Sequence[dict[str, Tensor]]) -> BatchFeature:
        """`input_ids`, `attention_mask`, `mm_token_type_ids` int64 (B, L), and the pixels of all, one after another."""
        length = max(one["input_ids"].shape[1] for one in encoded)
        fill = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 0, "mm_token_type_ids": 0}
        rows = {
            name: torch.cat(
                [torch.nn.functional.pad(one[name], (length - one[name].shape[1], 0), value=value) for one in encoded]
            )
            for name, value in fill.items()
        }
        return BatchFeature({**rows, **_pixels(encoded)})

    def batch_decode(self, sequences: Any, **_: Any) -> list[str]:
        """As serving reads an output: tags stay, control tokens go, thinking that the template opened is opened."""
        return [self.served.written(ids) for ids in sequences]

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **_: Any) -> None:
        """The tokenizer alone; what else a model folder holds is copied from the model that training began with."""
        self.tokenizer.save_pretrained(save_directory)


def _bare(messages: Sequence[Message]) -> list[Message]:
    """The messages as `prompt.messages` made them, without pictures in them."""
    return [
        {
            **message,
            "content": message["content"]
            if isinstance(message["content"], str)
            else [{"type": "image"} if part["type"] == "image" else part for part in message["content"]],
        }
        for message in messages
    ]


def _pictures(messages: Sequence[Message]) -> list[Pixels]:
    return [
        part["image"]
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image"
    ]


def _pixels(encoded: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    names = [name for name in ("pixel_values", "image_grid_thw") if name in encoded[0]]
    return {name: torch.cat([one[name] for one in encoded]) for name in names}
