"""``authguard.starlette.requires``: what it locks."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import AUTHENTICATED, role
from authguard.asgi.locks import lock_marker
from authguard.starlette import requires
from tests.support.asgi import header_list, http_scope, run_app, websocket_scope
from tests.support.guards import PUBLIC_RULES, RecordingGuard

Lock: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

BOSS: Lock = requires(role("boss"))
ADMIN: Lock = requires(role("admin"))
FINE = PlainTextResponse("fine")


async def status(endpoint: Any, method: str = "GET") -> int:
    """What alice gets, whose role is admin, where no rule asks anything."""
    app = Starlette(routes=[Route("/", endpoint)])
    return (
        await run_app(
            RecordingGuard(rules=PUBLIC_RULES).wrap(app), http_scope(method=method, headers=header_list("Badge alice"))
        )
    ).status


async def both(make: Callable[[Any], Any], method: str = "GET") -> list[int]:
    """What she gets under a lock that she opens, and under one that she does not."""
    return [await status(make(lock), method) for lock in (ADMIN, BOSS)]


# --- What it locks ---------------------------------------------------------------------------------------------------


async def test_an_async_function() -> None:
    """It is awaited once the lock is open, and not called where it is closed."""
    calls: list[str] = []

    def make(lock: Lock) -> Any:
        @lock
        async def endpoint(request: Request) -> Response:
            calls.append(request.user.subject)
            return FINE

        return endpoint

    assert (await both(make), calls) == ([200, 403], ["alice"])


async def test_a_function_that_blocks() -> None:
    """It runs in a thread of the pool, as it does without a lock."""
    threads: list[threading.Thread] = []

    def make(lock: Lock) -> Any:
        @lock
        def endpoint(request: Request) -> Response:
            threads.append(threading.current_thread())
            return FINE

        return endpoint

    assert await both(make) == [200, 403]
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_lambda() -> None:
    """A function like any."""
    assert await both(lambda lock: lock(lambda request: FINE)) == [200, 403]


async def test_the_methods_of_an_endpoint_class() -> None:
    """Each by itself."""

    class Orders(HTTPEndpoint):
        @ADMIN
        async def get(self, request: Request) -> Response:
            return FINE

        @BOSS
        def post(self, request: Request) -> Response:
            return FINE

        def put(self, request: Request) -> Response:
            return FINE

    assert [await status(Orders, method) for method in ("GET", "POST", "PUT")] == [200, 403, 200]


async def test_static_methods() -> None:
    """Under the ``staticmethod``."""

    class Orders:
        @staticmethod
        @BOSS
        async def listed(request: Request) -> Response:
            return FINE

    assert await status(Orders.listed) == 403


@pytest.mark.parametrize(
    ("lock", "sent"), [(ADMIN, ["websocket.accept", "websocket.close"]), (BOSS, ["websocket.close"])]
)
async def test_websocket_endpoints(lock: Lock, sent: list[str]) -> None:
    """A function, and a method of a class."""

    @lock
    async def function(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    class Feed(WebSocketEndpoint):
        @lock
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.close()

    routes: list[BaseRoute] = [WebSocketRoute("/function", function), WebSocketRoute("/class", Feed)]
    app = RecordingGuard(rules=PUBLIC_RULES).wrap(Starlette(routes=routes))
    for path in ("/function", "/class"):
        answer = await run_app(app, websocket_scope(path, header_list("Badge alice")), {"type": "websocket.connect"})
        assert [message["type"] for message in answer.sent] == sent


async def test_an_endpoint_of_fastapi() -> None:
    """Which calls by keywords, and still reads the parameters of the function itself."""
    app = FastAPI()

    @app.get("/{number}")
    @ADMIN
    def order(number: int, request: Request) -> int:
        return number + 1

    @app.post("/{number}")
    @BOSS
    async def change(number: int, request: Request) -> int:
        return number

    behind = RecordingGuard(rules=PUBLIC_RULES)
    got = await behind.request(app, "/7")
    wrong = await behind.request(app, "/x")
    posted = await behind.request(app, "/7", method="POST")

    assert (got.status, got.body, wrong.status, posted.status) == (200, b"8", 422, 403)


async def test_several_locks() -> None:
    """All must open."""

    def make(lock: Any) -> Any:
        return ADMIN(lock(lambda request: FINE))

    assert await both(make) == [200, 403]
    assert [str(one.requirement) for one in lock_marker(make(BOSS))] == ["role(admin)", "role(boss)"]


def wrapping(endpoint: Any) -> Any:
    """A decorator as it should be."""

    @functools.wraps(endpoint)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await endpoint(*args, **kwargs)

    return wrapper


async def test_other_decorators_above_and_below() -> None:
    """The lock is found through both."""

    async def endpoint(request: Request) -> Response:
        return FINE

    above = wrapping(BOSS(endpoint))

    assert [await status(above), await status(BOSS(wrapping(endpoint))), await status(ADMIN(wrapping(endpoint)))] == [
        403,
        403,
        200,
    ]
    assert [str(one.requirement) for one in lock_marker(above)] == ["role(boss)"]


def test_the_function_looks_as_it_did() -> None:
    """Its name, its text and its signature."""

    async def endpoint(request: Request, number: int = 3) -> Response:
        """Orders."""
        return FINE

    locked = BOSS(endpoint)

    assert inspect.signature(locked) == inspect.signature(endpoint)
    assert (locked.__name__, locked.__doc__) == ("endpoint", "Orders.")
    assert lock_marker(endpoint) == ()


def test_a_lock_tells_where_it_was_laid() -> None:
    """For the audit: this file."""
    (lock,) = lock_marker(requires(AUTHENTICATED)(lambda request: FINE))

    assert lock.location.rpartition(":")[0] == __file__
