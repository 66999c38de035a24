"""The model on an OpenAI-compatible server, such as vLLM or SGLang: frames as images with their own time texts."""

from __future__ import annotations

import io
import json
import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reasoner.backends import Output, grammar, retry
from reasoner.backends.completion import GREEDY, OPENED, drawn, filled, glance, read_replies, wants_evidence
from reasoner.backends.several import several
from reasoner.backends.subject import request_id
from reasoner.backends.wire import BROKEN_OFF, FAULTS, Reply, Wire
from reasoner.config import ReasonerConfig
from reasoner.errors import ServerRefused, ServerTimeout, ServerUnavailable
from reasoner.family import FAMILIES
from reasoner.folder import Notes
from reasoner.pixels import PatchSpec, fit, resize_image
from reasoner.prompt import Message
from reasoner.trace import Token, yes_probability

if TYPE_CHECKING:
    from reasoner.pixels import Pixels

log = logging.getLogger(__name__)

JPEG_QUALITY = 92
NOT_UNDERSTOOD = frozenset({400, 422})
"""Statuses with which a server turns down a field that it does not know."""
MAX_NAMED = 5
"""Models of a server that an error names."""


COUNTED = ("requests", "retries", "timeouts", "waits", "waited_s", "early")
"""What a server cost so far: requests sent, of these retries; answers given up at their deadline (the connection is
closed with them, so what still comes is dropped unread); answers that found all requests in use, and how long they
waited; answers that ended with the first token."""


class ServerBackend:
    """One server and model name; as many requests at once as configured, the others wait."""

    def __init__(self, config: ReasonerConfig) -> None:
        family = FAMILIES[config.family]
        self.name = config.model
        self.weights_sha256 = ""
        self.coordinates = family.coordinates
        self.notes: Notes | None = None
        self.counts: dict[str, float] = dict.fromkeys(COUNTED, 0)
        self._config = config
        self._spec = PatchSpec(
            patch_px=family.patch_px, min_pixels=config.min_frame_pixels, max_pixels=config.max_frame_pixels
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if config.api_key:
            headers["Authorization"] = f"Bearer {config.api_key}"
        self._wire = Wire(config.base_url, headers)
        self._where = f"model server {self._wire.where}"
        self._slots = threading.BoundedSemaphore(config.max_requests)
        self._counting = threading.Lock()
        self._closed = threading.Event()
        self._constraint = grammar.constraint(config.structured, self.coordinates)
        self._glances = config.early_exit
        self._several = True
        """Whether one request may ask for several answers."""

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        """Everything within `timeout_s`: the wait for a free request, every attempt and the pauses between them."""
        deadline_s = time.monotonic() + self._config.timeout_s
        said = filled(messages, pictures, self._jpeg)
        whole = wants_evidence(messages)
        with self._slot(deadline_s):
            early = self._glance(said, deadline_s) if whole and self._glances else None
            return early or self._outputs(self._complete(said, whole, deadline_s))[0]

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        """All within `timeout_s`, as one answer."""
        deadline_s = time.monotonic() + self._config.timeout_s
        said = filled(messages, pictures, self._jpeg)
        whole = wants_evidence(messages)

        def ask(first: int, number: int) -> list[Output]:
            reply = self._complete(said, whole, deadline_s, drawn(temperature, seed + first, number))
            return [] if number > 1 and reply.status in NOT_UNDERSTOOD else self._outputs(reply)[:number]

        with self._slot(deadline_s):
            outputs, apart = several(ask, count, at_once=self._several)
        if apart:
            log.warning("%s %s; they are asked for one by one from now on", self._where, apart)
            self._several = False
        return outputs

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        return fit(width, height, self._spec)

    def close(self) -> None:
        self._closed.set()
        self._wire.close()

    def probe(self) -> str:
        """Ask which models there are. Raises ServerRefused when ours is not among them, and names those that are."""
        reply = self._ask("GET", "/models", None, time.monotonic() + self._config.timeout_s)
        try:
            models = {str(each["id"]): each.get("max_model_len") for each in json.loads(reply.body)["data"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if reply.status != 200:
                raise ServerRefused(self._refusal(reply)) from None
            raise ServerRefused(
                f"{self._where} has no list of models; base_url ends with the version, as /v1"
            ) from error
        if self.name not in models:
            names = ", ".join(sorted(models)[:MAX_NAMED]) or "no model at all"
            raise ServerRefused(f"{self._where} does not serve {self.name!r} but {names}; mend [reasoner] model")
        limit = models[self.name]
        return f"{self._where} serves {self.name}" + (f", at most {limit} tokens a window" if limit else "")

    def _complete(
        self,
        said: Sequence[Mapping[str, Any]],
        whole: bool,
        deadline_s: float,
        draw: Mapping[str, Any] | None = None,
    ) -> Reply:
        """whole: whether the answer is held to the form of an answer with evidence."""
        constraint = self._constraint if whole else {}
        fields: dict[str, Any] = {"messages": said, "max_tokens": self._config.max_new_tokens, **(draw or {})}
        reply = self._post({**fields, **constraint}, deadline_s)
        if constraint and reply.status in NOT_UNDERSTOOD:
            reply = self._post(fields, deadline_s)
            if reply.status == 200:
                log.warning("%s does not hold a model to a form; it is asked without from now on", self._where)
                self._constraint = {}
        return reply

    def _glance(self, said: Sequence[Mapping[str, Any]], deadline_s: float) -> Output | None:
        """An answer that ends with its first word, where that is a sure no; else None: the whole answer is needed."""
        reply = self._post(glance(said), deadline_s)
        if reply.status in NOT_UNDERSTOOD:
            log.warning("%s does not go on with an answer that is begun; no early exit from now on", self._where)
            self._glances = False
            return None
        seen = self._outputs(reply)[0]
        tokens = (Token("<answer>", 0.0, (("<answer>", 0.0),)), *seen.tokens[:1])
        p = yes_probability(tokens)
        if p is None or not p < self._config.early_exit_below:
            return None
        self._count(early=1)
        return seen._replace(text=f"{OPENED}{seen.tokens[0].text}</answer>", tokens=tokens, finished=True)

    def _outputs(self, reply: Reply) -> list[Output]:
        if reply.status != 200:
            raise ServerRefused(self._refusal(reply))
        return read_replies(reply.body, self._where)

    def _post(self, fields: Mapping[str, Any], deadline_s: float) -> Reply:
        return self._ask("POST", "/chat/completions", {"model": self.name, **GREEDY, **fields}, deadline_s)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, deadline_s: float) -> Reply:
        """Attempts until one is answered, or the time is over. Foreign errors end here."""
        attempt = crashes = 0
        while True:
            name = request_id()
            self._count(requests=1)
            data = None if body is None else json.dumps({**body, "request_id": name}).encode()
            asked_s = None
            try:
                reply = self._wire.send(method, path, data, {"X-Request-Id": name}, deadline_s)
                if not retry.again(reply.status, crashes):
                    return reply
                crashes += reply.status == retry.CRASHED
                why, asked_s = f"is overloaded (status {reply.status})", reply.retry_after_s
            except TimeoutError as error:
                raise self._late("did not answer within") from error
            except BROKEN_OFF as error:
                why = f"breaks off ({type(error).__name__})"
            except FAULTS as error:
                raise ServerUnavailable(
                    f"{self._where} cannot be reached ({type(error).__name__}); start it or mend base_url"
                ) from error
            pause_s = retry.pause_s(attempt, asked_s, random.random)
            if time.monotonic() + pause_s + retry.LEAST_LEFT_S > deadline_s or self._closed.wait(pause_s):
                raise ServerUnavailable(f"{self._where} {why}, after {attempt + 1} attempts; give it more room or time")
            self._count(retries=1)
            attempt += 1

    @contextmanager
    def _slot(self, deadline_s: float) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            started_s = time.monotonic()
            free = self._slots.acquire(timeout=max(0.0, deadline_s - started_s))
            self._count(waits=1, waited_s=time.monotonic() - started_s)
            if not free:
                raise self._late(f"had all {self._config.max_requests} requests in use for")
        try:
            yield
        finally:
            self._slots.release()

    def _late(self, what: str) -> ServerTimeout:
        self._count(timeouts=1)
        return ServerTimeout(f"{self._where} {what} {self._config.timeout_s:g} s; raise timeout_s or lower max_frames")

    def _refusal(self, reply: Reply) -> str:
        if reply.status in (401, 403):
            return f"{self._where} refused the key (status {reply.status}); set [reasoner] api_key"
        said = " ".join(reply.body[:300].decode("utf-8", "replace").split())
        if self._config.api_key:
            said = said.replace(self._config.api_key, "***")
        return f"{self._where} refused the request for model {self.name!r} (status {reply.status}): {said}"

    def _jpeg(self, picture: Pixels) -> bytes:
        """At the size the model sees, so that nothing is resized twice."""
        from PIL import Image

        size = self.fitted(picture.shape[1], picture.shape[0])
        jpeg = io.BytesIO()
        Image.fromarray(resize_image(picture, size)).save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return jpeg.getvalue()

    def _count(self, **more: float) -> None:
        with self._counting:
            for name, number in more.items():
                self.counts[name] += number
