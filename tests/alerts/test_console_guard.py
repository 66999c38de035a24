"""The guard and the slots as ASGI: clients that stop reading, sockets of another kind, answers beyond the bound."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from alerts.console.clip import Slots
from alerts.console.guard import Guard

HTTP: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})


async def short(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody wakes this")


def test_a_client_that_stops_reading_is_let_go() -> None:
    taken: list[Message] = []

    async def stuck(message: Message) -> None:
        if len(taken) == 3:
            await asyncio.Event().wait()
        taken.append(message)

    guard = Guard(endless, send_timeout_s=0.05)
    asyncio.run(asyncio.wait_for(guard(HTTP, silence, stuck), 5))
    assert guard.let_go == 1 and len(taken) == 3


def test_no_websocket_is_accepted() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "websocket", "path": "/events", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(endless)(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def status(guard: Guard, *hosts: str) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard({**HTTP, "headers": [(b"host", host.encode()) for host in hosts]}, silence, send))
    return int(sent[0]["status"])


def test_one_host_header_no_more_no_less() -> None:
    """The server in front refuses two of them as well; another one might not."""
    assert status(Guard(short)) == 421
    assert status(Guard(short), "localhost") == 200
    assert status(Guard(short), "localhost", "evil.example") == 421


def test_an_own_name_and_any_address_are_served_only_where_wanted() -> None:
    closed, opened = Guard(short), Guard(short, hosts=["Witness.Example"], any_address=True)
    for host, shut, wide in (
        ("localhost", 200, 200),
        ("192.0.2.7:8080", 421, 200),
        ("[2001:db8::7]:8080", 421, 200),
        ("witness.example", 421, 200),
        ("evil.example", 421, 421),
    ):
        assert (status(closed, host), status(opened, host)) == (shut, wide), host


def test_slots_refuse_what_does_not_fit_and_are_given_back() -> None:
    async def story() -> None:
        slots, go = Slots(2), asyncio.Event()
        started = 0

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal started
            started += 1
            await go.wait()

        statuses: list[int] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        running = [asyncio.ensure_future(slots.hold(waiting)(HTTP, silence, send)) for _ in range(2)]
        await asyncio.sleep(0.01)
        await slots.hold(waiting)(HTTP, silence, send)
        assert statuses == [503] and slots.refused == 1 and started == 2
        running[0].cancel()
        go.set()
        await asyncio.gather(*running, return_exceptions=True)
        await slots.hold(waiting)(HTTP, silence, send)
        assert started == 3

    asyncio.run(story())
