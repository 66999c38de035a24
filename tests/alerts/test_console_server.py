"""Where the console listens, and that it stops."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from alerts.console.errors import BindRefused, ConsoleError, PortInUse
from alerts.console.feed import Feed
from alerts.console.server import ConsoleServer
from tests.alerts.console_site import serving

NOTHING = Starlette()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "10.0.0.5", ""])
def test_a_bind_beyond_loopback_is_refused(host: str) -> None:
    with pytest.raises(BindRefused) as refused:
        ConsoleServer(NOTHING, Feed(), host=host, port=0)
    assert "\n" not in str(refused.value) and "127.0.0.1" in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_a_bind_beyond_loopback_can_be_wanted() -> None:
    server = ConsoleServer(NOTHING, Feed(), host="0.0.0.0", port=0, allow_remote=True)
    with server:
        assert httpx.get(f"http://127.0.0.1:{server.port}/").status_code == 404


@pytest.mark.parametrize("host", ["no such host", "host.invalid", "a" * 300])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(BindRefused, match="no address"):
        ConsoleServer(NOTHING, Feed(), host=host, port=0)


def test_a_port_in_use_is_named_in_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse) as refused:
            ConsoleServer(NOTHING, Feed(), port=port)
    assert str(port) in str(refused.value) and "\n" not in str(refused.value)
    assert isinstance(refused.value, OSError) and isinstance(refused.value, ConsoleError)


def test_the_port_is_free_again_after_a_stop_with_live_clients(tmp_path: Path) -> None:
    threads = threading.active_count()
    with serving(tmp_path) as site:
        port = site.server.port
        with httpx.stream("GET", f"{site.server.url}events", timeout=10) as live:
            lines = live.iter_lines()
            assert next(lines).startswith("retry:")
            began = time.monotonic()
            assert site.server.stop()
            assert time.monotonic() - began < 3
            assert all(not line.startswith("event: alert") for line in lines)
    again = ConsoleServer(NOTHING, Feed(), port=port)
    with again:
        assert again.port == port
    assert threading.active_count() <= threads + 1  # the event loop's pool may leave an idle worker for a moment


def test_the_records_load_no_web_server() -> None:
    code = (
        "import sys; import alerts.console.status, alerts.console.feed, alerts.console.server, alerts.console.errors;"
        "print([m for m in ('uvicorn', 'starlette', 'av', 'torch', 'numpy', 'aiokafka') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
