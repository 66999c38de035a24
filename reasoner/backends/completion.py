"""Chat completions: messages with pictures as a request, a reply as an output. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reasoner.backends import Output
from reasoner.errors import ServerRefused
from reasoner.prompt import CLAIM_FORMAT, Message
from reasoner.trace import TOP, Token

if TYPE_CHECKING:
    from reasoner.pixels import Pixels

GREEDY: dict[str, Any] = {
    "temperature": 0,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "logprobs": True,
    "top_logprobs": TOP,
}
"""Every setting is said: a server fills what is left open from the checkpoint's own sampling settings."""
OPENED = "<think></think>\n<answer>"
"""The beginning of an answer that is put into the model's mouth to read the odds of a yes from its next token."""


def wants_evidence(messages: Sequence[Message]) -> bool:
    """Whether messages state the instruction, so that the answer comes in the output language and begins with a yes or
    a no; another kind of question is left as free as it is asked."""
    return any(
        CLAIM_FORMAT in part.get("text", "")
        for message in messages
        if message["role"] == "system"
        for part in message["content"]
    )


def filled(
    messages: Sequence[Message], pictures: Sequence[Pixels], encode: Callable[[Pixels], bytes]
) -> list[dict[str, Any]]:
    """Messages with each image placeholder replaced by a JPEG as a data URL."""

    def parts(content: Sequence[Mapping[str, Any]], left: Iterator[Pixels]) -> list[Mapping[str, Any]]:
        return [
            {"type": "image_url", "image_url": {"url": _data_url(encode(next(left)))}}
            if part["type"] == "image"
            else part
            for part in content
        ]

    left = iter(pictures)
    return [{"role": message["role"], "content": parts(message["content"], left)} for message in messages]


def glance(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of a request for one token, the one that says yes or no: the messages, then an answer already begun.

    The long part, frames and question, is the same as in the full request, so a server with a prefix cache has it.
    """
    return {
        "messages": [*messages, {"role": "assistant", "content": OPENED}],
        "add_generation_prompt": False,
        "continue_final_message": True,
        "max_tokens": 1,
    }


def drawn(temperature: float, seed: int, count: int) -> dict[str, Any]:
    """Fields of a request for answers drawn at random, from the likeliest tokens only."""
    return {"temperature": temperature, "top_k": TOP, "seed": seed, "n": count}


def read_replies(body: bytes, where: str) -> list[Output]:
    """A chat completion → an Output for each of its choices, at least one. Raises ServerRefused for anything else."""
    try:
        document = json.loads(body)
        usage = document.get("usage") or {}
        read, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        choices = sorted(document["choices"], key=lambda choice: int(choice.get("index") or 0))
        outputs = [_output(choice, read, written // len(choices)) for choice in choices]
        if outputs:
            return outputs
        raise IndexError("no choice")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerRefused(f"{where} sent no chat completion; base_url must be of an OpenAI-compatible API") from error


def _output(choice: Mapping[str, Any], read: int, written: int) -> Output:
    """written: tokens that each choice has on average, for a server that does not list them."""
    message = choice["message"]
    text = str(message.get("content") or "")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thought, str) and thought and "</think>" not in text:
        # Servers with a reasoning parser take the thinking out of the text; the evidence is in there.
        text = f"<think>{thought}</think>\n{text}"
    tokens = tuple(_token(entry) for entry in (choice.get("logprobs") or {}).get("content") or ())
    return Output(text, tokens, read, len(tokens) or written, choice.get("finish_reason") == "stop")


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _token(entry: Mapping[str, Any]) -> Token:
    own = (str(entry["token"]), _logprob(entry["logprob"]))
    top = tuple((str(other["token"]), _logprob(other["logprob"])) for other in entry.get("top_logprobs") or ())
    return Token(*own, top if any(text == own[0] for text, _ in top) else (own, *top))


def _logprob(value: Any) -> float:
    """NaN where a server has none: what is made of it is decided where all outputs are judged."""
    return math.nan if value is None else float(value)
