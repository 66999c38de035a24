"""The model on an OpenAI-compatible server, such as vLLM or SGLang: frames as images with their own time texts."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reasoner.backends import Output
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelUnsupported, ServerRefused, ServerTimeout, ServerUnavailable
from reasoner.family import FAMILIES
from reasoner.folder import Notes
from reasoner.pixels import PatchSpec, fit, resize_image
from reasoner.prompt import Message
from reasoner.trace import TOP, Token

if TYPE_CHECKING:
    from reasoner.pixels import Pixels

MAX_REPLY = 8 << 20
"""Bytes of a reply that are read."""
JPEG_QUALITY = 92


class ServerBackend:
    """One server and model name. Each answer is its own connection, so calls from several threads run side by side."""

    def __init__(self, config: ReasonerConfig) -> None:
        parts = urlsplit(config.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelUnsupported("[reasoner] base_url is no http(s) address, as http://127.0.0.1:8000/v1")
        family = FAMILIES[config.family]
        self.name = config.model
        self.weights_sha256 = ""
        self.coordinates = family.coordinates
        self.notes: Notes | None = None
        self._host, self._port, self._tls = parts.hostname, parts.port, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._config = config
        self._spec = PatchSpec(
            patch_px=family.patch_px, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels
        )

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        body = {
            "model": self.name,
            "messages": list(self._filled(messages, pictures)),
            "max_tokens": self._config.max_new_tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        return read_reply(self._post(json.dumps(body).encode()), self._where)

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        return fit(width, height, self._spec)

    def close(self) -> None:
        """Nothing is kept open between answers."""

    @property
    def _where(self) -> str:
        return f"model server {self._host}:{self._port or (443 if self._tls else 80)}"

    def _filled(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Iterator[dict[str, Any]]:
        """Messages with each image placeholder replaced by a JPEG data URL, at the size the model sees."""
        left = iter(pictures)
        for message in messages:
            content = [
                {"type": "image_url", "image_url": {"url": self._data_url(next(left))}}
                if part["type"] == "image"
                else part
                for part in message["content"]
            ]
            yield {"role": message["role"], "content": content}

    def _data_url(self, picture: Pixels) -> str:
        from PIL import Image

        size = self.fitted(picture.shape[1], picture.shape[0])
        jpeg = io.BytesIO()
        Image.fromarray(resize_image(picture, size)).save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii")

    def _post(self, body: bytes) -> bytes:
        """One request within the configured time, all of it together. Foreign errors end here."""
        deadline = time.monotonic() + self._config.timeout_s
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._config.timeout_s)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._config.api_key:
            headers["Authorization"] = f"Bearer {self._config.api_key}"
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            reply = _read_until(response, connection.sock, deadline)
        except TimeoutError as error:
            raise ServerTimeout(
                f"{self._where} did not answer within {self._config.timeout_s:g} s; raise timeout_s or lower max_frames"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnavailable(
                f"{self._where} cannot be reached ({type(error).__name__}); start it or mend base_url"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise ServerRefused(self._refusal(response.status, reply))
        return reply

    def _refusal(self, status: int, reply: bytes) -> str:
        if status in (401, 403):
            return f"{self._where} refused the key (status {status}); set [reasoner] api_key"
        said = " ".join(reply[:300].decode("utf-8", "replace").split())
        if self._config.api_key:
            said = said.replace(self._config.api_key, "***")
        return f"{self._where} refused the request for model {self.name!r} (status {status}): {said}"


def _read_until(response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float) -> bytes:
    """The body, at most MAX_REPLY bytes; a server that drips bytes does not outlive the deadline."""
    pieces: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if sock is not None:
            sock.settimeout(left)
        piece = response.read1(65_536)
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > MAX_REPLY:
            raise http.client.HTTPException("reply too long")
        pieces.append(piece)


def read_reply(reply: bytes, where: str) -> Output:
    """A chat completion → Output. Raises ServerRefused for anything else."""
    try:
        document = json.loads(reply)
        choice = document["choices"][0]
        message = choice["message"]
        text = str(message.get("content") or "")
        thought = message.get("reasoning_content") or message.get("reasoning")
        tokens = tuple(_token(entry) for entry in (choice.get("logprobs") or {}).get("content") or ())
        usage = document.get("usage") or {}
        counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or len(tokens))
        finished = choice.get("finish_reason") == "stop"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerRefused(f"{where} sent no chat completion; base_url must be of an OpenAI-compatible API") from error
    if isinstance(thought, str) and thought and "</think>" not in text:
        # Servers with a reasoning parser take the thinking out of the text; the evidence is in there.
        text = f"<think>{thought}</think>\n{text}"
    return Output(text, tokens, *counts, finished)


def _token(entry: Mapping[str, Any]) -> Token:
    own = (str(entry["token"]), float(entry["logprob"]))
    top = tuple((str(other["token"]), float(other["logprob"])) for other in entry.get("top_logprobs") or ())
    return Token(*own, top if any(text == own[0] for text, _ in top) else (own, *top))
