"""The OpenAI-compatible backend against a real HTTP server that speaks that interface, well or badly."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from detector.rule import Rule
from detector.window import Window
from reasoner.backends.openai import ServerBackend
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelUnsupported, ReasonerError, ServerRefused, ServerTimeout, ServerUnavailable
from reasoner.pictures import decode
from reasoner.prompt import messages
from reasoner.reason import Reasoner

KEY = "sk-test-4f1c9b2e"
SAID = (
    "<think>The <obj>person</obj><box>[125,444,200,756]</box>at<t>1.0</t>s falls.</think>\n"
    "<answer>Yes. A person falls from 1.0s to 4.0s.</answer>"
)


def completion(text: str) -> dict[str, Any]:
    """A chat completion as vLLM sends it: token by token, each with its likeliest alternatives."""
    pieces = ["<think>", "The", " rest", "</think>", "\n", "<answer>", "Yes", ".", "</answer>"]
    content = []
    for piece in pieces:
        other = {"Yes": ("No", -3.0), "The": ("Nothing", -4.0)}.get(piece, ("x", -9.0))
        top = [
            {"token": piece, "logprob": -0.05, "bytes": None},
            {"token": other[0], "logprob": other[1], "bytes": None},
        ]
        content.append({"token": piece, "logprob": -0.05, "bytes": None, "top_logprobs": top})
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [{**choice, "logprobs": {
            "content": content}}], "usage": {"prompt_tokens": 812, "completion_tokens": 9, "total_tokens": 821},
    }  # fmt: skip


class Server(ThreadingHTTPServer):
    """Answers as `behave` says and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, behave: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.asked.append(json.loads(body))
                owner.headers.append({**dict(self.headers), "path": self.path})
                try:
                    behave(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", 0), Handler)

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def well(handler: BaseHTTPRequestHandler) -> None:
    if handler.headers["Authorization"] != f"Bearer {KEY}":
        send(handler, 401, b'{"error": "Unauthorized"}')
    else:
        send(handler, 200, json.dumps(completion(SAID)).encode())


def overloaded(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 503, json.dumps({"error": {"message": f"overloaded, key {KEY} over quota\nretry"}}).encode())


def no_completion(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, b'{"choices": []}')


def no_json(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, b"<html>hello</html>")


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(30):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], Server]]:
    servers: list[Server] = []

    def start(behave: Callable[[BaseHTTPRequestHandler], None]) -> Server:
        server = Server(behave)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], Server]


def config(url: str, **more: Any) -> ReasonerConfig:
    return ReasonerConfig(model="Qwen/Qwen3-VL-8B-Instruct", backend="openai", base_url=url, api_key=KEY, **more)


def test_a_window_is_reasoned_over_on_a_server(serve: Serve, crossing: Callable[..., Window], rule: Rule) -> None:
    server = serve(well)
    verdict = Reasoner.load(config(server.url())).reason(crossing(), rule, {}, "Gate 1")
    assert verdict.decision == "confirmed"
    assert verdict.evidence[0].frame == 2
    expected = np.exp(-0.05) / (np.exp(-0.05) + np.exp(-3.0))
    assert verdict.confidence.components["vlm_token"] == pytest.approx(expected, abs=1e-4)
    assert (verdict.model.tokens_in, verdict.model.tokens_out) == (812, 9)
    asked = server.asked[0]
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert (asked["temperature"], asked["logprobs"], asked["model"]) == (0, True, "Qwen/Qwen3-VL-8B-Instruct")
    parts = asked["messages"][1]["content"]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert len(images) == 12
    assert [p["text"] for p in parts if p["type"] == "text"][:3] == ["Frame 1 at 0.0s: ", "\n", "Frame 2 at 0.5s: "]
    head, data = images[0].split(",", 1)
    assert head == "data:image/jpeg;base64"
    picture = decode(base64.b64decode(data), "frame")
    assert picture.shape[0] % 32 == 0
    assert picture.shape[1] % 32 == 0


FAULTS: list[tuple[Callable[[BaseHTTPRequestHandler], None], type[ReasonerError], type[Exception], str]] = [
    (overloaded, ServerRefused, RuntimeError, "503"),
    (no_completion, ServerRefused, RuntimeError, "no chat completion"),
    (no_json, ServerRefused, RuntimeError, "no chat completion"),
    (hangs_up, ServerUnavailable, ConnectionError, "cannot be reached"),
    (silent, ServerTimeout, TimeoutError, "within 0.5 s"),
    (drips, ServerTimeout, TimeoutError, "within 0.5 s"),
]


@pytest.mark.parametrize(("behave", "kind", "base", "words"), FAULTS, ids=[row[0].__name__ for row in FAULTS])
def test_a_bad_server_is_one_line(
    serve: Serve,
    behave: Callable[[BaseHTTPRequestHandler], None],
    kind: type[ReasonerError],
    base: type[Exception],
    words: str,
) -> None:
    backend = ServerBackend(config(serve(behave).url(), timeout_s=0.5))
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        backend.answer(messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])
    assert time.monotonic() - started < 2.5
    assert isinstance(caught.value, base)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_wrong_key_is_said_and_not_shown(serve: Serve) -> None:
    backend = ServerBackend(
        ReasonerConfig(model="m", backend="openai", base_url=serve(well).url(), api_key="sk-wrong-11112222")
    )
    with pytest.raises(ServerRefused, match="refused the key") as caught:
        backend.answer(messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])
    assert "sk-wrong" not in str(caught.value)


def test_a_server_that_is_down(serve: Serve) -> None:
    server = serve(well)
    url = server.url()
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1"):
        ServerBackend(config(url)).answer(messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])


def test_thinking_that_a_server_took_out_is_put_back(serve: Serve) -> None:
    def split(handler: BaseHTTPRequestHandler) -> None:
        reply = completion("<answer>Yes.</answer>")
        reply["choices"][0]["message"]["reasoning_content"] = "The <obj>man</obj><box>[1,2,3,4]</box>at<t>1</t>s"
        del reply["choices"][0]["logprobs"]
        send(handler, 200, json.dumps(reply).encode())

    output = ServerBackend(config(serve(split).url())).answer(
        messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)]
    )
    assert output.text.startswith("<think>The <obj>man</obj>")
    assert output.text.endswith("</think>\n<answer>Yes.</answer>")
    assert output.tokens == ()


def test_settings_are_checked_and_keep_the_secret() -> None:
    assert KEY not in repr(config("http://127.0.0.1:1/v1"))
    with pytest.raises(ValueError, match="needs base_url"):
        ReasonerConfig(model="m", backend="openai")
    with pytest.raises(ValueError, match="name of the model"):
        ReasonerConfig(backend="openai", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ModelUnsupported, match="http"):
        ServerBackend(config("ftp://127.0.0.1/v1"))
    assert ServerBackend(config("http://127.0.0.1:1/v1", family="qwen2_5_vl")).coordinates == "pixels"
