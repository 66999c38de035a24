"""Who may ask the console, for what, and what every answer forbids the browser."""

from __future__ import annotations

import socket

import pytest

from tests.alerts.console_site import Site

# What is not there


@pytest.mark.parametrize(
    "path",
    [
        "/alerts/../../etc/passwd",
        "/alerts/..%2f..%2fetc%2fpasswd",
        "/alerts/%2e%2e/%2e%2e/witness.db",
        "/alerts/..%2f..%2fwitness.db/clip.mp4",
        "/alerts/../frames/0.jpg",
        "/alerts/{id}/frames/..%2f..%2f..%2fwitness.db",
        "/alerts/{id}/frames/../clip.mp4.jpg",
        "/alerts/{id}/frames/-1.jpg",
        "/alerts/{id}/frames/999.jpg",
        "/alerts/{id}/frames/99999999999999999999.jpg",
        "/alerts/{id}/frames/0.jpg%00.txt",
        "/alerts/{id}%00/clip.mp4",
        "/alerts/{ID}",
        "/alerts/{id}0",
        "/alerts/00000000-0000-0000-0000-000000000000",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/server.py",
        "/static//etc/passwd",
        "/static/page.html%00",
        "/docs",
        "//etc/passwd",
    ],
)
def test_only_what_an_alert_names_is_served(desk: Site, path: str) -> None:
    newest_id = desk.store.alerts(1)[0].alert_id
    target = path.replace("{id}", newest_id).replace("{ID}", newest_id.upper())
    assert raw(desk, f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{desk.server.port}").startswith(b"HTTP/1.1 404 ")


# Who may ask


@pytest.mark.parametrize(
    ("hosts", "served"),
    [
        (["localhost:{port}"], True),
        (["127.0.0.1:{port}"], True),
        (["127.0.0.1"], True),
        (["LOCALHOST:9"], True),  # the near end of a tunnel has another port
        (["[::1]:{port}"], True),
        (["evil.example"], False),
        (["evil.example:{port}"], False),
        (["localhost.evil.example"], False),
        (["127.0.0.1.evil.example"], False),
        (["127.0.0.1@evil.example"], False),
        (["evil.example#127.0.0.1"], False),
        (["192.0.2.7:{port}"], False),
        (["localhost:{port}/x"], False),
        (["localhost:x"], False),
        (["[::1"], False),
        ([""], False),
        (["localhost", "evil.example"], False),
    ],
)
def test_host_header(desk: Site, hosts: list[str], served: bool) -> None:
    lines = [f"Host: {host}".replace("{port}", str(desk.server.port)) for host in hosts]
    status = raw(desk, "GET /alerts HTTP/1.1", *lines).split(b" ", 2)[1]
    assert (status == b"200") is served
    assert served or status in (b"400", b"421")


def test_without_a_host_header_nothing_is_served(desk: Site) -> None:
    assert raw(desk, "GET /alerts HTTP/1.0").split(b" ", 2)[1] == b"421"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/alerts", "/events", "/healthz"])
def test_nothing_can_be_changed(desk: Site, method: str, path: str) -> None:
    assert desk.http.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/alerts", "/status", "/healthz", "/nowhere"])
def test_every_answer_binds_the_browser(desk: Site, path: str) -> None:
    headers = desk.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" and policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'" and policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"] and "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin" and "server" not in headers
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/page.js") else "no-store")


def test_the_page_needs_nothing_from_elsewhere(desk: Site) -> None:
    page = desk.get("/").text
    parts = [f"/static/{name}" for name in ("page.css", "page.js", "stage.js", "icon.svg")]
    for text in (page, *(desk.get(part).text for part in parts)):
        outside = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in outside and "https:" not in outside and "@import" not in outside
    assert "<style" not in page and " style=" not in page and " on" + "click" not in page
    assert page.count("<script") == 1 and "</script>" in page.split('src="/static/page.js">')[1][:10]


def raw(site: Site, *lines: str) -> bytes:
    """One request, byte for byte as given: a client library would tidy it up."""
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=10) as connection:
        connection.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer
