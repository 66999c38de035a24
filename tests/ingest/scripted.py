"""An RTSP server that says exactly what a test wants it to say, and counts who came."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Script = Callable[[str, str], bytes | None]
"""(method, whole request) → the answer; None: silence."""


def answer(status: str, headers: str = "", body: bytes = b"") -> bytes:
    head = f"RTSP/1.0 {status}\r\nCSeq: 1\r\n{headers}"
    if body:
        head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class ScriptedServer:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[str] = []
        self._links: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def methods(self) -> list[str]:
        return [request.split(" ", 1)[0] for request in self.requests]

    def url(self, credentials: str = "") -> str:
        return f"rtsp://{credentials}127.0.0.1:{self.port}/cam"

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.append(link)
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        held = b""
        try:
            while part := link.recv(4096):
                held += part
                while b"\r\n\r\n" in held:
                    request, _, held = held.partition(b"\r\n\r\n")
                    text = request.decode()
                    self.requests.append(text)
                    reply = self._script(text.split(" ", 1)[0], text)
                    if reply is not None:
                        link.sendall(reply)
        except OSError:
            return

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        for link in (self._listener, *self._links):
            link.close()
