"""The console as an ASGI application: the page, the alerts as JSON, their evidence, and live updates.

`GET /` page · `/static/{name}` its parts · `/alerts?limit=&before=` newest first · `/alerts/{id}` one record ·
`/alerts/{id}/frames/{n}.jpg` evidence frame n (its `frame.index_in_window`) · `/alerts/{id}/counter/{n}.jpg` the same
of counter-evidence · `/alerts/{id}/clip.mp4` (Range) ·
`/events` server-sent events · `/status` cameras, Kafka, windows · `/healthz`. Everything is read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from importlib.resources import files

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from alerts.console import clip
from alerts.console.errors import EvidenceAltered, TooManyClients
from alerts.console.feed import Feed
from alerts.console.guard import Guard
from alerts.console.shelf import Shelf
from alerts.console.status import ConsoleStatus, StatusBoard
from alerts.console.stream import EventStream
from alerts.errors import StoreError
from alerts.store import Store

_PAGE_ALERTS, _MOST_ALERTS = 30, 100
_CLIPS_AT_ONCE = 8
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def build_app(
    store: Store,
    status: Callable[[], ConsoleStatus],
    feed: Feed | None = None,
    *,
    hosts: Collection[str] = (),
    any_address: bool = False,
) -> Starlette:
    """The console over a store.

    `status` is asked from a worker thread at most once a second. `feed` is told of each new revision by whoever writes
    the store (`store.watch(lambda alert: feed.publish(alert.alert_id, alert.revision))`); without one the page shows
    what a reload shows. `hosts` are further names by which browsers may call the console, besides localhost;
    `any_address` also takes every IP literal, for a console that listens on a network.
    """
    routes = _Routes(Shelf(store), StatusBoard(status), feed or Feed())
    return Starlette(
        routes=[
            Route("/", routes.page),
            Route("/static/{name}", routes.static),
            Route("/healthz", routes.healthz),
            Route("/status", routes.status),
            Route("/events", routes.events),
            Route("/alerts", routes.alerts),
            Route("/alerts/{alert_id}", routes.alert),
            Route("/alerts/{alert_id}/frames/{index:int}.jpg", routes.frame),
            Route("/alerts/{alert_id}/counter/{index:int}.jpg", routes.counter_frame),
            Route("/alerts/{alert_id}/clip.mp4", routes.clip),
        ],
        middleware=[Middleware(Guard, hosts=hosts, any_address=any_address)],
        exception_handlers={EvidenceAltered: _altered, StoreError: _unreadable},
    )


class _Routes:
    """Plain methods run in a worker thread (they read the store); `async` ones in the event loop."""

    def __init__(self, shelf: Shelf, board: StatusBoard, feed: Feed) -> None:
        self._shelf, self._board, self._feed = shelf, board, feed
        self._clips = clip.Slots(_CLIPS_AT_ONCE)
        self._parts = _static_parts()

    def page(self, request: Request) -> Response:
        return self._parts["page.html"]

    def static(self, request: Request) -> Response:
        part = self._parts.get(request.path_params["name"])
        if part is None:
            raise HTTPException(404, "no such part of the page")
        if request.headers.get("if-none-match") == part.headers["etag"]:
            return Response(status_code=304, headers={"etag": part.headers["etag"], "cache-control": "no-cache"})
        return part

    def healthz(self, request: Request) -> Response:
        return _json({"status": "ok"})

    def status(self, request: Request) -> Response:
        return Response(self._board.json(), media_type="application/json")

    async def events(self, request: Request) -> ASGIApp | Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        try:
            subscription = self._feed.subscribe(after)
        except TooManyClients as reason:
            return PlainTextResponse(f"{reason}\n", 503, {"retry-after": "5"})
        return EventStream(self._feed, subscription, self._board)

    def alerts(self, request: Request) -> Response:
        asked = request.query_params.get("limit", str(_PAGE_ALERTS))
        limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0
        if not 1 <= limit <= _MOST_ALERTS:
            raise HTTPException(400, f"limit is a number from 1 to {_MOST_ALERTS}")
        before = request.query_params.get("before")
        if before is not None and self._shelf.alert(before) is None:
            raise HTTPException(404, "no such alert")
        alerts, older = self._shelf.page(limit, before)
        return _json({"alerts": alerts, "next": older})

    def alert(self, request: Request) -> Response:
        alert = self._shelf.alert(request.path_params["alert_id"])
        if alert is None:
            raise HTTPException(404, "no such alert")
        if request.headers.get("accept", "").startswith("text/html"):
            return self._parts["page.html"]  # the link in a message, opened by a person: the page shows this alert
        return _json(alert)

    def frame(self, request: Request) -> Response:
        return _jpeg(self._shelf.frame(request.path_params["alert_id"], request.path_params["index"]))

    def counter_frame(self, request: Request) -> Response:
        return _jpeg(self._shelf.counter_frame(request.path_params["alert_id"], request.path_params["index"]))

    async def clip(self, request: Request) -> ASGIApp | Response:
        path = await run_in_threadpool(self._shelf.clip, request.path_params["alert_id"])
        if path is None:
            raise HTTPException(404, "no clip")
        return self._clips.hold(clip.answer(request, path))


def _static_parts() -> dict[str, Response]:
    """The page and its parts, read once: what is not in this dictionary is not served."""
    parts = {}
    for file in files("alerts.console").joinpath("static").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix not in _TYPES:
            continue
        body = file.read_bytes()
        etag = {"etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"', "cache-control": "no-cache"}
        parts[file.name] = Response(body, headers=etag, media_type=_TYPES[suffix])
    return parts


def _jpeg(content: bytes | None) -> Response:
    if content is None:
        raise HTTPException(404, "no such evidence frame")
    return Response(content, media_type="image/jpeg")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _altered(request: Request, reason: Exception) -> Response:
    """An altered picture is never shown as evidence."""
    return PlainTextResponse(f"{reason}\n", 409)


def _unreadable(request: Request, reason: Exception) -> Response:
    return PlainTextResponse(f"{reason}\n", 503)
