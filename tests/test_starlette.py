"""What ``authguard.starlette.requires`` locks."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import AUTHENTICATED
from authguard.asgi.locks import lock_marker
from authguard.starlette import requires
from tests.support.asgi import header_list, run_app, websocket_scope
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.locks import ADMIN, BOSS, FINE, Lock, status


async def both_statuses(make: Callable[[Any], Any], method: str = "GET") -> list[int]:
    """The status behind a lock that alice meets, and behind one that she does not."""
    return [await status(make(lock), method) for lock in (ADMIN, BOSS)]


# --- What it locks ---------------------------------------------------------------------------------------------------


async def test_an_async_function() -> None:
    """A locked async function is awaited if the lock passes, and not called otherwise."""
    calls: list[str] = []

    def make(lock: Lock) -> Any:
        @lock
        async def endpoint(request: Request) -> Response:
            calls.append(request.user.subject)
            return FINE

        return endpoint

    assert (await both_statuses(make), calls) == ([200, 403], ["alice"])


async def test_a_function_that_blocks() -> None:
    """A locked sync function runs in a worker thread, as it does without a lock."""
    threads: list[threading.Thread] = []

    def make(lock: Lock) -> Any:
        @lock
        def endpoint(request: Request) -> Response:
            threads.append(threading.current_thread())
            return FINE

        return endpoint

    assert await both_statuses(make) == [200, 403]
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_lambda() -> None:
    """A lambda can be locked like any other function."""
    assert await both_statuses(lambda lock: lock(lambda request: FINE)) == [200, 403]


async def test_the_methods_of_an_endpoint_class() -> None:
    """Each method of an endpoint class has its own lock."""

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
    """A static method is locked below ``staticmethod``."""

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
    """A function and a method of a class can be locked as a WebSocket endpoint."""

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
    """FastAPI calls a locked endpoint by keywords, and still reads the parameters of the function itself."""
    app = FastAPI()

    @app.get("/{number}")
    @ADMIN
    def order(number: int, request: Request) -> int:
        return number + 1

    @app.post("/{number}")
    @BOSS
    async def change(number: int, request: Request) -> int:
        return number

    guard = RecordingGuard(rules=PUBLIC_RULES)
    got = await guard.request(app, "/7")
    wrong = await guard.request(app, "/x")
    posted = await guard.request(app, "/7", method="POST")

    assert (got.status, got.body, wrong.status, posted.status) == (200, b"8", 422, 403)


async def test_several_locks() -> None:
    """A request must meet all locks of an endpoint."""

    def make(lock: Any) -> Any:
        return ADMIN(lock(lambda request: FINE))

    assert await both_statuses(make) == [200, 403]
    assert [str(lock.requirement) for lock in lock_marker(make(BOSS))] == ["role(admin)", "role(boss)"]


def wrapping(endpoint: Any) -> Any:
    """A decorator that uses ``functools.wraps``."""

    @functools.wraps(endpoint)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await endpoint(*args, **kwargs)

    return wrapper


async def test_other_decorators_above_and_below() -> None:
    """A lock among other decorators runs, and the audit finds it."""

    async def endpoint(request: Request) -> Response:
        return FINE

    above = wrapping(BOSS(endpoint))

    assert [await status(above), await status(BOSS(wrapping(endpoint))), await status(ADMIN(wrapping(endpoint)))] == [
        403,
        403,
        200,
    ]
    assert [str(lock.requirement) for lock in lock_marker(above)] == ["role(boss)"]


def test_a_locked_function_keeps_its_name_docstring_and_signature() -> None:
    """``requires`` keeps name, docstring and signature, and does not mark the original function as locked."""

    async def endpoint(request: Request, number: int = 3) -> Response:
        """Orders."""
        return FINE

    locked = BOSS(endpoint)

    assert inspect.signature(locked) == inspect.signature(endpoint)
    assert (locked.__name__, locked.__doc__) == ("endpoint", "Orders.")
    assert lock_marker(endpoint) == ()


def test_a_lock_has_its_source_location() -> None:
    """The audit shows the file and the line of a lock."""
    (lock,) = lock_marker(requires(AUTHENTICATED)(lambda request: FINE))

    assert lock.location.rpartition(":")[0] == __file__
