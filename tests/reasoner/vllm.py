"""A server that speaks as vLLM 0.31 does, over real sockets: it checks requests as vLLM checks them, answers as told,
and can be slow, broken or overloaded."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

KEY = "sk-test-4f1c9b2e"
MODEL = "Qwen/Qwen3-VL-8B-Instruct"
SAID = (
    "<think>The <obj>person</obj><box>[125,444,200,756]</box>at<t>1.0</t>s falls.</think>\n"
    "<answer>Yes. A person falls from 1.0s to 4.0s.</answer>"
)
LEAST = -9999.0
"""What vLLM writes for the logarithm of 0."""
Fault = Callable[["Handler"], None]


def completion(text: str, *, p_yes: float = 0.95, limit: int = 512, model: str = MODEL) -> dict[str, Any]:
    """Token by token, each with its likeliest alternatives; cut at `limit` tokens."""
    from math import log

    pieces = re.findall(r"</?\w+>|\w+|\s+|.", text, re.DOTALL)
    kept = pieces[:limit]
    content = []
    for piece in kept:
        odds = {"Yes": p_yes, "No": 1 - p_yes}
        top = {word: log(p) if p else LEAST for word, p in odds.items()} if piece in odds else {piece: -0.05, "x": -9.0}
        entries = [{"token": word, "logprob": value, "bytes": list(word.encode())} for word, value in top.items()]
        content.append({**next(e for e in entries if e["token"] == piece), "top_logprobs": entries})
    choice = {
        "index": 0, "message": {"role": "assistant", "content": "".join(kept), "reasoning": None, "tool_calls": []},
        "logprobs": {"content": content}, "finish_reason": "stop" if len(kept) == len(pieces) else "length",
        "stop_reason": None,
    }  # fmt: skip
    usage = {"prompt_tokens": 812, "completion_tokens": len(kept), "total_tokens": 812 + len(kept)}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
            "usage": usage}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Vllm

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model", "max_model_len": 32768} for name in self.server.models]
        self.send(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append({**body, "header": self.headers["X-Request-Id"], "path": self.path})
            fault = server.faults.pop(0) if server.faults else None
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        try:
            time.sleep(server.takes_s)
            fault(self) if fault else self.complete(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.lock:
                server.busy -= 1

    def complete(self, body: dict[str, Any]) -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.send(401, {"error": "Unauthorized"})
        if body["model"] not in self.server.models:
            return self.refuse(404, f"The model `{body['model']}` does not exist.")
        if body.get("structured_outputs") and not self.server.structured:
            return self.refuse(400, "structured_outputs: Extra inputs are not permitted")
        if body.get("continue_final_message"):
            if not self.server.continues or body.get("add_generation_prompt", True):
                return self.refuse(400, "Cannot set both `continue_final_message` and `add_generation_prompt`")
            word = "Yes" if self.server.p_yes >= 0.5 else "No"
            return self.send(200, completion(word + ".", p_yes=self.server.p_yes, limit=body["max_tokens"]))
        count = body.get("n") or 1
        if count > 1 and self.server.several == "refused":
            return self.refuse(400, "n must be 1")
        count = 1 if self.server.several == "ignored" else count
        replies = [
            completion(self.said(body, index), p_yes=self.server.p_yes, limit=body["max_tokens"])
            for index in range(count)
        ]
        reply = replies[0]
        reply["choices"] = [{**each["choices"][0], "index": index} for index, each in enumerate(replies)]
        reply["choices"].reverse()  # vLLM's come as they are done
        reply["usage"]["completion_tokens"] = sum(each["usage"]["completion_tokens"] for each in replies)
        return self.send(200, reply)

    def said(self, body: dict[str, Any], index: int) -> str:
        """As vLLM draws: an answer's number is added to the seed; other servers give one seed to all."""
        if not body["temperature"] or not self.server.drawn:
            return self.server.text
        number = index if self.server.several == "seeded" else 0
        return random.Random(body["seed"] + number).choice(self.server.drawn)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        self.send(status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}, **headers)

    def send(self, status: int, document: Any, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Vllm(ThreadingHTTPServer):
    """`faults`: what happens to the next requests, one each; after them it answers `text`, or with a temperature one of
    `drawn`. `several`: what it does when several answers are asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, text: str = SAID, *, faults: Sequence[Fault] = (), p_yes: float = 0.95, takes_s: float = 0.0,
                 structured: bool = True, continues: bool = True, drawn: Sequence[str] = (),
                 several: Literal["seeded", "one seed", "ignored", "refused"] = "seeded") -> None:  # fmt: skip
        self.text, self.faults, self.p_yes, self.takes_s = text, list(faults), p_yes, takes_s
        self.structured, self.continues = structured, continues
        self.drawn, self.several = drawn, several
        self.models = [MODEL, "other/model"]
        self.asked: list[dict[str, Any]] = []
        self.busy = self.most_busy = self.connections = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up."""


def overloaded(handler: Handler) -> None:
    handler.refuse(503, f"overloaded, key {KEY} over quota\nretry")


def too_many(handler: Handler) -> None:
    handler.refuse(429, "slow down", Retry_After="0.3")


def crashed(handler: Handler) -> None:
    handler.refuse(500, "EngineCore encountered an issue")


def resets(handler: Handler) -> None:
    """As a process that is killed: nothing, then a reset."""
    import socket
    import struct

    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def half(handler: Handler) -> None:
    body = json.dumps(completion(SAID)).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def no_completion(handler: Handler) -> None:
    handler.send(200, {"choices": []})


def no_json(handler: Handler) -> None:
    handler.send(200, b"<html>hello</html>")


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def silent(handler: Handler) -> None:
    time.sleep(1.5)


def drips(handler: Handler) -> None:
    """A byte now and then: no time-out of a socket ever ends it."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(15):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def drips_headers(handler: Handler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n":
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.1)
