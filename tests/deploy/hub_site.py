"""A site that speaks the hub's protocol over real sockets: listings, LFS hashes, redirects to a store, ranges; and
that breaks off, lies or is busy where a test says so."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
LATER = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"


class Site:
    """What it serves and how it behaves; `seen` are the requests that came: (path, Range, Authorization)."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = name
        self.files = files
        self.refs = {"main": COMMIT, COMMIT: COMMIT}
        self.seen: list[tuple[str, str | None, str | None]] = []
        self.cut_after: list[int] = []
        """Bytes after which the next answers with weights break off."""
        self.hold = threading.Event()
        """Set: a broken-off answer ends its connection. Not set: it hangs."""
        self.hold.set()
        self.busy = 0
        """Answers that are a 503 first."""
        self.spoilt: dict[str, int] = {}
        """File → how many times its first byte is wrong."""
        self.redirect = "/store/{file}"
        self.ranges = True
        self.stated: dict[str, Any] = {}
        """Fields of the listing's entries that are other than true, by file."""
        self.url = ""

    def listing(self, commit: str) -> dict[str, Any]:
        entries = []
        for name, content in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(content)}
            if name.endswith((".safetensors", ".bin")) or name == "tokenizer.json":
                digest = hashlib.sha256(content).hexdigest()
                entry |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(content), "pointerSize": 134}}
            else:
                entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entries.append(entry | self.stated.get(name, {}))
        return {"id": self.name, "sha": commit, "siblings": entries, "tags": ["safetensors"], "gated": False}


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.seen.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
            if site.busy:
                site.busy -= 1
                return self.plain(503, b"", {"Retry-After": "0"})
            path = unquote(urlsplit(self.path).path)
            api = f"/api/models/{site.name}/revision/"
            if path.startswith(api):
                commit = site.refs.get(path.removeprefix(api))
                if commit is None or parse_qs(urlsplit(self.path).query).get("blobs") != ["true"]:
                    return self.plain(404, b'{"error": "Revision Not Found"}')
                return self.plain(200, json.dumps(site.listing(commit)).encode())
            parts = path.split("/resolve/")
            if len(parts) == 2 and parts[0] == f"/{site.name}":
                name = parts[1].partition("/")[2]
                where = site.redirect.format(file=name, url=site.url)
                digest = hashlib.sha256(site.files[name]).hexdigest()
                return self.plain(302, b"", {"Location": where, "X-Linked-Etag": digest, "X-Repo-Commit": COMMIT})
            if path.startswith("/store/"):
                return self.content(path.removeprefix("/store/"))
            return self.plain(404, b"")

        def plain(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def content(self, name: str) -> None:
            body = site.files[name]
            if site.spoilt.get(name, 0):
                site.spoilt[name] -= 1
                body = b"\xff" + body[1:]
            asked = self.headers.get("Range") if site.ranges else None
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            rest = body[begin:]
            if name.endswith(".safetensors") and site.cut_after:
                self.wfile.write(rest[: site.cut_after.pop(0)])
                self.wfile.flush()
                site.hold.wait(60)
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.wfile.write(rest)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def files_of(folder: Path) -> dict[str, bytes]:
    """A model folder as what a site serves."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
